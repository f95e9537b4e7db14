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
            .filter(|listening| inodes.contains(&listening.inode));
        held.ports.extend(mine.map(|Listening { port, local, .. }| Port {
            protocol: protocol.to_owned(),
            port,
            local,
        }));
    }
    held
}

/// A line of one of the kernel's tables of sockets.
#[derive(Debug, PartialEq, Eq)]
struct Listening {
    port: u16,
    local: bool,
    inode: u64,
}

/// What a line in the wanted state says.
fn parse(line: &str, state: &str) -> Option<Listening> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.rsplit_once(':')?;
    let listening = Listening {
        port: u16::from_str_radix(port, 16).ok()?,
        local: is_loopback(address),
        inode: fields.get(9)?.parse().ok()?,
    };
    (*fields.get(3)? == state).then_some(listening)
}

/// Addresses are shown as words of 32 bits in the machine's order of bytes, most of which are little-endian.
fn is_loopback(address: &str) -> bool {
    const MAPPED: &str = "0000000000000000FFFF0000";
    const LOOPBACK: &str = "00000000000000000000000001000000";
    let four = address.strip_prefix(MAPPED).unwrap_or(address);
    address == LOOPBACK || four.len() == 8 && four.ends_with("7F")
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
        assert_eq!(parse(line, "0A"), Some(Listening { port: 8080, local: true, inode: 4711 }));
        assert_eq!(parse(line, "01"), None);
        let open = line.replace("0100007F", "00000000");
        assert_eq!(parse(&open, "0A"), Some(Listening { port: 8080, local: false, inode: 4711 }));
    }

    #[test]
    fn the_loopback_is_known_in_every_form() {
        for local in
            ["0100007F", "3500007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"]
        {
            assert!(is_loopback(local), "{local}");
        }
        for open in ["00000000", "0100000A", "7F000001", &"0".repeat(32), "000080FE00000000FF005450B6AD1DFE"]
        {
            assert!(!is_loopback(open), "{open}");
        }
    }
}
