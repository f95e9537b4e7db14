//! The resolved spec: one container with every default filled in, for one host.
//!
//! What the state directory holds. Paths of the host appear here and nowhere earlier.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::portable::Ids;
use crate::{Id, Name, RootPath};

/// Everything that is needed to start one container on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Names what it leaves in the kernel.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// Where its root file system comes from.
    pub root: Root,
    /// What is mounted on top of the root, in this order.
    pub mounts: Vec<Mount>,
    /// The namespaces of its own; the others are the caller's.
    pub namespaces: BTreeSet<Namespace>,
    /// Host name inside; needs [`Namespace::Uts`].
    pub hostname: Option<String>,
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
    /// The signal number that asks it to stop.
    pub stop_signal: i32,
}

/// Where a root file system comes from. It is always made with pivot_root in a mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// A directory tree, shown read-only, nosuid off, nodev on.
    Tree {
        /// The tree on the host.
        path: PathBuf,
    },
    /// A directory tree under a writable layer in memory (overlay with a sized tmpfs).
    Scratch {
        /// The tree on the host.
        path: PathBuf,
        /// Size of the writable layer in bytes.
        bytes: u64,
        /// Inodes of the writable layer.
        inodes: u64,
    },
    /// A tree that the caller has mounted in its own mount namespace, taken with everything
    /// mounted below it, writable.
    Mounted {
        /// The mount point in the caller's mount namespace.
        path: PathBuf,
    },
}

/// One mount on top of the root. The mount point is reached without following symlinks out of the
/// root; it is made if it is missing and the root is writable, an error otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside.
    pub at: RootPath,
    /// What.
    pub what: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// procfs of the container's pid namespace.
    Proc,
    /// sysfs, read-only.
    Sys,
    /// The control groups as seen from the container's own, read-only.
    Cgroup,
    /// A small tmpfs with the usual devices (null zero full random urandom tty), `pts`, `ptmx`,
    /// `shm`, `mqueue` and the links fd, stdin, stdout, stderr.
    Dev {
        /// Size of /dev/shm in bytes.
        shm: u64,
    },
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
    /// A file or directory of the host.
    Bind {
        /// Its path on the host.
        source: PathBuf,
        /// Shown read-only, with everything below it.
        read_only: bool,
    },
}

/// A kernel namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// Mounts. Every container has its own.
    Mount,
    /// Process ids.
    Pid,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The view of the control groups.
    Cgroup,
    /// Network.
    Net,
    /// Users and capabilities.
    User,
    /// Boot and monotonic clocks.
    Time,
}

/// The first process of a container, or one that is executed in it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; a program without a slash is looked up in the environment's PATH.
    pub argv: Vec<String>,
    /// The complete environment, each `NAME=value`.
    pub env: Vec<String>,
    /// Working directory inside.
    pub cwd: RootPath,
    /// User and groups.
    pub user: Ids,
    /// Capabilities, as bits numbered as in capability.h: bounding, effective and permitted set.
    /// The inheritable and ambient sets stay empty (moby 2022-24769).
    pub capabilities: u64,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privs: bool,
    /// The default system call filter is loaded.
    pub seccomp: bool,
    /// A pseudo-terminal of the container's own is its stdin, stdout and stderr.
    pub terminal: bool,
    /// Resource limits: number as in resource.h, soft, hard.
    pub rlimits: Vec<(u32, u64, u64)>,
}

/// The names of the capabilities without `CAP_`, each at its number of capability.h.
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker grants by default: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
/// NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
pub const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// The bit of a capability; the name may start with `CAP_` and be in any case.
pub fn capability(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CAPABILITY_NAMES.iter().position(|known| *known == short).map(|number| 1 << number)
}

/// The names of the capabilities in a set, `CAP_` in front.
pub fn capability_names(set: u64) -> impl Iterator<Item = String> {
    let numbered = CAPABILITY_NAMES.iter().enumerate();
    numbered.filter(move |(number, _)| set & (1 << number) != 0).map(|(_, name)| format!("CAP_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_capabilities_are_dockers_fourteen() {
        let names = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw \
                     sys_chroot mknod audit_write setfcap";
        let set = names.split(' ').map(|name| capability(name).expect(name)).fold(0, |all, bit| all | bit);
        assert_eq!(set, DEFAULT_CAPABILITIES);
        assert_eq!(capability_names(set).count(), 14);
        assert_eq!(capability("CAP_NONSENSE"), None);
    }
}
