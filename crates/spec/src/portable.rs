//! The portable spec: what a package holds. Only what was said or seen, nothing of a host.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::activation::ActivationTable;
use crate::hooks::Hooks;
use crate::isolation::Isolation;
use crate::limits::Limits;
use crate::network::NetworkTable;
use crate::observation::{Port, Used};
use crate::ready::Ready;
use crate::{Name, RootPath};

pub use check::{is_reserved, volume_name};

/// The version of the format written by this program.
pub const VERSION: u32 = 1;

/// The configuration of a container, as a package carries it (JSON in the image's labels).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portable {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// The name it was developed under; the default name of the image.
    pub name: Name,
    /// The service's command line.
    pub command: Vec<String>,
    /// Its environment, complete.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: RootPath,
    /// Who it runs as.
    pub user: Ids,
    /// The signal number that asks it to stop (15 is SIGTERM).
    pub stop_signal: i32,
    /// How to tell that it is ready, if that was said.
    pub ready: Option<Ready>,
    /// Directories that were seen to be written: fresh at each start, seeded from the image.
    pub writable: BTreeSet<RootPath>,
    /// Directories whose content outlives the container (declared, never guessed).
    pub volumes: BTreeSet<RootPath>,
    /// The whole root is writable (in memory, lost at the end).
    pub writable_root: bool,
    /// Whether programs may gain privilege by exec (set-uid, file capabilities).
    pub gain_privilege: bool,
    /// Files of the host that are shown in place of the image's: `/etc/resolv.conf`, `/etc/hosts`.
    pub host_files: BTreeSet<RootPath>,
    /// Ports that were seen to be listened on.
    pub ports: BTreeSet<Port>,
    /// What the tests and the replays showed that it needs of the kernel; None: nothing is known,
    /// and the defaults hold that suit any service.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// What its definition says of its isolation.
    #[serde(default, skip_serializing_if = "Isolation::is_empty")]
    pub isolation: Isolation,
    /// What its definition says of its limits.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// What its definition says of its network.
    #[serde(default, skip_serializing_if = "NetworkTable::is_empty")]
    pub network: NetworkTable,
    /// What its definition says of how it comes and goes behind a gateway.
    #[serde(default, skip_serializing_if = "ActivationTable::is_empty")]
    pub activation: ActivationTable,
    /// What follows for its limits from what its tests used at most.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub forecast: Limits,
    /// What its tests used; None where the package is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// What is done when something happens to its containers.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

/// What a service was seen to need of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The system calls that were made, by name; empty: unknown.
    pub syscalls: BTreeSet<String>,
    /// The capabilities without which it does not work, as `CAP_CHOWN`.
    pub capabilities: BTreeSet<String>,
    /// Something below `/sys/fs/cgroup` was looked at.
    pub groups_seen: bool,
}

/// Numeric user and groups; names are looked up in the container's own files beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Portable {
    /// A portable spec with nothing but a name and a command.
    pub fn new(name: Name, command: Vec<String>) -> Self {
        Self {
            version: VERSION,
            name,
            command,
            env: BTreeMap::new(),
            cwd: RootPath::root(),
            user: Ids::default(),
            stop_signal: 15,
            ready: None,
            writable: BTreeSet::new(),
            volumes: BTreeSet::new(),
            writable_root: false,
            gain_privilege: false,
            host_files: BTreeSet::new(),
            ports: BTreeSet::new(),
            policy: None,
            isolation: Isolation::default(),
            limits: Limits::default(),
            network: NetworkTable::default(),
            activation: ActivationTable::default(),
            forecast: Limits::default(),
            used: None,
            hooks: Hooks::default(),
        }
    }
}
