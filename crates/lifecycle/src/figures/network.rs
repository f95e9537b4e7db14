//! What went over the network devices of a namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// Counts of all devices but the loopback, since they were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Bytes.
    pub received_bytes: u64,
    /// Packets.
    pub received_packets: u64,
    /// Packets that were lost on the way in.
    pub received_dropped: u64,
    /// Bytes.
    pub sent_bytes: u64,
    /// Packets.
    pub sent_packets: u64,
    /// Packets that were lost on the way out.
    pub sent_dropped: u64,
}

/// Those of a process that is in another network namespace than we are; what is the host's is not a
/// container's.
pub(crate) fn of_process(pid: i32) -> Option<Network> {
    let namespace = |of: &str| fs::metadata(format!("/proc/{of}/ns/net")).ok().map(|meta| meta.ino());
    let own = namespace(&pid.to_string())?;
    (namespace("self")? != own).then(|| of(Path::new(&format!("/proc/{pid}/net/dev"))))?
}

pub(super) fn of(path: &Path) -> Option<Network> {
    Some(sum(&fs::read_to_string(path).ok()?))
}

/// `eth0: bytes packets errs drop fifo frame compressed multicast | bytes packets errs drop …`
fn sum(text: &str) -> Network {
    let mut all = Network::default();
    for line in text.lines() {
        let Some((device, counts)) = line.split_once(':') else { continue };
        let counts: Vec<u64> = counts.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [received_bytes, received_packets, _, received_dropped, ..] = counts[..] else { continue };
        let Some([sent_bytes, sent_packets, _, sent_dropped]) = counts.get(8..12) else { continue };
        if device.trim() != "lo" {
            all.received_bytes += received_bytes;
            all.received_packets += received_packets;
            all.received_dropped += received_dropped;
            all.sent_bytes += sent_bytes;
            all.sent_packets += sent_packets;
            all.sent_dropped += sent_dropped;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_devices_but_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
             lo:  100  1  0 0 0 0 0 0  100 1 0 0 0 0 0 0\n  \
             eth0: 10 2 0 3 0 0 0 0 20 4 0 5 0 0 0 0\n  eth1:1 1 0 1 0 0 0 0 1 1 0 1 0 0 0 0\n";
        let expected = Network {
            received_bytes: 11,
            received_packets: 3,
            received_dropped: 4,
            sent_bytes: 21,
            sent_packets: 5,
            sent_dropped: 6,
        };
        assert_eq!(sum(text), expected);
    }
}
