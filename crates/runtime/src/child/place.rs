//! Finding and making mount points without ever leaving the root.
//!
//! Every component is resolved by the kernel with the root's descriptor as its world, so a symlink
//! or `..` that another container swaps in meanwhile leads to a place inside (2021-30465).

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::prepare::Place;
use crate::report::{During, Fault, Part};

/// Opens a path of the root without following anything out of it.
pub(super) fn find(root: BorrowedFd<'_>, path: &CStr, strict: bool) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_SYMLINKS, strict);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    for _ in 0..64 {
        // EAGAIN: something was renamed meanwhile and the kernel cannot vouch for the result.
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the mount point, making what is missing of it. Only our own mounts, those with a strict
/// place, may lie in the kernel's files, whatever links of the image lead there (2019-16884).
pub(super) fn mount_point(root: BorrowedFd<'_>, place: &Place, directory: bool) -> Result<OwnedFd, Fault> {
    let target = found_or_made(root, place, directory)?;
    if !place.strict && kernel_files(&target)? {
        return Err(Errno::PERM).during(Part::KernelFiles);
    }
    Ok(target)
}

fn kernel_files(target: &OwnedFd) -> Result<bool, Fault> {
    let kind = rustix::fs::fstatfs(target).during(Part::KernelFiles)?.f_type;
    Ok([PROC, SYS].contains(&(kind as u64)))
}

/// PROC_SUPER_MAGIC.
const PROC: u64 = 0x9fa0;
/// SYSFS_MAGIC.
const SYS: u64 = 0x6265_6572;

/// Fails where a path is said to lie in proc or sys and something else is in their place: what
/// would be masked there would be seen elsewhere, or be somebody's invention.
pub(super) fn genuine(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
    let (top, wanted) = match path.to_bytes() {
        [b'p', b'r', b'o', b'c', b'/', ..] => (c"proc", PROC),
        [b's', b'y', b's', b'/', ..] => (c"sys", SYS),
        _ => return Ok(()),
    };
    let top = match find(root, top, true) {
        Err(Errno::NOENT) => return Ok(()),
        found => found.during(Part::KernelFiles)?,
    };
    match rustix::fs::fstatfs(&top).during(Part::KernelFiles)?.f_type as u64 {
        kind if kind == wanted => Ok(()),
        _ => Err(Errno::NODEV).during(Part::KernelFiles),
    }
}

/// The directory in which a path lies, made if it is missing, and the name in it.
pub(super) fn directory_of<'a>(root: BorrowedFd<'_>, place: &'a Place) -> Result<(OwnedFd, &'a CStr), Fault> {
    let last = place.way.last().ok_or(Fault::from(Errno::ISDIR))?;
    Ok((above(root, place, place.way.len() - 1)?, &last.name))
}

fn found_or_made(root: BorrowedFd<'_>, place: &Place, directory: bool) -> Result<OwnedFd, Fault> {
    match find(root, &place.path, place.strict) {
        Err(Errno::NOENT) => {}
        found => return found.during(Part::MountPoint),
    }
    let (parent, name) = directory_of(root, place)?;
    make(&parent, name, directory).during(Part::MakingMountPoint)?;
    find(root, &place.path, place.strict).during(Part::MountPoint)
}

/// The directory above a component of the way, made if it is missing. Mostly it is there: so it is
/// looked for from below. Any other failure than that it is missing is the one to tell.
fn above(root: BorrowedFd<'_>, place: &Place, index: usize) -> Result<OwnedFd, Fault> {
    let parent = &place.way[index].parent;
    match find(root, parent, place.strict) {
        Err(Errno::NOENT) if index > 0 => {
            let higher = above(root, place, index - 1)?;
            make(&higher, &place.way[index - 1].name, true).during(Part::MakingMountPoint)?;
            find(root, parent, place.strict).during(Part::MountPoint)
        }
        found => found.during(Part::MountPoint),
    }
}

fn make(parent: &OwnedFd, name: &CStr, directory: bool) -> Result<(), Errno> {
    if directory {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
    } else {
        rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0)
    }
}
