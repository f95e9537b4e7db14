//! `/dev`: a small tmpfs on which no device works but those bound from the host.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use spec::container::Nodes;

use super::mounts::{attach, inside, onto};
use crate::prepare::{Devices, detached};
use crate::report::{During, Fault, Part};

/// Where each is on the host, its name inside, its numbers.
const NODES: [(&CStr, &CStr, (u32, u32)); 6] = [
    (c"/dev/null", c"null", (1, 3)),
    (c"/dev/zero", c"zero", (1, 5)),
    (c"/dev/full", c"full", (1, 7)),
    (c"/dev/random", c"random", (1, 8)),
    (c"/dev/urandom", c"urandom", (1, 9)),
    (c"/dev/tty", c"tty", (5, 0)),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// Builds `/dev` and attaches it. Returns a directory that is empty and remains so: terminals are
/// mounted over it.
pub(super) fn place(
    root: BorrowedFd<'_>,
    made: &Devices,
    slave: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Fault> {
    let dev = detached(&made.dev).during(Part::FileSystem)?;
    attach(root, &made.at, dev.as_fd(), true)?;
    for (from, name, numbers) in NODES {
        match made.nodes {
            Nodes::Made => make_node(&dev, name, numbers, made.owner)?,
            Nodes::Bound => bind_file(&dev, name, open_device(from, numbers)?.as_fd())?,
        }
    }
    for (target, name) in LINKS {
        rustix::fs::symlinkat(target, &dev, name)?;
        own(&dev, name, made.owner)?;
    }
    let empty = directory(&dev, c"pts")?;
    inside(made.devpts.as_fd(), dev.as_fd(), c"pts").during(Part::Attaching)?;
    shared_memory(&dev, made)?;
    if let Some(queues) = &made.queues {
        let queues = detached(queues).during(Part::MessageQueue)?;
        mount_in(&dev, c"mqueue", queues.as_fd()).during(Part::MessageQueue)?;
    }
    match slave {
        Some(slave) if made.console => console(&dev, slave)?,
        _ => {}
    }
    Ok(empty)
}

/// Nobody else can have put anything in the tmpfs yet.
fn directory(dev: &OwnedFd, name: &CStr) -> Result<OwnedFd, Fault> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dev, name, flags, Mode::empty())?)
}

/// A directory of the same tmpfs, on a mount on which no device works.
fn shared_memory(dev: &OwnedFd, made: &Devices) -> Result<(), Fault> {
    rustix::fs::mkdirat(dev, c"shm", Mode::from_raw_mode(0o1777))?;
    own(dev, c"shm", made.owner)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let shm = rustix::mount::open_tree(dev, c"shm", flags).during(Part::FileSystem)?;
    sys::mount::set_attributes_recursively(shm.as_fd(), made.shm).during(Part::Attributes)?;
    inside(shm.as_fd(), dev.as_fd(), c"shm").during(Part::Attaching)
}

fn make_node(
    dev: &OwnedFd,
    name: &CStr,
    (major, minor): (u32, u32),
    owner: Option<(Uid, Gid)>,
) -> Result<(), Fault> {
    let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o666));
    rustix::fs::mknodat(dev, name, kind, mode, rustix::fs::makedev(major, minor)).during(Part::Device)?;
    own(dev, name, owner).during(Part::Device)
}

fn own(dev: &OwnedFd, name: &CStr, owner: Option<(Uid, Gid)>) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    rustix::fs::chownat(dev, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// A copy of the mount of one device of the host, after a look at what it really is.
pub(super) fn open_device(path: &CStr, (major, minor): (u32, u32)) -> Result<OwnedFd, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let node = rustix::mount::open_tree(CWD, path, flags).during(Part::Device)?;
    let status = rustix::fs::fstat(&node).during(Part::Device)?;
    let character = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    if !character || status.st_rdev != rustix::fs::makedev(major, minor) {
        return Err(Errno::NODEV).during(Part::Device);
    }
    Ok(node)
}

/// The terminal as `/dev/console`, taken from its descriptor and not from a name (2025-52565).
fn console(dev: &OwnedFd, slave: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let terminal = rustix::mount::open_tree(slave, c"", flags).during(Part::Terminal)?;
    bind_file(dev, c"console", terminal.as_fd())
}

fn bind_file(dev: &OwnedFd, name: &CStr, mount: BorrowedFd<'_>) -> Result<(), Fault> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o666))?;
    onto(mount, file.as_fd()).during(Part::Attaching)
}

/// Mounts on a new directory of the tmpfs, in which nobody else can have put anything yet.
fn mount_in(dev: &OwnedFd, name: &CStr, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    inside(mount, dev.as_fd(), name)
}
