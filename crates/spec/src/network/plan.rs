//! The steps by which a container gets its network.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Attachment, Kind, Mac, Network, Networking, Protocol, Publish};
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
        /// To whom; `::1`: what comes in by this interface for the loopback is the host's.
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
    /// `zones`: interfaces of the first zone may talk to those of the second. It is the networks', and stays
    /// when a container ends.
    Zones(u32, u32),
    /// `names*`: the zone may ask this gateway for names. Likewise.
    Names(u32, IpAddr),
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
    /// One permission of the container behind this interface of the host.
    Allow {
        /// The interface of the host.
        interface: String,
        /// What it is allowed.
        permit: Permit,
    },
    /// `port*`, `locked`: what comes from this port of a bridge comes from this address, or from another of its.
    Port {
        /// The interface of the host.
        interface: String,
        /// The address.
        address: IpAddr,
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

/// A permission ([`Allow`](super::Allow)) whose other side is known by address or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// The other side talks to this container, and not this container to the other side.
    pub inward: bool,
    /// The other side.
    pub whom: Whom,
    /// Only this; None for everything.
    pub port: Option<(Protocol, u16)>,
}

/// The other side of a [`Permit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// The host's own services. (The host may always talk to its containers.)
    Host,
    /// Everything that is no container of ours and not the host.
    Outside,
    /// Addresses, whoever has them.
    Net(IpNet),
    /// The containers of a zone.
    Zone(u32),
}

/// The network of an attachment, and the container's zone on it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The network.
    pub network: &'a Network,
    /// The zone of the container's group ([`Network::zone`]).
    pub zone: u32,
}

/// The host's end of a container's link number `index`: 15 bytes at most.
pub fn link_name(id: Id, index: usize) -> String {
    format!("v{id}{index:x}")
}

/// The steps for a container with this id. `places`: one for each attachment to a network, in their order.
/// Ports of the host that were left open are chosen already.
pub fn plan(id: Id, networking: &Networking, places: &[Place<'_>], permits: &[Permit]) -> Plan {
    let mut plan = Planner { id, networking, steps: Vec::new(), elements: Vec::new(), ends: Vec::new() };
    let mut places = places.iter();
    for (index, attachment) in networking.attachments.iter().enumerate() {
        match attachment {
            Attachment::Network { .. } => {
                if let Some(place) = places.next() {
                    plan.attach(index, attachment, place);
                }
            }
            Attachment::Interface { host, interface, addresses, .. } => plan.take(host, interface, addresses),
            Attachment::Cni { .. } | Attachment::Netavark { .. } | Attachment::User { .. } => {}
        }
    }
    plan.publish();
    plan.permit(permits);
    plan.steps.extend(plan.elements.into_iter().map(Step::Element));
    plan.steps
}

/// A plan in the making.
struct Planner<'a> {
    id: Id,
    networking: &'a Networking,
    steps: Plan,
    elements: Vec<Element>,
    /// Routed links: the host's end, and the addresses of the inner end.
    ends: Vec<(String, Vec<IpNet>)>,
}

impl Planner<'_> {
    fn attach(&mut self, index: usize, attachment: &Attachment, place: &Place<'_>) {
        let Attachment::Network { interface, addresses, mac, mtu, dhcp, .. } = attachment else { return };
        let network = place.network;
        let wiring = self.wiring(index, *mac, place);
        let link = Link { wiring, inside: interface.clone(), mac: *mac, mtu: mtu.or(network.mtu) };
        self.steps.push(Step::Link(link));
        let segment = !network.kind.is_routed();
        self.addresses(interface, addresses, segment);
        let ways: Vec<_> = addresses.iter().filter_map(|address| Way::of(network, *address)).collect();
        if !segment {
            self.hang(index, *mac, interface, &ways, place);
        }
        if matches!(network.kind, Kind::Bridge { .. } | Kind::Pair) {
            self.lock(index, *mac, addresses, *dhcp);
        }
        if network.kind != Kind::Pair {
            self.routes(index == 0, segment, interface, &ways);
        }
    }

    fn wiring(&self, index: usize, mac: Mac, place: &Place<'_>) -> Wiring {
        let veth = |bridge| Wiring::Veth {
            host: link_name(self.id, index),
            mac: host_mac(mac),
            zone: place.zone,
            bridge,
        };
        match &place.network.kind {
            Kind::Nat | Kind::Isolated => veth(None),
            Kind::Bridge { .. } | Kind::Pair => veth(Some(place.network.device())),
            Kind::Macvlan { parent, mode } => Wiring::Macvlan { parent: parent.clone(), mode: mode.clone() },
            Kind::Ipvlan { parent, mode } => Wiring::Ipvlan { parent: parent.clone(), mode: mode.clone() },
        }
    }

    fn addresses(&mut self, interface: &str, addresses: &[IpNet], segment: bool) {
        self.steps.extend(addresses.iter().map(|address| Step::Address {
            side: Side::Inside,
            interface: interface.to_owned(),
            address: *address,
            segment,
        }));
    }

    /// What makes a link of its own carry packets: the host knows who is behind it, without asking.
    fn hang(&mut self, index: usize, mac: Mac, inside: &str, ways: &[Way], place: &Place<'_>) {
        let host = link_name(self.id, index);
        for way in ways {
            let neighbour = |side, interface: &str, address, mac| Step::Neighbour {
                side,
                interface: interface.to_owned(),
                address,
                mac,
            };
            self.steps.push(Step::Route {
                side: Side::Host,
                interface: host.clone(),
                to: IpNet::from(way.address),
                via: None,
                source: Some(way.gateway),
            });
            self.steps.push(neighbour(Side::Host, &host, way.address, mac));
            self.steps.push(neighbour(Side::Inside, inside, way.gateway, host_mac(mac)));
            self.elements.push(Element::Names(place.zone, way.gateway));
        }
        self.elements.push(Element::Zones(place.zone, place.zone));
        if place.network.kind == Kind::Nat && !self.networking.closed {
            self.elements.push(Element::Outside(host.clone()));
        }
        self.limit(&host);
        self.ends.push((host, ways.iter().map(|way| IpNet::from(way.address)).collect()));
    }

    /// A port of a bridge speaks for its own addresses only. Who asks for one has none yet, and says so.
    fn lock(&mut self, index: usize, mac: Mac, addresses: &[IpNet], asks: bool) {
        let nobody = asks.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let own = addresses.iter().map(IpNet::addr).chain([mac.link_local()]).chain(nobody);
        let interface = link_name(self.id, index);
        self.elements.extend(own.map(|address| Element::Port { interface: interface.clone(), address }));
    }

    fn limit(&mut self, host: &str) {
        let rate = self.networking.rate;
        let interface = || host.to_owned();
        if let Some(bytes) = rate.ingress {
            self.steps.push(Step::Shape { interface: interface(), bytes });
        }
        self.elements
            .extend(rate.packets.map(|packets| Element::Packets { interface: interface(), packets }));
        self.elements.extend(rate.egress.map(|bytes| Element::Egress { interface: interface(), bytes }));
    }

    /// The first attachment leads everywhere, others to their subnets.
    fn routes(&mut self, first: bool, segment: bool, interface: &str, ways: &[Way]) {
        for way in ways {
            let to = match (first, way.address) {
                (true, IpAddr::V4(_)) => default(way.address),
                (true, IpAddr::V6(_)) => default(way.address),
                (false, _) if segment => continue,
                (false, _) => way.net,
            };
            self.steps.push(Step::Route {
                side: Side::Inside,
                interface: interface.to_owned(),
                to,
                via: Some(way.gateway),
                source: None,
            });
        }
    }

    fn take(&mut self, host: &str, inside: &str, addresses: &[IpNet]) {
        self.steps.push(Step::Move { host: host.to_owned(), inside: inside.to_owned() });
        self.addresses(inside, addresses, true);
    }

    /// Ports lead to the first routed link that has an address of their family.
    fn publish(&mut self) {
        let (mut local4, mut local6) = (Vec::new(), Vec::new());
        for publish in &self.networking.published {
            for (host, to) in destinations(&self.ends, publish) {
                let local = if to.is_ipv4() { &mut local4 } else { &mut local6 };
                if !local.contains(&host) {
                    local.push(host);
                }
                self.elements.push(Element::Published {
                    address: publish.address,
                    protocol: publish.protocol,
                    port: publish.host,
                    to,
                    to_port: publish.container,
                });
            }
        }
        // What comes from 127.0.0.1 or ::1 may leave by these links only, and get back.
        self.steps.extend(local4.into_iter().map(|host| Step::Parameter {
            path: format!("net/ipv4/conf/{host}/route_localnet"),
            value: "1".to_owned(),
        }));
        self.steps.extend(local6.into_iter().map(|interface| Step::Route {
            side: Side::Host,
            interface,
            to: IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
            via: None,
            source: None,
        }));
    }

    fn permit(&mut self, permits: &[Permit]) {
        for (host, _) in &self.ends {
            self.elements.extend(
                permits.iter().map(|permit| Element::Allow { interface: host.clone(), permit: *permit }),
            );
        }
    }
}

/// Where a published port leads: at most one address of each family that is asked for.
fn destinations(ends: &[(String, Vec<IpNet>)], publish: &Publish) -> Vec<(String, IpAddr)> {
    let first = |v4: bool| {
        ends.iter().find_map(|(host, addresses)| {
            let address = addresses.iter().map(IpNet::addr).find(|address| address.is_ipv4() == v4)?;
            Some((host.clone(), address))
        })
    };
    match publish.address {
        Some(address) => first(address.is_ipv4()).into_iter().collect(),
        None => [first(true), first(false)].into_iter().flatten().collect(),
    }
}

/// One address of a container, and the gateway of its subnet.
struct Way {
    address: IpAddr,
    net: IpNet,
    gateway: IpAddr,
}

impl Way {
    fn of(network: &Network, address: IpNet) -> Option<Self> {
        let subnet = network.subnets.iter().find(|subnet| subnet.net.contains(&address.addr()))?;
        Some(Self { address: address.addr(), net: subnet.net, gateway: subnet.gateway })
    }
}

/// Everywhere, in the family of `address`.
fn default(address: IpAddr) -> IpNet {
    let nowhere: IpAddr =
        if address.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    IpNet::new_assert(nowhere, 0)
}

/// The MAC address of the host's end, which no bridge takes for its own as it is a high one.
fn host_mac(Mac(mut bytes): Mac) -> Mac {
    bytes[0] = 0xfe;
    Mac(bytes)
}

#[cfg(test)]
mod tests;
