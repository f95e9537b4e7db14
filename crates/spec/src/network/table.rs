//! The `[network]` table of a definition.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a definition says of the network of its containers, in the words of the flags of `tsubo run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTable {
    /// Networks, the first of which leads outside: `NAME[:ip=..,ip6=..,mac=..,alias=..]`, `host`, `none`, `container:NAME`, `interface:ETH`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Ports of the host that lead to it: `[IP:]HOST:CONTAINER[/udp]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// Who else it may talk to, and (`from:`) who to it: `host`, `outside`, `NAME`, `group:NAME`, `10.0.0.0/8`, each with `:PORT[/udp]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// It may not talk to the outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<bool>,
    /// Names besides its own that its networks know it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Resolvers in place of its networks'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Domains that are tried behind a short name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Names and their addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// Bytes a second to it, as in `10M`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// Bytes a second from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// Packets a second from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
}

impl NetworkTable {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
