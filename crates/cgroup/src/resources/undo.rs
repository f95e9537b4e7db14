//! Taking a write back.

/// What to write to a file so that it says again what it said before; None where a write cannot
/// change what is there for others, or nothing can take it back.
///
/// Most files hold one value, which is simply written again. Some hold one line per key (a device,
/// an interface): only the line of the key that was written is put back, and where there was
/// none, what the kernel takes for none.
pub(crate) fn undo(file: &str, written: &str, before: &str) -> Option<String> {
    let before = before.trim_end();
    let none: &str = match file {
        "memory.oom_control" => {
            let line = before.lines().find_map(|line| line.strip_prefix("oom_kill_disable "));
            return line.map(str::to_owned);
        }
        // Programs and lists that have their own way back.
        "devices.allow" | "devices.deny" => return None,
        "io.max" => " rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => " default",
        "rdma.max" => " hca_handle=max hca_object=max",
        "misc.max" => " max",
        file if file.starts_with("blkio.throttle.") || file.ends_with("weight_device") => " 0",
        "net_prio.ifpriomap" => " 0",
        _ => return Some(before.to_owned()),
    };
    let key = written.split_once(' ').map_or("default", |(key, _)| key);
    let line = before.lines().find(|line| line.split_once(' ').is_some_and(|(first, _)| first == key));
    Some(line.map_or_else(|| format!("{key}{none}"), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::undo;

    #[test]
    fn as_it_was() {
        let table = [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "1000 100000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", ""),
            ("io.max", "8:0 rbps=1", "8:16 rbps=2\n", "8:0 rbps=max wbps=max riops=max wiops=max"),
            (
                "io.max",
                "8:16 wbps=9",
                "8:16 rbps=2 wbps=max riops=max wiops=max\n",
                "8:16 rbps=2 wbps=max riops=max wiops=max",
            ),
            ("io.weight", "default 5", "default 100\n8:0 3\n", "default 100"),
            ("io.weight", "8:16 5", "default 100\n8:0 3\n", "8:16 default"),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:0 77\n", "8:0 77"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "0"),
            ("rdma.max", "mlx hca_handle=2", "", "mlx hca_handle=max hca_object=max"),
            ("net_prio.ifpriomap", "lo 3", "lo 0\neth0 5\n", "lo 0"),
        ];
        for (file, written, before, wanted) in table {
            assert_eq!(undo(file, written, before).as_deref(), Some(wanted), "{file} {written}");
        }
    }
}
