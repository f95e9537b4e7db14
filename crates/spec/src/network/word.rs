//! `--network` in words.

use std::net::IpAddr;

use super::Mac;
use crate::Name;

/// Where a container's network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The host's.
    Host,
    /// Its own, with nothing but the loopback.
    None,
    /// That of another container.
    Container(String),
    /// By the file of a network namespace.
    Path(std::path::PathBuf),
    /// An interface on each of these.
    Attached(Vec<Wish>),
}

/// One interface that is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// A network of ours.
    pub network: Option<Name>,
    /// Or an interface of the host.
    pub host: Option<String>,
    /// Or what a configuration of CNI says.
    pub cni: Option<String>,
    /// Its name inside; None for `eth0` and so on.
    pub interface: Option<String>,
    /// Addresses by hand.
    pub addresses: Vec<IpAddr>,
    /// MAC address by hand.
    pub mac: Option<Mac>,
    /// Names besides the container's.
    pub aliases: Vec<String>,
    /// Addresses are asked for on the network.
    pub dhcp: bool,
    /// MTU other than the network's.
    pub mtu: Option<u32>,
}
