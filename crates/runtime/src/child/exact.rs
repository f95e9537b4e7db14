//! Mounts as they are asked for, and a root that is taken as it is.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::mounts::{attach, cover_root};
use super::place::find;
use crate::prepare::{FileSystem, Finish, Place, detached};
use crate::report::{During, Fault, Part};

type Done = Result<(), Fault>;

/// Puts the root at its own path, where hooks look for it; over everything if that path is out of
/// reach for the container's users.
pub(super) fn root(tree: BorrowedFd<'_>, path: &CStr) -> Done {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    match rustix::mount::move_mount(tree, c"", CWD, path, flags) {
        Err(Errno::ACCESS) => cover_root(tree),
        placed => placed.during(Part::Attaching),
    }
}

/// A file or directory of the host.
pub(super) fn bind(root: BorrowedFd<'_>, at: &Place, source: &CStr, recursive: bool, finish: Finish) -> Done {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let mount = rustix::mount::open_tree(CWD, source, flags).during(Part::Source)?;
    finish.apply(mount.as_fd()).during(Part::Attributes)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&mount).during(Part::Source)?.st_mode);
    attach(root, at, mount.as_fd(), kind == FileType::Directory)
}

/// A file system, or `instead` where it may not be mounted.
pub(super) fn mount(
    root: BorrowedFd<'_>,
    at: &Place,
    make: &FileSystem,
    finish: Finish,
    instead: Option<OwnedFd>,
) -> Result<OwnedFd, Fault> {
    let mount = match (detached(make), instead) {
        (Err(Errno::PERM | Errno::ACCESS), Some(instead)) => instead,
        (made, _) => made.during(Part::FileSystem)?,
    };
    finish.apply(mount.as_fd()).during(Part::Attributes)?;
    attach(root, at, mount.as_fd(), true)?;
    Ok(mount)
}

/// For whoever may not even do that (root in a user namespace only): the caller's own, as it is seen
/// there; of sysfs nothing can be written, whatever lies in it (2023-25809).
pub(super) fn callers(make: &FileSystem) -> Result<OwnedFd, Errno> {
    let (path, more) = match make.kind.to_bytes() {
        b"proc" => (c"/proc", 0),
        b"sysfs" => (c"/sys", sys::mount::READ_ONLY),
        b"mqueue" => (c"/dev/mqueue", 0),
        _ => return Err(Errno::PERM),
    };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = rustix::mount::open_tree(CWD, path, flags)?;
    sys::mount::set_attributes_recursively(mount.as_fd(), make.attributes | more)?;
    Ok(mount)
}

/// Changes what is mounted there already.
pub(super) fn again(root: BorrowedFd<'_>, at: &Place, finish: Finish) -> Done {
    let mount = find(root, &at.path, true).during(Part::MountPoint)?;
    finish.apply(mount.as_fd()).during(Part::Attributes)
}
