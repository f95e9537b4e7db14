//! The resolved spec: one container with every default filled in, for one host.
//!
//! What the state directory holds. Paths of the host appear here and nowhere earlier.

mod capability;
mod check;
mod exact;
mod landlock;
mod mount;
mod namespace;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::hooks::Hooks;
use crate::limits::GroupName;
use crate::network::Networking;
use crate::resources::Resources;
use crate::{Id, Name, Promise, RootPath};

pub use capability::{
    CAPABILITY_NAMES, Capabilities, DEFAULT_CAPABILITIES, capability, capability_names, capability_set,
};
pub use check::check;
pub use exact::{Attributes, Exact, Made, NodeKind, Owner, Shown, Source, Spread};
pub use landlock::Landlock;
pub use mount::{
    Bind, Device, DeviceKind, Mount, MountFlags, MountKind, Nodes, Propagation, Room, Root, RootChange,
};
pub use namespace::{Clocks, IDS, IdRange, Namespace, Place, Users, own};
pub use process::{
    DEFAULT_LIMITS, IoClass, IoPriority, Labels, MemoryPolicy, Process, Scheduler, SchedulerPolicy,
};

/// Everything that is needed to start one container on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Names what it leaves in the kernel.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// Where its root file system comes from.
    pub root: Root,
    /// How that becomes the root of its processes.
    #[serde(default)]
    pub root_change: RootChange,
    /// What is mounted on top of the root, in this order.
    pub mounts: Vec<Mount>,
    /// Devices besides those of [`MountKind::Dev`].
    #[serde(default)]
    pub devices: Vec<Device>,
    /// What is made in the root when everything is mounted.
    #[serde(default)]
    pub made: Vec<Made>,
    /// Propagation of the root itself.
    #[serde(default)]
    pub root_propagation: Option<Spread>,
    /// The namespaces of its own, and those that it joins; the others are the caller's.
    pub namespaces: BTreeMap<Namespace, Place>,
    /// Who its users are on the host; needs a user namespace of its own.
    #[serde(default)]
    pub users: Option<Users>,
    /// Whom its namespaces belong to, if it has users of its own.
    #[serde(default)]
    pub owner: Owner,
    /// Its start waits for something that the caller does when all is mounted and the root is still
    /// the host's.
    #[serde(default)]
    pub waits: bool,
    /// Host name inside; needs a UTS namespace of its own.
    pub hostname: Option<String>,
    /// NIS domain name inside; likewise.
    #[serde(default)]
    pub domainname: Option<String>,
    /// How its clocks are put; needs a time namespace of its own.
    #[serde(default)]
    pub clocks: Clocks,
    /// Kernel parameters of its namespaces, as in sysctl(8) with dots.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Paths inside that are hidden (an empty file or directory lies over them).
    pub masked: Vec<RootPath>,
    /// Paths inside that are made read-only.
    pub read_only: Vec<RootPath>,
    /// What runs in it.
    pub process: Process,
    /// A reaping init of ours is process 1 and the command its child.
    pub init: bool,
    /// Whether the container gets control groups (named by its id).
    pub cgroup: bool,
    /// The controllers whose groups it gets; None for all that are of use.
    #[serde(default)]
    pub controllers: Option<BTreeSet<String>>,
    /// The group of containers that its own groups are in.
    #[serde(default)]
    pub group: Option<GroupName>,
    /// What it may use of the host.
    #[serde(default)]
    pub resources: Resources,
    /// The same, but left out where the host cannot enforce it; `resources` say other things.
    #[serde(default)]
    pub wishes: Resources,
    /// The signal number that asks it to stop.
    pub stop_signal: i32,
    /// What its fresh directories and its writable root hold together.
    #[serde(default)]
    pub room: Room,
    /// Where its volumes are, if they have a file system of their own.
    #[serde(default)]
    pub kept: Option<PathBuf>,
    /// Bytes of its logs that are kept; None for the usual.
    #[serde(default)]
    pub logs: Option<u64>,
    /// What it is promised beyond what `resources` say.
    #[serde(default)]
    pub promise: Promise,
    /// What is done when something happens to it.
    #[serde(default)]
    pub hooks: Option<Box<Hooks>>,
    /// Its interfaces besides the loopback; needs a network namespace of its own.
    #[serde(default)]
    pub network: Option<Box<Networking>>,
}

impl Spec {
    /// A process in a root and nothing else: no namespace but for mounts, no mount, no control group.
    pub fn new(id: Id, name: Name, root: Root, process: Process) -> Self {
        Self {
            id,
            name,
            root,
            root_change: RootChange::Pivot,
            mounts: Vec::new(),
            devices: Vec::new(),
            made: Vec::new(),
            root_propagation: None,
            namespaces: [(Namespace::Mount, Place::Own)].into(),
            users: None,
            owner: Owner::Caller,
            waits: false,
            hostname: None,
            domainname: None,
            clocks: Clocks::default(),
            sysctls: BTreeMap::new(),
            masked: Vec::new(),
            read_only: Vec::new(),
            process,
            init: false,
            cgroup: false,
            controllers: None,
            group: None,
            resources: Resources::default(),
            wishes: Resources::default(),
            stop_signal: 15,
            room: Room::default(),
            kept: None,
            logs: None,
            promise: Promise::default(),
            hooks: None,
            network: None,
        }
    }

    /// Whether it has a namespace of this kind to itself.
    pub fn owns(&self, namespace: Namespace) -> bool {
        self.namespaces.get(&namespace) == Some(&Place::Own)
    }
}
