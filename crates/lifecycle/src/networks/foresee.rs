//! What no container could have on its networks is refused before anything is done.

use std::net::IpAddr;

use spec::container::Spec;
use spec::network::{Attachment, Kind, Network, Publish, Rate};
use spec::{Error, Result};

use super::by_hand::{by_hand, must_have_addresses};
use super::foreign;
use super::store::Networks;

/// The port of names (RFC 1035).
const NAMES: u16 = 53;

impl Networks {
    /// Refuses what no container could have, before anything is done: networks that are not there, addresses
    /// that are not theirs.
    ///
    /// # Errors
    /// The first of it.
    pub fn foresee(&self, spec: &Spec) -> Result<()> {
        let Some(networking) = spec.network.as_deref() else { return Ok(()) };
        foreign::foresee(self, spec)?;
        for attachment in &networking.attachments {
            let Attachment::Network { network, addresses, dhcp, .. } = attachment else { continue };
            let network = self.must_have(network)?;
            by_hand(&network, addresses)?;
            must_have_addresses(&network, addresses, *dhcp)?;
            leaves_names(&networking.published)?;
            if network.names {
                self.may_be_asked(&networking.servers)?;
            }
            let rate = networking.rate;
            if rate != Rate::default() && !network.kind.is_routed() {
                return Err(Error::unsupported(format!(
                    "what goes over network {} cannot be limited: its kind is {}",
                    network.name,
                    network.kind.word()
                ))
                .hint("networks of kind nat and isolated can"));
            }
        }
        Ok(())
    }

    /// Refuses servers that a resolver of ours would ask in the host's name, and the container may not itself.
    fn may_be_asked(&self, servers: &[IpAddr]) -> Result<()> {
        if servers.is_empty() {
            return Ok(());
        }
        let networks = self.list()?;
        for server in servers {
            let own = |network: &&Network| {
                (network.kind.is_routed() || network.kind == Kind::Pair)
                    && network.subnets.iter().any(|subnet| subnet.net.contains(&server.to_canonical()))
            };
            let whose = match networks.iter().find(own) {
                Some(network) => format!("is on network {}", network.name),
                None if is_local(*server) => "means the host itself".to_owned(),
                None => continue,
            };
            return Err(Error::user(format!(
                "{server} cannot be asked for names: that {whose}, and the host asks it in the container's place"
            ))
            .hint("say one that lies elsewhere, or none: whom the host asks is asked; on a network without names (tsubo network create --no-names) a container asks itself"));
        }
        Ok(())
    }
}

/// Refuses to publish the port of names on all addresses: the resolvers of networks answer on those of gateways.
fn leaves_names(published: &[Publish]) -> Result<()> {
    let Some(publish) = published.iter().find(|one| one.host == NAMES && one.address.is_none()) else {
        return Ok(());
    };
    let Publish { protocol, container, .. } = publish;
    Err(Error::user(format!(
        "port {NAMES}/{} of all addresses of the host cannot be published: names of containers are answered on some",
        protocol.word()
    ))
    .hint(format!("say one of them: -p IP:{NAMES}:{container}/{}", protocol.word())))
}

/// An address that means whoever sends there, or his neighbours.
fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let near = match address {
        IpAddr::V4(four) => four.is_link_local() || four.is_broadcast() || four.octets()[0] == 0,
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    near || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}
