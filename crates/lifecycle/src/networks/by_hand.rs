//! Addresses that somebody has said: whether a network can give them.

use std::net::IpAddr;

use ipnet::IpNet;
use spec::network::Network;
use spec::{Error, Result};

use super::subnets::is_host;

/// The addresses that were asked for, with the length of their subnet's prefix.
pub(super) fn by_hand(network: &Network, addresses: &[IpNet]) -> Result<Vec<IpNet>> {
    addresses.iter().map(|address| in_subnet(network, *address)).collect()
}

fn in_subnet(network: &Network, asked: IpNet) -> Result<IpNet> {
    let (address, name) = (asked.addr(), &network.name);
    let Some(subnet) = network.subnets.iter().find(|subnet| subnet.net.contains(&address)) else {
        if network.subnets.is_empty() && asked.prefix_len() < asked.max_prefix_len() {
            return Ok(asked);
        }
        if network.subnets.is_empty() {
            return Err(Error::user(format!(
                "nothing says how many neighbours {address} has on network {name}"
            ))
            .hint(format!("say it, as in ip={address}/24")));
        }
        let all: Vec<_> = network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
        return Err(Error::user(format!(
            "{address} is not in network {name}, which has {}",
            all.join(" and ")
        ))
        .hint(format!("choose one of these, or none: a free one is found; tsubo network inspect {name}")));
    };
    let what = match address {
        own if own == subnet.gateway => Some("is its gateway's"),
        other if !is_host(subnet.net, other) => Some("means all or none of its hosts"),
        _ => None,
    };
    match what {
        Some(what) => {
            Err(Error::user(format!("{address} cannot be a container's on network {name}: it {what}"))
                .hint("choose another, or none: a free one is found"))
        }
        None => Ok(with_length(address, subnet.net.prefix_len())),
    }
}

pub(super) fn with_length(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).unwrap_or(IpNet::from(address))
}

/// Refuses to leave an interface without any address.
pub(super) fn must_have_addresses(network: &Network, addresses: &[IpNet], dhcp: bool) -> Result<()> {
    if dhcp {
        return super::dhcp::must_have_a_server(network);
    }
    if !network.subnets.is_empty() || !addresses.is_empty() {
        return Ok(());
    }
    let (name, kind) = (&network.name, network.kind.word());
    Err(Error::unsupported(format!(
        "network {name} ({kind}) has no addresses to give, and nobody has said where to get them"
    ))
    .hint(format!("ask a server there: --network {name}:dhcp; or say one: --network {name}:ip=192.168.1.7/24; or make the network with --subnet")))
}
