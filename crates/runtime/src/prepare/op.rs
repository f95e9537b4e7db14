//! The operations of the child.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{Gid, Mode, Uid};
use rustix::mount::MountPropagationFlags;
use rustix::thread::CpuSet;
use spec::container::{Capabilities, Nodes};
use spec::plan::Shared;
use sys::process::Strings;
use sys::seccomp::Instruction;
use sys::users::UserNamespace;

use super::{
    FileSystem, Finish, HostDevice, Identity, KernelFile, NodeToMake, Part, Place, Rules, Schedule, Users,
};

/// One operation of the child; its position is that of its step in the plan.
#[derive(Debug)]
pub(crate) enum Op {
    /// Each has a number above those that they all get.
    Sockets(Vec<OwnedFd>),
    Groups {
        tasks: Vec<OwnedFd>,
        namespace: bool,
    },
    Join {
        target: OwnedFd,
        namespaces: u64,
    },
    Enter {
        namespaces: u64,
        file: OwnedFd,
    },
    // Only children go there.
    EnterLater {
        file: OwnedFd,
    },
    Begin {
        namespaces: u64,
    },
    Wait,
    PrivateMounts,
    Share(Shared),
    Root {
        tree: OwnedFd,
        path: CString,
    },
    Tree(Bound),
    Scratch(Scratch),
    FileSystem {
        at: Place,
        make: FileSystem,
    },
    Hierarchies {
        at: Place,
        hierarchies: Vec<Hierarchy>,
    },
    Attach {
        at: Place,
        mount: OwnedFd,
        directory: bool,
    },
    /// What is left out of a plan.
    Nothing,
    Bind {
        at: Place,
        bound: Bound,
    },
    Part {
        at: Place,
        part: Part,
    },
    ExactBind {
        at: Place,
        source: CString,
        recursive: bool,
        finish: Finish,
    },
    ExactMount {
        at: Place,
        make: FileSystem,
        finish: Finish,
        early: bool,
    },
    Again {
        at: Place,
        finish: Finish,
    },
    GroupBind {
        at: Place,
        group: CString,
        attributes: u64,
    },
    Node(Box<NodeToMake>),
    Link {
        at: Place,
        target: CString,
    },
    Console {
        at: Place,
    },
    Seal,
    Spread {
        propagation: MountPropagationFlags,
        recursive: bool,
    },
    Devices(Box<Devices>),
    Mask {
        path: CString,
    },
    ReadOnly {
        path: CString,
    },
    Pivot,
    LooseRoot {
        tree: OwnedFd,
    },
    // The root's mount goes over that of the host's root before.
    Chroot {
        root: Option<OwnedFd>,
        moves: bool,
    },
    Device(Box<HostDevice>),
    Hostname {
        name: CString,
    },
    Domainname {
        name: CString,
    },
    Clocks {
        offsets: KernelFile,
    },
    KernelFiles(Vec<KernelFile>),
    Schedule(Schedule),
    MemoryPolicy {
        mode: u32,
        nodes: Vec<usize>,
    },
    Affinity(Box<CpuSet>),
    Keyring,
    Umask {
        mask: Mode,
    },
    Own {
        namespaces: u64,
    },
    Users(Users),
    Init {
        filter: Vec<Instruction>,
    },
    Session,
    Limit {
        resource: u32,
        soft: u64,
        hard: u64,
        exact: bool,
    },
    Directory {
        path: CString,
    },
    Identity(Identity),
    NoNewPrivileges,
    Landlock(Rules),
    // One that has another process decide is loaded at the gate.
    Filter {
        program: Vec<Instruction>,
        flags: u32,
        listens: bool,
    },
    Gate,
    Capabilities {
        sets: Capabilities,
    },
    Execute {
        candidates: Vec<CString>,
        argv: Strings,
        env: Strings,
    },
}

/// A writable layer of fresh files, over the path `lower` or over a tree that is shown otherwise than
/// it is.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) lower: CString,
    pub(crate) tree: Option<Bound>,
}

/// A tree of the host as it appears inside.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) source: CString,
    pub(crate) attributes: u64,
    /// Its owners are shown as the container's.
    pub(crate) mapped: bool,
    pub(crate) recursive: bool,
}

impl Bound {
    /// With everything below it, owners as they are.
    pub(super) fn of(source: CString, attributes: u64) -> Self {
        Self { source, attributes, mapped: false, recursive: true }
    }

    /// What is changed about a copy of its mount.
    pub(crate) fn change<'a>(&self, users: Option<&'a UserNamespace>) -> sys::mount::Change<'a> {
        sys::mount::Change {
            attributes: self.attributes,
            without: 0,
            users: users.filter(|_| self.mapped).map(|made| made.users.as_fd()),
            propagation: MountPropagationFlags::PRIVATE,
            recursive: self.recursive,
        }
    }
}

/// A version 1 control group hierarchy as it appears inside.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) name: CString,
    pub(crate) view: View,
}

/// What is seen of it.
#[derive(Debug)]
pub(crate) enum View {
    /// All, from the root of the control group namespace on.
    New(FileSystem),
    /// This group, with these attributes.
    Of(CString, u64),
}

/// What `/dev` gets.
#[derive(Debug)]
pub(crate) struct Devices {
    pub(crate) at: Place,
    pub(crate) dev: FileSystem,
    /// Attributes of `/dev/shm`, a directory of `dev` on a mount of its own.
    pub(crate) shm: u64,
    pub(crate) devpts: OwnedFd,
    pub(crate) queues: Option<FileSystem>,
    pub(crate) console: bool,
    pub(crate) nodes: Nodes,
    /// Whom it all belongs to, if not to ourselves.
    pub(crate) owner: Option<(Uid, Gid)>,
}

impl Op {
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Sockets(sockets) => sockets.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::Groups { tasks, .. } => tasks.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::Join { target: fd, .. }
            | Self::Attach { mount: fd, .. }
            | Self::Enter { file: fd, .. }
            | Self::EnterLater { file: fd }
            | Self::Root { tree: fd, .. }
            | Self::LooseRoot { tree: fd }
            | Self::Chroot { root: Some(fd), .. }
            | Self::Landlock(Rules { set: fd, .. }) => {
                vec![fd.as_raw_fd()]
            }
            Self::Users(Users { joined, .. }) => joined.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::Devices(devices) => vec![devices.devpts.as_raw_fd()],
            _ => Vec::new(),
        }
    }
}
