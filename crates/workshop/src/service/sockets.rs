//! Which ports the processes of a container listen on (proc_net_tcp in proc(5)).

use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use spec::observation::Port;

/// What the processes of a container hold at this moment.
#[derive(Debug, Default)]
pub struct Held {
    /// Listening TCP and bound UDP ports.
    pub ports: BTreeSet<Port>,
    /// Open descriptors of the fullest process.
    pub most_files: u64,
    /// Processes.
    pub processes: u64,
}

/// Looks at every process in the pid namespace of `init` (a host pid).
pub fn held(init: i32) -> Held {
    let mut held = Held::default();
    let mut inodes = HashSet::new();
    for pid in members(init) {
        held.processes += 1;
        let mut count = 0;
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            count += 1;
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let text = target.to_string_lossy();
            inodes.extend(
                text.strip_prefix("socket:[").and_then(|rest| rest.trim_end_matches(']').parse::<u64>().ok()),
            );
        }
        held.most_files = held.most_files.max(count);
    }
    for (file, protocol, state) in
        [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")]
    {
        let table = std::fs::read_to_string(format!("/proc/{init}/net/{file}")).unwrap_or_default();
        let mine = table
            .lines()
            .skip(1)
            .filter_map(|line| parse(line, state))
            .filter(|(_, inode)| inodes.contains(inode));
        held.ports.extend(mine.map(|(port, _)| Port { protocol: protocol.to_owned(), port }));
    }
    held
}

/// The local port and the inode of a line in the wanted state.
fn parse(line: &str, state: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    (*fields.get(3)? == state).then_some((port, inode))
}

/// The processes that share the pid namespace of `init`.
pub fn members(init: i32) -> Vec<i32> {
    let namespace =
        |pid: i32| std::fs::metadata(Path::new(&format!("/proc/{pid}/ns/pid"))).map(|meta| meta.ino()).ok();
    let Some(own) = namespace(init) else { return Vec::new() };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| namespace(*pid) == Some(own)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_lines_are_told_from_others() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x";
        assert_eq!(parse(line, "0A"), Some((8080, 4711)));
        assert_eq!(parse(line, "01"), None);
    }
}
