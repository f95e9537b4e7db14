//! Nodes, links and the console.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::mounts::{attach, onto};
use super::place::directory_of;
use crate::prepare::{NodeToMake, Place};
use crate::report::{During, Fault, Part};

type Done = Result<(), Fault>;

/// Makes a node. Who cannot make one that works (it takes the host's root) shows the host's.
pub(super) fn node(root: BorrowedFd<'_>, node: &NodeToMake) -> Done {
    let (directory, name) = directory_of(root, &node.at)?;
    match rustix::fs::mknodat(&directory, name, node.kind, node.mode, node.numbers) {
        Ok(()) => {
            let (uid, gid) = node.owner;
            if uid.is_root() && gid.is_root() {
                return Ok(());
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            Ok(rustix::fs::chownat(&directory, name, Some(uid), Some(gid), flags)?)
        }
        Err(Errno::EXIST) => the_same(&open(&directory, name)?, node, Errno::EXIST),
        Err(Errno::PERM) if node.kind != FileType::Fifo => show(&directory, name, node),
        Err(error) => Err(error).during(Part::MakingMountPoint),
    }
}

fn show(directory: &OwnedFd, name: &CStr, node: &NodeToMake) -> Done {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let host = rustix::mount::open_tree(CWD, node.source.as_c_str(), flags).during(Part::Device)?;
    the_same(&host, node, Errno::NODEV)?;
    rustix::fs::mknodat(directory, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
        .during(Part::MakingMountPoint)?;
    onto(host.as_fd(), open(directory, name)?.as_fd()).during(Part::Attaching)
}

fn open(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty()).during(Part::MountPoint)
}

fn the_same(there: &OwnedFd, node: &NodeToMake, otherwise: Errno) -> Done {
    let status = rustix::fs::fstat(there).during(Part::Device)?;
    match FileType::from_raw_mode(status.st_mode) == node.kind && status.st_rdev == node.numbers {
        true => Ok(()),
        false => Err(otherwise).during(Part::Device),
    }
}

/// A symlink, where there is nothing yet.
pub(super) fn link(root: BorrowedFd<'_>, at: &Place, target: &CStr) -> Done {
    let (directory, name) = directory_of(root, at)?;
    match rustix::fs::symlinkat(target, &directory, name) {
        Err(Errno::EXIST) => Ok(()),
        made => made.during(Part::MakingMountPoint),
    }
}

/// The terminal, taken from its descriptor and not from a name (2025-52565).
pub(super) fn console(root: BorrowedFd<'_>, at: &Place, slave: Option<BorrowedFd<'_>>) -> Done {
    let Some(slave) = slave else { return Ok(()) };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let terminal = rustix::mount::open_tree(slave, c"", flags).during(Part::Terminal)?;
    attach(root, at, terminal.as_fd(), false)
}
