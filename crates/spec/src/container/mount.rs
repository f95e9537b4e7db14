//! The root file system of a container, and what is mounted and shown in it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Exact;
use crate::RootPath;

/// Where a root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// A directory tree, shown read-only, nosuid off, nodev on.
    Tree {
        /// The tree on the host.
        path: PathBuf,
    },
    /// A directory tree under a writable layer in memory (overlay), which shares the room of the
    /// fresh directories.
    Scratch {
        /// The tree on the host.
        path: PathBuf,
    },
    /// A tree that the caller has mounted in its own mount namespace, taken with everything
    /// mounted below it, writable.
    Mounted {
        /// The mount point in the caller's mount namespace.
        path: PathBuf,
    },
    /// A tree of the host with everything mounted below it, as it is: nothing is added, and owners
    /// are never mapped. It lies at its own path until the root changes.
    Bundle {
        /// The tree.
        path: PathBuf,
        /// Nothing can be written to it once all mount points are made.
        read_only: bool,
    },
    /// The host's own root, as it is; only with [`RootChange::None`].
    Host,
}

/// How much the container's own files in memory may be together: its fresh directories and its
/// writable root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// Files, directories and links.
    pub inodes: u64,
}

/// How the root file system becomes the root of the container's processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RootChange {
    /// pivot_root(2): the host's root becomes unreachable. Needs a mount namespace of its own.
    #[default]
    Pivot,
    /// chroot(2): cheap, and no barrier to a privileged process.
    Chroot,
    /// The host's root stays.
    None,
}

/// One mount on top of the root. The mount point is reached without following symlinks out of the
/// root; it is made if it is missing and the root is writable, an error otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside.
    pub at: RootPath,
    /// What.
    pub what: MountKind,
    /// With which attributes, on top of what its kind always has.
    #[serde(default)]
    pub flags: MountFlags,
}

/// Attributes of a mount (mount_setattr(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    /// Nothing can be written, in mounts below neither.
    pub read_only: bool,
    /// Set-id bits and file capabilities mean nothing.
    pub no_suid: bool,
    /// Device nodes do not work.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
    /// Looking does not change access times.
    pub no_atime: bool,
    /// Symlinks are not followed.
    pub no_symlinks: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// procfs of the container's pid namespace; always nosuid, nodev, noexec.
    Proc,
    /// sysfs; likewise. Read-only unless `writable`.
    Sys {
        /// What its owner may write can be written.
        writable: bool,
    },
    /// The control groups as seen from the container's own; likewise.
    Cgroup {
        /// The container may make groups of its own.
        writable: bool,
    },
    /// A small tmpfs with the usual devices (null zero full random urandom tty), `pts`, `ptmx`,
    /// `shm`, `mqueue` and the links fd, stdin, stdout, stderr.
    Dev {
        /// Size of /dev/shm in bytes.
        shm: u64,
        /// How the devices come there.
        nodes: Nodes,
    },
    /// Pseudo-terminals of its own (part of [`Dev`](Self::Dev) already).
    Devpts,
    /// POSIX message queues (part of [`Dev`](Self::Dev) already).
    Mqueue,
    /// A tmpfs.
    Tmpfs {
        /// Size in bytes.
        bytes: u64,
        /// Inodes.
        inodes: u64,
        /// Owner, mode and content are copied from what the root has at this place.
        seeded: bool,
        /// Permissions where there is nothing to copy them from.
        mode: u32,
    },
    /// A directory of the file system in memory that all fresh directories share ([`Room`]). Owner,
    /// mode and content are copied from what the root has at this place.
    Fresh {
        /// Permissions where there is nothing to copy them from.
        mode: u32,
    },
    /// A directory of the file system that its volumes have to themselves.
    Kept {
        /// Its name there.
        name: String,
    },
    /// A file or directory of the host.
    Bind(Bind),
    /// A file of lxcfs, a file system of the host that shows processors and memory by the limits of
    /// who looks; always read-only. Left out where nobody serves it.
    Lxcfs {
        /// Its path on the host.
        source: PathBuf,
    },
    /// Exactly what somebody else has decided; `flags` mean nothing.
    Exact(Box<Exact>),
}

/// How device nodes come into a container's /dev.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nodes {
    /// Made: cheap. Only for who cannot make others there: /dev is a mount on which devices work.
    Made,
    /// Bound one by one from the host's: /dev itself is nodev.
    Bound,
}

/// A file or directory of the host that is shown inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Its path on the host.
    pub source: PathBuf,
    /// With everything that is mounted below it.
    pub recursive: bool,
    /// Owners are shown as the container's: who is root inside writes as root. Without a user
    /// namespace of the container's own this means nothing.
    pub idmapped: bool,
    /// Which later mounts below it are seen on the other side.
    pub propagation: Propagation,
}

impl Bind {
    /// A bind as people expect it: with what is below, owners mapped, private.
    pub fn of(source: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), recursive: true, idmapped: true, propagation: Propagation::Private }
    }
}

/// Mount propagation (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// From the host to the container.
    Slave,
    /// Both ways: what the container mounts there appears on the host.
    Shared,
    /// None, and it cannot be bound anywhere else.
    Unbindable,
}

/// A device of the host that is given to the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host.
    pub source: PathBuf,
    /// Where, inside; below /dev.
    pub at: RootPath,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// What it has to be, by then.
    pub kind: DeviceKind,
}

/// What a device node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceKind {
    /// A block device; else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}
