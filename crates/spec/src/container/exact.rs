//! What others have decided to the last bit: mounts and files as a bundle of the OCI lists them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Propagation, Users};
use crate::RootPath;

/// A mount as it is asked for: nothing is added to it and nothing taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact {
    /// What.
    pub source: Source,
    /// Attributes of the mount itself.
    pub attributes: Attributes,
    /// Attributes of the mount and of all below it.
    pub below: Attributes,
    /// Where mounts that are made on it later are seen; None as it comes.
    pub propagation: Option<Spread>,
    /// As whose the owners of its files are shown; None as they are.
    pub owners: Option<Shown>,
    /// A tmpfs gets what the root has at this place.
    pub copied: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file or directory of the host.
    Bind {
        /// Which.
        path: PathBuf,
        /// With everything that is mounted below it.
        recursive: bool,
    },
    /// A file system of its own.
    FileSystem {
        /// Its type, as in `/proc/filesystems`.
        kind: String,
        /// The device, or a word that means nothing.
        device: String,
        /// Options of the file system; one without a value is a flag.
        options: Vec<(String, Option<String>)>,
    },
    /// The control groups, whichever version the host has.
    Groups,
    /// What is mounted there already: only its attributes change.
    Present,
}

/// A change of mount attributes, as bits of `MOUNT_ATTR_…` (mount.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Those that it gets.
    pub set: u32,
    /// Those that it loses, before.
    pub clear: u32,
}

/// Propagation of a mount, perhaps of all below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Which.
    pub propagation: Propagation,
    /// Of all below it, too.
    pub recursive: bool,
}

/// As whose the owners of files are shown (mount_setattr(2), ID-mapped mounts).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// By this mapping; None for the container's own users.
    pub users: Option<Users>,
    /// In all mounts below it, too.
    pub recursive: bool,
}

/// Something that is made in the root when everything is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Made {
    /// A device node or a pipe. One that is there already must be the same.
    Node {
        /// Where.
        at: RootPath,
        /// What it is.
        kind: NodeKind,
        /// Permissions.
        mode: u32,
        /// User, as numbered inside.
        uid: u32,
        /// Group, as numbered inside.
        gid: u32,
    },
    /// A symlink, unless something is there already.
    Link {
        /// Where.
        at: RootPath,
        /// Where it leads.
        target: String,
    },
    /// The container's terminal, if it has one.
    Console {
        /// Where.
        at: RootPath,
    },
}

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A character device by its numbers.
    Character(u32, u32),
    /// A block device by its numbers.
    Block(u32, u32),
    /// A pipe with a name.
    Pipe,
}

/// Who owns the namespaces of a container that has users of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Whoever starts it: the container's root can change none of them (but its network).
    #[default]
    Caller,
    /// The container's own user namespace: its root, where it has the capability, mounts, names the
    /// host and sets clocks, in its own namespaces.
    Container,
}
