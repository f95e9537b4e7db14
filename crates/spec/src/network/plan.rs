//! The steps by which a container gets its network.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Mac, Network, Networking, Protocol};
use crate::Id;

/// What is made for one container, in this order. What is undone goes backwards.
pub type Plan = Vec<Step>;

/// On which side of a container's border something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// In the network namespace of the host.
    Host,
    /// In the container's.
    Inside,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Make a link whose inner end is in the container. Whatever has its name already is replaced: ids are
    /// ours alone. Both ends are up.
    Link(Link),
    /// Move an interface of the host into the container.
    Move {
        /// Its name on the host.
        host: String,
        /// And inside.
        inside: String,
    },
    /// Give an interface an address; it is usable at once (no search for duplicates).
    Address {
        /// Where.
        side: Side,
        /// Of which interface.
        interface: String,
        /// Which.
        address: IpNet,
        /// The whole subnet is on this interface's segment; otherwise only the routes say what is.
        segment: bool,
    },
    /// Say where packets go.
    Route {
        /// Where.
        side: Side,
        /// Over which interface.
        interface: String,
        /// To whom.
        to: IpNet,
        /// By whom, who need not be in any subnet of the interface; None: it is on the segment itself.
        via: Option<IpAddr>,
        /// As whom, if it is the host itself that talks.
        source: Option<IpAddr>,
    },
    /// Say once and for all which MAC address an address has.
    Neighbour {
        /// Where.
        side: Side,
        /// On which interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Its MAC address.
        mac: Mac,
    },
    /// Add an element to a set or map of our table.
    Element(Element),
    /// Set a parameter of an interface of the host: `net/ipv4/conf/IFACE/route_localnet`.
    Parameter {
        /// The path below /proc/sys.
        path: String,
        /// The value.
        value: String,
    },
    /// Bytes a second that may go out of an interface (a token bucket).
    Shape {
        /// The interface of the host.
        interface: String,
        /// Bytes a second.
        bytes: u64,
    },
}

/// A link with an inner end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is.
    pub wiring: Wiring,
    /// The name of the inner end.
    pub inside: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Bytes of a packet; None for the kernel's usual.
    pub mtu: Option<u32>,
}

/// What a link is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wiring {
    /// A pair of interfaces, one on the host.
    Veth {
        /// The name of that one ([`link_name`]).
        host: String,
        /// Its MAC address.
        mac: Mac,
        /// The number of its zone, as its interface group.
        zone: u32,
        /// The bridge that it is a port of: locked to the inner end's MAC address.
        bridge: Option<String>,
    },
    /// On top of an interface of the host.
    Macvlan {
        /// That one.
        parent: String,
        /// As in [`Kind::Macvlan`](super::Kind::Macvlan).
        mode: Option<String>,
    },
    /// Likewise.
    Ipvlan {
        /// That one.
        parent: String,
        /// As in [`Kind::Ipvlan`](super::Kind::Ipvlan).
        mode: Option<String>,
    },
}

/// An element of a set or map of our table (crates/net/src/table.nft), whose names these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Element {
    /// `zones`: interfaces of the first zone may talk to those of the second.
    Zones(u32, u32),
    /// `outside`: this interface of the host may talk to the outside.
    Outside(String),
    /// `published*`: a port of the host leads to one of a container.
    Published {
        /// The host's; None for any.
        address: Option<IpAddr>,
        /// Of which protocol.
        protocol: Protocol,
        /// There.
        port: u16,
        /// The container's address.
        to: IpAddr,
        /// And port.
        to_port: u16,
    },
    /// `speak*`: the container behind this interface of the host may talk to these addresses, on this port.
    Speak {
        /// The interface of the host.
        interface: String,
        /// To whom.
        to: IpNet,
        /// On which port; None for all.
        port: Option<(Protocol, u16)>,
    },
    /// `host*`: the container behind this interface may talk to the host's own services, on this port.
    Host {
        /// The interface of the host.
        interface: String,
        /// On which port; None for all.
        port: Option<(Protocol, u16)>,
    },
    /// `packets`: no more than so many packets a second come from this interface.
    Packets {
        /// The interface of the host.
        interface: String,
        /// How many.
        packets: u64,
    },
    /// `egress`: no more than so many bytes a second come from this interface.
    Egress {
        /// The interface of the host.
        interface: String,
        /// How many.
        bytes: u64,
    },
}

/// The host's end of a container's link number `index`: 15 bytes at most.
pub fn link_name(id: Id, index: usize) -> String {
    format!("v{id}{index:x}")
}

/// The steps for a container with this id: one network of `networks` for each attachment to one. `zone` tells
/// the number of its zone on each.
pub fn plan(_id: Id, _networking: &Networking, _networks: &[&Network]) -> Plan {
    Vec::new()
}
