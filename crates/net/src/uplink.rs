//! Interfaces of the host that networks are on top of, or lead to.

use rustix::io::Errno;
use spec::network::{Kind, Network, ZONES};
use spec::{Error, Result};

use crate::address;
use crate::host::Host;
use crate::link::{self, Found};
use crate::message::Batch;
use crate::raise::SEGMENTS;
use crate::table::BRIDGED;

impl Host {
    /// A bridge that has the uplink as a port.
    pub(crate) fn raise_uplink(&self, network: &Network, uplink: Option<&str>) -> Result<()> {
        BRIDGED.raise(&self.filter)?;
        let Some(uplink) = uplink else { return self.raise_bridge(network, SEGMENTS).map(drop) };
        let port = self.raise_parent(uplink)?;
        let bridge = self.link(&network.device())?.map(|found| found.index);
        if bridge.is_none_or(|bridge| port.bridge != bridge) {
            self.refuse_uplink(network, &port)?;
        }
        let bridge = self.raise_bridge(network, SEGMENTS)?;
        let mut batch = Batch::default();
        link::enslave(&mut batch, port.index, bridge);
        match self.route.run(&mut batch)?.first() {
            None => Ok(()),
            Some(failure) => Err(Error::io(
                format!("making {uplink} a port of the network {}", network.name),
                failure.errno.into(),
            )),
        }
    }

    /// What is in use otherwise is not taken.
    fn refuse_uplink(&self, network: &Network, port: &Found) -> Result<()> {
        let refused = |why: &str| {
            Err(Error::conflict(format!(
                "{} cannot be the uplink of the network {}: {why}",
                port.name, network.name
            )))
        };
        if port.bridge != 0 {
            return refused("it is a port of another bridge").map_err(|error: Error| {
                error.hint(
                    "take it out of that first (ip link set dev IFACE nomaster), or use another interface",
                )
            });
        }
        let own = address::all(&self.route, port.index)?;
        if own.iter().any(|address| !is_link_local(address)) {
            return refused("the host has addresses on it, which a port of a bridge cannot use").map_err(|error| {
                error.hint(
                    "use a macvlan network on it, which leaves the host's addresses alone; or an interface without addresses",
                )
            });
        }
        Ok(())
    }

    /// An interface of the host; that of a tag (`eth0.100`) is made if it is not there.
    pub(crate) fn raise_parent(&self, parent: &str) -> Result<Found> {
        if let Some(found) = self.link(parent)? {
            return Ok(found);
        }
        let missing = || {
            Error::not_found(format!("there is no interface {parent} on this host")).hint(
                "ip link shows those that are; eth0.100 is made for the packets of eth0 with the tag 100",
            )
        };
        let (below, tag) = tagged(parent).ok_or_else(missing)?;
        let below = self.link(below)?.ok_or_else(missing)?;
        let mut batch = Batch::default();
        link::make_vlan(&mut batch, parent, below.index, tag);
        match self.route.run(&mut batch)?.first().map(|failure| failure.errno) {
            None | Some(Errno::EXIST) => self.link(parent)?.ok_or_else(missing),
            Some(Errno::OPNOTSUPP) => {
                Err(Error::unsupported(format!("{parent} cannot be made: this kernel has no VLAN"))
                    .hint("load its module 8021q, or give the network an interface that exists"))
            }
            Some(errno) => Err(Error::io(format!("making the interface {parent}"), errno.into())),
        }
    }

    /// Removes an interface that [`raise_parent`](Self::raise_parent) made, unless something is on it.
    pub(crate) fn lower_parent(&self, kind: &Kind) -> Result<()> {
        let parent = match kind {
            Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } => parent,
            Kind::Bridge { uplink: Some(uplink) } => uplink,
            _ => return Ok(()),
        };
        let Some(found) = self.link(parent)? else { return Ok(()) };
        let is_ours = found.kind == "vlan" && found.group == ZONES;
        let is_used = || {
            let all = link::all(&self.route)?;
            Ok::<_, Error>(found.bridge != 0 || all.iter().any(|other| other.peer == found.index))
        };
        if is_ours && !is_used()? { self.remove_link(parent) } else { Ok(()) }
    }
}

/// `eth0.100`: the interface below and the tag.
fn tagged(name: &str) -> Option<(&str, u16)> {
    let (below, tag) = name.rsplit_once('.')?;
    let tag = tag.parse().ok().filter(|tag| (1..=4094).contains(tag))?;
    Some((below, tag))
}

fn is_link_local(address: &std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(address) => address.is_link_local(),
        std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told() {
        assert_eq!(tagged("eth0.100"), Some(("eth0", 100)));
        assert_eq!(tagged("br.lan.7"), Some(("br.lan", 7)));
        for bad in ["eth0", "eth0.", "eth0.0", "eth0.4095", "eth0.x"] {
            assert_eq!(tagged(bad), None, "{bad}");
        }
    }
}
