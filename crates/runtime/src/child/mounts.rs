//! The root and what is mounted in it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use sys::mount::{NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

use super::devices::open_device;
use super::place::{find, genuine, mount_point};
use crate::prepare::{FileSystem, Place, detached};
use crate::report::{During, Fault, Part};

type Done = Result<(), Fault>;

/// Nothing that is mounted or unmounted from here on is seen by the host, nor the other way round.
pub(super) fn separate() -> Done {
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(c"/", all)?)
}

/// A copy of the tree's mount and of all below it.
pub(super) fn tree(source: &CStr, attributes: u64) -> Result<OwnedFd, Fault> {
    let root = copy_of(source).during(Part::Source)?;
    sys::mount::set_attributes_recursively(root.as_fd(), attributes).during(Part::Attributes)?;
    cover_root(root.as_fd())?;
    Ok(root)
}

/// An overlay over the tree, writing to the detached tmpfs `layer`. It is attached over the old
/// root only to have a path, and goes away together with that.
pub(super) fn scratch(layer: BorrowedFd<'_>, lower: &CStr) -> Result<OwnedFd, Fault> {
    cover_root(layer)?;
    rustix::process::fchdir(layer)?;
    let root = overlay(lower).during(Part::FileSystem)?;
    cover_root(root.as_fd())?;
    Ok(root)
}

fn overlay(lower: &CStr) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"source", c"tsubo")?;
    rustix::mount::fsconfig_set_string(&context, c"lowerdir", lower)?;
    rustix::mount::fsconfig_set_string(&context, c"upperdir", c"upper")?;
    rustix::mount::fsconfig_set_string(&context, c"workdir", c"work")?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// Attaches over the old root: there is no other directory that is sure to be there. Paths from
/// `/` still mean the old one, as a process's root is not looked up.
fn cover_root(mount: BorrowedFd<'_>) -> Done {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", CWD, c"/", flags).during(Part::Attaching)
}

/// Puts a mount at its place; `directory` says what the mount is.
pub(super) fn attach(root: BorrowedFd<'_>, at: &Place, mount: BorrowedFd<'_>, directory: bool) -> Done {
    let target = mount_point(root, at, directory)?;
    onto(mount, target.as_fd()).during(Part::Attaching)
}

/// Moves a detached mount onto what a descriptor stands for.
pub(super) fn onto(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

pub(super) fn file_system(root: BorrowedFd<'_>, at: &Place, make: &FileSystem) -> Done {
    let mount = detached(make).during(Part::FileSystem)?;
    attach(root, at, mount.as_fd(), true)
}

pub(super) fn bind(root: BorrowedFd<'_>, at: &Place, source: &CStr, attributes: u64) -> Done {
    let mount = copy_of(source).during(Part::Source)?;
    sys::mount::set_attributes_recursively(mount.as_fd(), attributes).during(Part::Attributes)?;
    attach(root, at, mount.as_fd(), is_directory(mount.as_fd())?)
}

fn copy_of(source: &CStr) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, source, flags)
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// Lays an empty read-only directory or the null device over a path. A path that is not there
/// needs no mask; anything else that goes wrong ends the start (2025-31133).
pub(super) fn mask(root: BorrowedFd<'_>, path: &CStr) -> Done {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let cover = if is_directory(target.as_fd())? { empty() } else { open_device(c"/dev/null", (1, 3)) };
    onto(cover?.as_fd(), target.as_fd()).during(Part::Attaching)
}

fn empty() -> Result<OwnedFd, Fault> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Part::FileSystem)?;
    rustix::mount::fsconfig_set_string(&context, c"nr_inodes", c"1").during(Part::FileSystem)?;
    rustix::mount::fsconfig_create(&context).during(Part::FileSystem)?;
    let attributes = MountAttrFlags::from_bits_retain((READ_ONLY | NO_SUID | NO_DEV | NO_EXEC) as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during(Part::FileSystem)
}

/// Mounts a path over itself, read-only with all below it.
pub(super) fn read_only(root: BorrowedFd<'_>, path: &CStr) -> Done {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = rustix::mount::open_tree(&target, c"", flags).during(Part::Source)?;
    sys::mount::set_attributes_recursively(copy.as_fd(), READ_ONLY).during(Part::Attributes)?;
    onto(copy.as_fd(), target.as_fd()).during(Part::Attaching)
}

fn existing(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Fault> {
    genuine(root, path)?;
    match find(root, path, false) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => found.map(Some).during(Part::MountPoint),
    }
}

/// Makes the new root the root of this mount namespace; the old one, now on top of it, goes.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Done {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::fchdir(root)?)
}
