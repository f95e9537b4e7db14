//! Networks of containers in a few words, for people.

use std::net::{IpAddr, Ipv4Addr};

use lifecycle::networks::Given;
use lifecycle::{Record, Running, Status};
use spec::network::{Attachment, Publish};

/// One interface, on one line.
pub fn attachment(attachment: &Attachment) -> String {
    match attachment {
        Attachment::Network { network, interface, addresses, dhcp, aliases, .. } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let given = match (addresses.is_empty(), dhcp) {
                (false, _) => addresses.join(" "),
                (true, true) => "addresses by DHCP".to_owned(),
                (true, false) => "a free address".to_owned(),
            };
            let known =
                if aliases.is_empty() { String::new() } else { format!(", known as {}", aliases.join(" ")) };
            format!("{interface} on network {network}: {given}{known}")
        }
        Attachment::Interface { host, interface, dhcp, .. } => {
            let given = if *dhcp { ", addresses by DHCP" } else { "" };
            format!("{interface}: the host's {host}, moved in{given}")
        }
        Attachment::Cni { name, interface, .. } => {
            format!("{interface}: as the CNI configuration {name} says")
        }
        Attachment::Netavark { name, interface, .. } => {
            format!("{interface} on podman's network {name}, by netavark")
        }
        Attachment::User { interface } => format!("{interface}: carried by pasta"),
    }
}

/// A port of the host that leads to a container.
#[derive(Debug, Clone, Copy)]
pub struct Passed(pub Publish);

impl Passed {
    /// The container's side, as in `80/tcp`.
    pub fn inside(self) -> String {
        format!("{}/{}", self.0.container, self.0.protocol.word())
    }

    /// The host's side, as in `0.0.0.0:8080`; a port that is chosen at each start has no number before.
    pub fn outside(self) -> String {
        let address = self.0.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match (self.0.host, address) {
            (0, IpAddr::V6(address)) => format!("[{address}]:any"),
            (0, address) => format!("{address}:any"),
            (port, address) => std::net::SocketAddr::new(address, port).to_string(),
        }
    }

    /// On as little room as can be, as in `8080->80`.
    pub fn short(self) -> String {
        let udp = if self.0.protocol == spec::network::Protocol::Udp { "/udp" } else { "" };
        let host = if self.0.host == 0 { "any".to_owned() } else { self.0.host.to_string() };
        match self.0.address {
            Some(IpAddr::V6(address)) => format!("[{address}]:{host}->{}{udp}", self.0.container),
            Some(address) => format!("{address}:{host}->{}{udp}", self.0.container),
            None => format!("{host}->{}{udp}", self.0.container),
        }
    }
}

/// The ports of the host that lead to a container: as they are while it runs, else as they were asked for.
pub fn passed(record: &Record, status: &Status) -> Vec<Passed> {
    if let Status::Running(Running { network: Some(connected), .. }) = status {
        return connected.published.iter().copied().map(Passed).collect();
    }
    record.spec.network.iter().flat_map(|network| network.published.iter().copied().map(Passed)).collect()
}

/// Whether a process carries what comes to them, as the host filters what comes to it.
pub fn is_relayed(status: &Status) -> bool {
    matches!(status, Status::Running(Running { network: Some(connected), .. }) if connected.relayed)
}

/// Its addresses: those that it keeps, and those that others have given it as long as it runs.
pub fn addresses(record: &Record, status: &Status) -> Vec<IpAddr> {
    let attachments = record.spec.network.iter().flat_map(|network| &network.attachments);
    let nets = attachments.flat_map(|attachment| match attachment {
        Attachment::Network { addresses, .. } | Attachment::Interface { addresses, .. } => {
            addresses.as_slice()
        }
        Attachment::Cni { .. } | Attachment::Netavark { .. } | Attachment::User { .. } => &[],
    });
    let given = given(status).iter().flat_map(|given| &given.addresses);
    nets.chain(given).map(ipnet::IpNet::addr).collect()
}

/// What others have given its interfaces.
pub fn given(status: &Status) -> &[Given] {
    match status {
        Status::Running(Running { network: Some(connected), .. }) => &connected.given,
        _ => &[],
    }
}
