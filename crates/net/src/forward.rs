//! The host as a router: only as far as containers need it.

use std::path::Path;

use spec::{Result, ResultExt};

use crate::entry::{Entry, guarded, uplink};
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

/// Whether the host has this protocol at all.
pub(crate) fn has_v6() -> bool {
    let off = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
    std::fs::read_to_string(off).is_ok_and(|value| value.trim() == "0")
}

/// Switches forwarding on. What is not for or from containers of ours is dropped from then on, as it was before.
pub(crate) fn switch_on(host: &Host, v6: bool) -> Result<()> {
    if is_on(v6) {
        return Ok(());
    }
    let mut entries = vec![guarded(if v6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 })];
    entries.extend(uplinks(host)?);
    filter::add(&host.filter, &entries)?;
    if v6 {
        keep_advertisements()?;
    }
    let path = if v6 { V6 } else { V4 };
    std::fs::write(path, "1").doing(|| format!("switching on the forwarding of packets ({path})"))
}

fn uplinks(host: &Host) -> Result<Vec<Entry>> {
    let foreign = |found: &link::Found| found.group < SEGMENTS && found.name != "lo";
    Ok(link::all(&host.route)?
        .iter()
        .filter(|found| foreign(found))
        .map(|found| uplink(&found.name))
        .collect())
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
