//! A device of the host in the container's own `/dev`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use sys::mount::{NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

use super::mounts::onto;
use super::place::find;
use crate::prepare::{HostDevice, Node};
use crate::report::{During, Fault, Part};

/// Shows it, after a look at what it really is.
pub(super) fn show(root: BorrowedFd<'_>, device: &HostDevice) -> Result<(), Fault> {
    let host = rustix::mount::open_tree(CWD, &device.source, COPY).during(Part::Device)?;
    let status = rustix::fs::fstat(&host).during(Part::Device)?;
    if FileType::from_raw_mode(status.st_mode) != device.kind || status.st_rdev != device.numbers {
        return Err(Errno::NODEV).during(Part::Device);
    }
    let parent = directory(root, device)?;
    match &device.node {
        None => {
            sys::mount::set_attributes_recursively(host.as_fd(), NO_SUID | NO_EXEC)
                .during(Part::Attributes)?;
            let target = mount_point(&parent, &device.name)?;
            onto(host.as_fd(), target.as_fd()).during(Part::Attaching)
        }
        Some(node) => make(&parent, device, node, &status),
    }
}

const COPY: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// A node of our own, made to work by a mount of its own over itself: devices do not work on the
/// rest of `/dev`.
fn make(parent: &OwnedFd, device: &HostDevice, node: &Node, host: &Stat) -> Result<(), Fault> {
    let mode = node.mode.unwrap_or(Mode::from_raw_mode(host.st_mode & 0o777));
    let name = device.name.as_c_str();
    rustix::fs::mknodat(parent, name, device.kind, mode, device.numbers).during(Part::MakingMountPoint)?;
    if let Some((user, group)) = node.owner {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::chownat(parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let target = open(parent, name)?;
    let copy = rustix::mount::open_tree(parent, name, COPY).during(Part::Source)?;
    let set = NO_SUID | NO_EXEC | if node.owner.is_none() { READ_ONLY } else { 0 };
    sys::mount::change_attributes(copy.as_fd(), set, NO_DEV).during(Part::Attributes)?;
    onto(copy.as_fd(), target.as_fd()).during(Part::Attaching)
}

/// Finds or makes the directories on the way, and never leaves the mount of `/dev`: what is mounted
/// in it may be somebody else's.
fn directory(root: BorrowedFd<'_>, device: &HostDevice) -> Result<OwnedFd, Fault> {
    let mut parent = find(root, &device.dev, true).during(Part::MountPoint)?;
    for name in &device.way {
        existing_or(rustix::fs::mkdirat(&parent, name.as_c_str(), Mode::from_raw_mode(0o755)))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        parent = rustix::fs::openat2(&parent, name.as_c_str(), flags, Mode::empty(), resolve)
            .during(Part::MountPoint)?;
    }
    Ok(parent)
}

fn mount_point(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Fault> {
    let mode = Mode::from_raw_mode(0o644);
    existing_or(rustix::fs::mknodat(parent, name, FileType::RegularFile, mode, 0))?;
    open(parent, name)
}

fn existing_or(made: Result<(), Errno>) -> Result<(), Fault> {
    match made {
        Err(Errno::EXIST) => Ok(()),
        made => made.during(Part::MakingMountPoint),
    }
}

fn open(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(parent, name, flags, Mode::empty()).during(Part::MountPoint)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP).during(Part::MountPoint),
        _ => Ok(target),
    }
}
