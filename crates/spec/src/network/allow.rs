//! Who may talk to whom beyond a zone.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Protocol;
use crate::Name;
use crate::limits::GroupName;

/// One permission: to somebody, on some ports. Answers are always let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// The other side talks to this container, and not this container to the other side.
    #[serde(default)]
    pub inward: bool,
    /// Who.
    pub peer: Peer,
    /// Only this; None for everything.
    #[serde(default)]
    pub port: Option<(Protocol, u16)>,
}

/// The other side of a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// The host's own services.
    Host,
    /// Everything that is no container of ours and not the host.
    Outside,
    /// A container.
    Container(Name),
    /// The containers of a group.
    Group(GroupName),
    /// Addresses.
    Net(IpNet),
}
