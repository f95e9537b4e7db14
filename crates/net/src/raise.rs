//! What a network has on the host, whether or not a container is on it.

use rustix::io::Errno;
use spec::network::{Kind, Network, Subnet, ZONES};
use spec::{Error, Result, ResultExt};

use crate::entry::spoken_for;
use crate::host::Host;
use crate::message::Batch;
use crate::table::{BRIDGED, ROUTED};
use crate::{address, filter, forward, link};

/// What the kernel says of an address or route of IPv6 where that is off.
pub(crate) fn is_off(errno: Errno) -> bool {
    matches!(errno, Errno::ACCESS | Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::ADDRNOTAVAIL)
}

/// The group of the bridges of segments: the host forwards nothing from there, and has no addresses on it.
pub(crate) const SEGMENTS: u32 = ZONES - 1;

/// The host does not take part in a segment: no address of its own accord, no router that it listens to.
fn without_v6(device: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    match std::fs::read_to_string(&path) {
        Ok(value) if value.trim() != "1" => {
            std::fs::write(&path, "1").doing(|| format!("keeping the host out of the segment ({path})"))
        }
        // Or there is no IPv6 at all.
        _ => Ok(()),
    }
}

impl Host {
    /// Makes what the network has on the host, as far as it is not there. Quick if it is.
    pub fn raise(&self, network: &Network) -> Result<()> {
        if !self.is_raised(network)? { self.mend(network) } else { Ok(()) }
    }

    /// The same without trusting that what looks whole is.
    pub fn mend(&self, network: &Network) -> Result<()> {
        match &network.kind {
            Kind::Nat | Kind::Isolated => self.raise_routed(network),
            Kind::Pair => self.raise_segment(network),
            Kind::Bridge { uplink } => self.raise_uplink(network, uplink.as_deref()),
            Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } => self.raise_parent(parent).map(drop),
        }
    }

    /// Whether what the network has on the host is there. Where it is not, running containers have lost theirs, too:
    /// [`mend`](Self::mend), then [`renew`](Self::renew) each.
    pub fn is_raised(&self, network: &Network) -> Result<bool> {
        match &network.kind {
            Kind::Nat | Kind::Isolated => self.is_routed(network),
            Kind::Pair => Ok(self.is_up(&network.device())? && BRIDGED.missing(&self.filter)?.is_empty()),
            _ => Ok(false),
        }
    }

    fn is_up(&self, device: &str) -> Result<bool> {
        Ok(self.link(device)?.is_some_and(|found| found.up))
    }

    fn is_routed(&self, network: &Network) -> Result<bool> {
        let spoken = || match network.kind {
            Kind::Nat => self.is_spoken_for(network),
            _ => Ok(true),
        };
        Ok(self.has_gateways(network)? && ROUTED.missing(&self.filter)?.is_empty() && spoken()?)
    }

    /// The device is up with all addresses, and what comes to it is forwarded.
    fn has_gateways(&self, network: &Network) -> Result<bool> {
        let device = network.device();
        let Some(found) = self.link(&device)?.filter(|found| found.up) else { return Ok(false) };
        for gateway in network.subnets.iter().map(|subnet| subnet.gateway) {
            let v6 = gateway.is_ipv6();
            if v6 && !forward::has_v6(&device) {
                continue;
            }
            if !forward::is_on(v6) || address::owner(&self.route, gateway)? != Some(found.index) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_spoken_for(&self, network: &Network) -> Result<bool> {
        for subnet in &network.subnets {
            if filter::get(&self.filter, &spoken_for(subnet.net)[0])?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn raise_routed(&self, network: &Network) -> Result<()> {
        let index = self.raise_bridge(network, ZONES)?;
        for subnet in &network.subnets {
            self.raise_gateway(network, index, subnet)?;
        }
        ROUTED.raise(&self.filter)?;
        if network.kind == Kind::Nat {
            let entries: Vec<_> = network.subnets.iter().flat_map(|subnet| spoken_for(subnet.net)).collect();
            if let Some(refusal) = filter::add(&self.filter, &entries)? {
                return Err(Error::io(
                    format!("letting the host speak for the network {}", network.name),
                    refusal.errno.into(),
                ));
            }
        }
        let has = |v6| network.subnets.iter().any(|subnet| subnet.net.addr().is_ipv6() == v6);
        if has(false) {
            forward::switch_on(self, false)?;
        }
        if has(true) && forward::has_v6("all") { forward::switch_on(self, true) } else { Ok(()) }
    }

    fn raise_segment(&self, network: &Network) -> Result<()> {
        BRIDGED.raise(&self.filter)?;
        self.raise_bridge(network, SEGMENTS).map(drop)
    }

    /// A bridge with the network's name, up: its number.
    pub(crate) fn raise_bridge(&self, network: &Network, group: u32) -> Result<u32> {
        let device = network.device();
        let made = |failure: Option<Errno>| match failure {
            None => Ok(()),
            Some(errno) => Err(Error::io(
                format!("making the interface {device} of the network {}", network.name),
                errno.into(),
            )),
        };
        if self.link(&device)?.is_none() {
            let mut batch = Batch::default();
            link::make_bridge(&mut batch, &device, group, group != SEGMENTS);
            let failed = self.route.run(&mut batch)?.first().map(|failure| failure.errno);
            made(failed.filter(|errno| *errno != Errno::EXIST))?;
        }
        let found = self.link(&device)?;
        let found =
            found.ok_or_else(|| Error::conflict(format!("somebody removes the interface {device}")))?;
        if group == SEGMENTS {
            without_v6(&device)?;
        }
        if !found.up || found.group != group {
            let mut batch = Batch::default();
            link::raise(&mut batch, found.index, group);
            made(self.route.run(&mut batch)?.first().map(|failure| failure.errno))?;
        }
        Ok(found.index)
    }

    fn raise_gateway(&self, network: &Network, index: u32, subnet: &Subnet) -> Result<()> {
        let gateway = ipnet::IpNet::new(subnet.gateway, subnet.net.prefix_len())
            .map_err(|cause| Error::user(format!("the gateway of {}", network.name)).because(cause))?;
        if let Some(other) = address::owner(&self.route, subnet.gateway)?.filter(|other| *other != index) {
            let other = link::by_number(&self.route, other)?.map_or_else(String::new, |other| other.name);
            let what = format!(
                "the gateway's address {} of the network {} is that of the interface {other}",
                subnet.gateway, network.name
            );
            return Err(Error::conflict(what)
                .hint("is it a network of another state directory? then remove one (tsubo network rm)")
                .hint(
                    "and make it with addresses that are free: tsubo network create chooses, or --subnet",
                ));
        }
        let mut batch = Batch::default();
        address::give(&mut batch, index, gateway, true);
        match self.route.run(&mut batch)?.first() {
            Some(failure) if gateway.addr().is_ipv6() && is_off(failure.errno) => Ok(()),
            Some(failure) if failure.errno != Errno::EXIST => Err(Error::io(
                format!("giving {} the gateway's address {gateway}", network.device()),
                failure.errno.into(),
            )),
            _ => Ok(()),
        }
    }

    /// Removes what the network has on the host. Other networks keep theirs.
    pub fn lower(&self, network: &Network) -> Result<()> {
        if !matches!(network.kind, Kind::Macvlan { .. } | Kind::Ipvlan { .. }) {
            self.remove_link(&network.device())?;
        }
        if !network.kind.is_routed() {
            return self.lower_parent(&network.kind);
        }
        let mut entries: Vec<_> = network.subnets.iter().flat_map(|subnet| spoken_for(subnet.net)).collect();
        let zones: Vec<u32> = network.zones.values().copied().collect();
        for set in ["zones", "names4", "names6"] {
            let ours = filter::list(&self.filter, set)?;
            entries.extend(ours.into_iter().filter(|entry| {
                zones.iter().any(|zone| entry.key.chunks(4).take(2).any(|word| word == zone.to_ne_bytes()))
            }));
        }
        filter::remove(&self.filter, &entries)
    }
}
