//! Landlock: what a process may use of its file system and network, whatever its permissions.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RootPath;

/// A Landlock rule set (landlock(7)): what is not listed is denied. Empty port lists deny nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Landlock {
    /// What lies below may be read and listed.
    #[schemars(with = "BTreeSet<String>")]
    pub read: BTreeSet<RootPath>,
    /// And written, made, renamed and removed.
    #[schemars(with = "BTreeSet<String>")]
    pub write: BTreeSet<RootPath>,
    /// And executed.
    #[schemars(with = "BTreeSet<String>")]
    pub execute: BTreeSet<RootPath>,
    /// TCP ports that may be listened on.
    pub bind_tcp: BTreeSet<u16>,
    /// TCP ports that may be connected to.
    pub connect_tcp: BTreeSet<u16>,
}
