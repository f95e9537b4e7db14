//! Networks of containers, as plain data: what a network is, how a container hangs on it, which of its
//! ports are published, who may talk to whom, and the steps that make all this.
//!
//! Containers of a network that is routed ([`Kind::Nat`], [`Kind::Isolated`]) share no segment. Each
//! hangs on a link of its own to the host, which looks at every packet: nobody can pretend to be another,
//! hear what is not for him, or answer in another's name. What belongs together is a *zone*: the
//! containers of one group on one network.

mod address;
mod allow;
mod plan;
mod publish;
mod table;
pub mod word;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::limits::GroupName;
use crate::{Id, Name};

pub use address::Mac;
pub use allow::{Allow, Peer};
pub use plan::{Element, Link, Permit, Place, Plan, Side, Step, Whom, Wiring, link_name, plan};
pub use publish::{Protocol, Publish};
pub use table::{GATEWAY, NetworkTable};
pub use word::{Choice, Wish};

/// The network that containers are on unless another is said; it is made when it is needed.
pub const DEFAULT: &str = "tsubo";

/// Links of ours are in interface groups from here on: a zone's number (`ip link show group`).
pub const ZONES: u32 = 0x7500_0000;

/// One network, as the state directory holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// What people call it.
    pub name: Name,
    /// Names what it leaves in the kernel.
    pub id: Id,
    /// What it is made of.
    pub kind: Kind,
    /// Its addresses; the first host address of each is the gateway's. Empty where addresses come from
    /// outside (DHCP) or are given by hand.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    /// Bytes of a packet; None for what the way out takes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// It has a resolver that knows its containers by name.
    #[serde(default)]
    pub names: bool,
    /// Whom its resolver asks about everybody else; empty: whom the host asks.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// The numbers of its zones: [`ZONES`] and 24 random bits. Containers without a group are in that of "".
    #[serde(default)]
    pub zones: BTreeMap<String, u32>,
    /// Milliseconds since 1970.
    pub created: u64,
}

/// What a network is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    /// Links of their own to the host, which routes, and speaks for them outside.
    Nat,
    /// The same without any way out.
    Isolated,
    /// One segment with an interface of the host: containers are neighbours of the machines there.
    Bridge {
        /// The interface.
        uplink: Option<String>,
    },
    /// Interfaces on top of one of the host's, with MAC addresses of their own.
    Macvlan {
        /// The interface below.
        parent: String,
        /// `bridge` (default), `private`, `vepa`, `passthru`.
        mode: Option<String>,
    },
    /// The same with the MAC address of the interface below.
    Ipvlan {
        /// The interface below.
        parent: String,
        /// `l2` (default), `l3`, `l3s`.
        mode: Option<String>,
    },
    /// Two containers and nobody else.
    Pair,
}

impl Kind {
    /// Whether its containers hang on links of their own to the host.
    pub fn is_routed(&self) -> bool {
        matches!(self, Self::Nat | Self::Isolated)
    }

    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Isolated => "isolated",
            Self::Bridge { .. } => "bridge",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Pair => "pair",
        }
    }
}

/// Addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// All of them.
    pub net: IpNet,
    /// Where packets to elsewhere go.
    pub gateway: IpAddr,
    /// Only these are given to containers; None for all.
    #[serde(default)]
    pub range: Option<IpNet>,
}

/// What of networks a container has: its part of the [`Spec`](crate::container::Spec).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networking {
    /// Its interfaces, the first of which leads outside.
    pub attachments: Vec<Attachment>,
    /// What the host passes on to it.
    #[serde(default)]
    pub published: Vec<Publish>,
    /// What the host alone reaches of it, though nobody said so.
    #[serde(default)]
    pub shown: Vec<Shown>,
    /// To whom it may talk beyond its zone, and who to it.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// It may not talk to the outside, but for what `allow` says.
    #[serde(default)]
    pub closed: bool,
    /// Resolvers other than its networks'.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// Domains that are tried behind a short name.
    #[serde(default)]
    pub search: Vec<String>,
    /// Names besides those that the resolver knows.
    #[serde(default)]
    pub hosts: Vec<(String, IpAddr)>,
    /// What may go over each of its interfaces.
    #[serde(default)]
    pub rate: Rate,
}

/// One interface of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// On a network of ours.
    Network {
        /// Which.
        network: Name,
        /// Its name inside, as `eth0`.
        interface: String,
        /// Its addresses: with the length of the subnet's prefix. They are kept as long as the container.
        addresses: Vec<IpNet>,
        /// Likewise.
        mac: Mac,
        /// Names besides the container's that the network's resolver knows it by.
        #[serde(default)]
        aliases: Vec<String>,
        /// Its addresses are asked for on the network.
        #[serde(default)]
        dhcp: bool,
        /// MTU other than the network's.
        #[serde(default)]
        mtu: Option<u32>,
    },
    /// An interface of the host, which is away there as long as the container has it.
    Interface {
        /// Its name on the host.
        host: String,
        /// And inside.
        interface: String,
        /// Its addresses inside.
        addresses: Vec<IpNet>,
        /// They are asked for where it leads.
        #[serde(default)]
        dhcp: bool,
    },
    /// What a configuration of CNI says.
    Cni {
        /// The name in the configuration.
        name: String,
        /// Its name inside.
        interface: String,
        /// What is asked of it.
        #[serde(default)]
        asked: Asked,
    },
    /// On a network of podman's, made by netavark.
    Netavark {
        /// What podman calls it.
        name: String,
        /// Its name inside.
        interface: String,
        /// What is asked of it.
        #[serde(default)]
        asked: Asked,
    },
    /// An ordinary user's: a process carries its packets as if they were its own (pasta).
    User {
        /// Its name inside.
        interface: String,
    },
}

/// A port of the host's loopback that leads to one that the service was seen to listen on. Where
/// somebody else has the one of this number it is any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The port, the same on both sides.
    pub publish: Publish,
    /// It is listened on at the container's own loopback, where no packet from elsewhere comes to.
    #[serde(default)]
    pub local: bool,
}

impl Attachment {
    /// Whether others make it, by rules of their own.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Cni { .. } | Self::Netavark { .. })
    }
}

/// What is asked of those who make a network that is not ours, and where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Addresses by hand; without a length of the prefix they are whole ones.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// MAC address by hand.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Names besides the container's, where the network knows names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Where configurations are, if not where they usually are.
    #[serde(default)]
    pub configurations: Option<PathBuf>,
    /// Where programs are, if not where they usually are.
    #[serde(default)]
    pub programs: Vec<PathBuf>,
    /// Where the resolver of podman's networks finds whom it knows, if not where it usually does.
    #[serde(default)]
    pub run: Option<PathBuf>,
    /// By which packet filter netavark makes rules, if not by that of podman's configuration.
    #[serde(default)]
    pub firewall: Option<String>,
}

/// How much may go over an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bytes a second to it.
    pub ingress: Option<u64>,
    /// Bytes a second from it.
    pub egress: Option<u64>,
    /// Packets a second from it.
    pub packets: Option<u64>,
}

impl Network {
    /// The interface of the host that has the gateway's addresses (or is the bridge): at most 15 bytes.
    pub fn device(&self) -> String {
        format!("ts{}", self.id)
    }

    /// The number of a group's zone, if it has one yet.
    pub fn zone(&self, group: Option<&GroupName>) -> Option<u32> {
        self.zones.get(&group.map(ToString::to_string).unwrap_or_default()).copied()
    }
}
