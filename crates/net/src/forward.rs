//! The host as a router: only as far as containers need it.

use std::path::Path;

use spec::{Error, Result, ResultExt};

use crate::entry::{guarded, uplink};
use crate::host::Host;
use crate::raise::SEGMENTS;
use crate::uapi::filter::{NFPROTO_IPV4, NFPROTO_IPV6};
use crate::{filter, link};

/// The switch of each protocol.
const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Whether packets are forwarded.
pub(crate) fn is_on(v6: bool) -> bool {
    std::fs::read_to_string(if v6 { V6 } else { V4 }).is_ok_and(|value| value.trim() != "0")
}

/// Whether an interface has this protocol at all; `all`: the host.
pub(crate) fn has_v6(interface: &str) -> bool {
    let off = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    std::fs::read_to_string(off).is_ok_and(|value| value.trim() == "0")
}

/// Switches forwarding on. What is not for or from containers of ours is dropped from then on, as it was before; also
/// when the rules that say so were flushed since, as forwarding stays on then.
pub(crate) fn switch_on(host: &Host, v6: bool) -> Result<()> {
    if is_on(v6) {
        return guard(host, v6);
    }
    let note = link::note(&host.route, NOTED_ON)?;
    let newest = foreign(host)?.iter().map(|found| found.index).max().unwrap_or_default();
    link::set_note(&host.route, NOTED_ON, &noted(&note, v6, newest))?;
    guard(host, v6)?;
    if v6 {
        keep_advertisements()?;
    }
    let path = if v6 { V6 } else { V4 };
    std::fs::write(path, "1").doing(|| format!("switching on the forwarding of packets ({path})"))
}

/// Where is noted that forwarding was switched on by us: like that switch, the loopback lives as long as the network
/// namespace, whatever becomes of rules and networks.
const NOTED_ON: &str = "lo";

/// What a note of ours begins with. Behind it is the number of the newest interface that the host had then: numbers only grow.
fn word(v6: bool) -> &'static str {
    if v6 { "tsubo-forwards-ip6=" } else { "tsubo-forwards-ip=" }
}

/// A note with ours in it, beside what others noted.
fn noted(note: &str, v6: bool, newest: u32) -> String {
    let others = note.split(' ').filter(|other| !other.is_empty() && !other.starts_with(word(v6)));
    let ours = format!("{}{newest}", word(v6));
    others.chain([ours.as_str()]).collect::<Vec<_>>().join(" ")
}

/// The number that is noted, if forwarding was switched on by us.
fn newest(note: &str, v6: bool) -> Option<u32> {
    note.split(' ').find_map(|one| one.strip_prefix(word(v6)))?.parse().ok()
}

/// Drops what is foreign, where nothing was forwarded before us.
fn guard(host: &Host, v6: bool) -> Result<()> {
    let note = link::note(&host.route, NOTED_ON)?;
    let Some(newest) = newest(&note, v6) else { return Ok(()) };
    let mut entries = vec![guarded(if v6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 })];
    let had = |found: &&link::Found| found.index <= newest;
    entries.extend(foreign(host)?.iter().filter(had).map(|found| uplink(&found.name)));
    match filter::add(&host.filter, &entries)? {
        None => Ok(()),
        Some(refusal) => {
            Err(Error::io("keeping the host from forwarding packets of others", refusal.errno.into()))
        }
    }
}

/// The interfaces that are not ours.
fn foreign(host: &Host) -> Result<Vec<link::Found>> {
    let mut all = link::all(&host.route)?;
    all.retain(|found| found.group < SEGMENTS && found.name != "lo");
    Ok(all)
}

/// A router does not take its own addresses from others, unless it is told to: 2 in place of 1.
fn keep_advertisements() -> Result<()> {
    let directory = Path::new("/proc/sys/net/ipv6/conf");
    for entry in std::fs::read_dir(directory).doing(|| "listing the interfaces that have IPv6")?.flatten() {
        let path = entry.path().join("accept_ra");
        let is_one = std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1");
        if is_one && entry.file_name() != "default" && entry.file_name() != "all" {
            std::fs::write(&path, "2")
                .doing(|| format!("keeping the host's own IPv6 address ({})", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_others_stay() {
        let note = noted(&noted(&noted("my host", false, 3), true, 4), false, 7);
        assert_eq!(note, "my host tsubo-forwards-ip6=4 tsubo-forwards-ip=7");
        assert_eq!((newest(&note, false), newest(&note, true)), (Some(7), Some(4)));
        assert_eq!(newest("my host", false), None);
    }
}
