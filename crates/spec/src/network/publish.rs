//! Ports of the host that lead to a container.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As `tcp`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its number in IP packets (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One port of the host that leads to one of a container. Ranges are many of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The address of the host; None for all, IPv4 and IPv6.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The port there; 0 for any that is free, found at each start.
    pub host: u16,
    /// The port inside.
    pub container: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}
