//! The root and what is mounted in it.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use sys::mount::{Change, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};
use sys::users::UserNamespace;

use super::devices::open_device;
use super::place::{find, genuine, mount_point};
use crate::prepare::{self, Bound, FileSystem, Place, Scratch, detached};
use crate::report::{During, Fault, Part};

type Done = Result<(), Fault>;

/// Nothing that is mounted or unmounted from here on is seen by the host, nor the other way round.
pub(super) fn separate() -> Done {
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(c"/", all)?)
}

/// A copy of the tree's mount and of all below it.
pub(super) fn tree(bound: &Bound, users: Option<&UserNamespace>) -> Result<OwnedFd, Fault> {
    let root = copy_of(bound, users)?;
    cover_root(root.as_fd())?;
    Ok(root)
}

/// A copy of what is bound, as it shall be seen.
fn copy_of(bound: &Bound, users: Option<&UserNamespace>) -> Result<OwnedFd, Fault> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, bound.recursive);
    let copy = rustix::mount::open_tree(CWD, bound.source.as_c_str(), flags).during(Part::Source)?;
    let change = bound.change(users);
    let part = if change.users.is_some() { Part::Mapping } else { Part::Attributes };
    sys::mount::change(copy.as_fd(), change).during(part)?;
    Ok(copy)
}

/// An overlay over the tree, writing to the room for files in memory. A tree whose owners are shown as the
/// container's, which an overlay itself cannot do, is attached over the old root only to have a path, and
/// goes away together with that: older kernels take only what is attached.
pub(super) fn scratch(
    made: &Scratch,
    layer: BorrowedFd<'_>,
    users: Option<&UserNamespace>,
) -> Result<OwnedFd, Fault> {
    let tree = made.tree.as_ref().map(|bound| tree(bound, users)).transpose()?;
    rustix::process::fchdir(layer)?;
    let root = match tree {
        Some(tree) => overlay(&OwnPath::of(tree.as_fd())),
        None => overlay(&made.lower),
    };
    let root = root.during(Part::FileSystem)?;
    cover_root(root.as_fd())?;
    Ok(root)
}

/// Puts a directory of what several places share at its place. That is attached over the old root: older
/// kernels copy no mount that is attached nowhere.
pub(super) fn part(
    root: BorrowedFd<'_>,
    at: &Place,
    part: &prepare::Part,
    of: BorrowedFd<'_>,
    users: Option<&UserNamespace>,
) -> Done {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(of, part.name.as_c_str(), flags).during(Part::Source)?;
    let users = users.filter(|_| part.mapped).map(|made| made.users.as_fd());
    let change = Change {
        attributes: part.attributes,
        without: 0,
        users,
        propagation: MountPropagationFlags::PRIVATE,
        recursive: false,
    };
    let during = if users.is_some() { Part::Mapping } else { Part::Attributes };
    sys::mount::change(copy.as_fd(), change).during(during)?;
    attach(root, at, copy.as_fd(), true)
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

/// `/proc/self/fd/N`, without an allocation.
struct OwnPath([u8; 32]);

impl OwnPath {
    fn of(fd: BorrowedFd<'_>) -> Self {
        let mut text = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let number = rustix::path::DecInt::new(fd.as_raw_fd());
        let digits = number.as_bytes();
        text[14..14 + digits.len()].copy_from_slice(digits);
        Self(text)
    }
}

impl std::ops::Deref for OwnPath {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// Attaches over the old root: there is no other directory that is sure to be there. Paths from
/// `/` still mean the old one, as a process's root is not looked up.
pub(super) fn cover_root(mount: BorrowedFd<'_>) -> Done {
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

/// Moves a detached mount onto a file or directory of a mount that nobody else knows yet.
pub(super) fn inside(mount: BorrowedFd<'_>, of: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, c"", of, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

pub(super) fn file_system(root: BorrowedFd<'_>, at: &Place, make: &FileSystem) -> Result<OwnedFd, Fault> {
    let mount = detached(make).during(Part::FileSystem)?;
    attach(root, at, mount.as_fd(), true)?;
    Ok(mount)
}

pub(super) fn bind(root: BorrowedFd<'_>, at: &Place, bound: &Bound, users: Option<&UserNamespace>) -> Done {
    let mount = copy_of(bound, users)?;
    attach(root, at, mount.as_fd(), is_directory(mount.as_fd())?)
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// What masks are made of, and where they go: each is opened once.
#[derive(Default)]
pub(super) struct Covers {
    /// The roots of proc and sys as we mounted them ourselves: whatever is swapped in at their
    /// places meanwhile, these are the kernel's own.
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
    empty: Option<OwnedFd>,
    null: Option<OwnedFd>,
    /// A directory that is empty and remains so.
    hidden: Option<OwnedFd>,
}

impl Covers {
    /// Keeps what was mounted, if masks may lie in it.
    pub(super) fn remember(&mut self, at: &Place, kind: &CStr, mount: OwnedFd) {
        match (at.path.to_bytes(), kind.to_bytes()) {
            (b"proc", b"proc") => self.proc = Some(mount),
            (b"sys", b"sysfs") => self.sys = Some(mount),
            _ => {}
        }
    }

    /// Keeps a directory that nobody can reach, which is empty: a copy of its mount spares a file
    /// system of its own for that.
    pub(super) fn remember_empty(&mut self, directory: OwnedFd) {
        self.hidden = Some(directory);
    }

    /// Opens a path of the root; None if it is not there.
    fn find(&self, root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Fault> {
        let (top, skip) = match path.to_bytes() {
            [b'p', b'r', b'o', b'c', b'/', ..] => (&self.proc, 5),
            [b's', b'y', b's', b'/', ..] => (&self.sys, 4),
            _ => (&None, 0),
        };
        let found = match (top, CStr::from_bytes_with_nul(&path.to_bytes_with_nul()[skip..])) {
            (Some(top), Ok(rest)) => find(top.as_fd(), rest, false),
            _ => {
                genuine(root, path)?;
                find(root, path, false)
            }
        };
        match found {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => found.map(Some).during(Part::MountPoint),
        }
    }

    /// Covers a directory, or something else. The first cover is kept and copied for the others:
    /// where it lies, as kernels before 6.15 copy no mount that is attached nowhere.
    fn cover(&mut self, target: BorrowedFd<'_>) -> Done {
        let directory = is_directory(target)?;
        let kept = if directory { &mut self.empty } else { &mut self.null };
        let cover = match (&kept, &self.hidden) {
            (Some(first), _) => again(first.as_fd()).during(Part::FileSystem)?,
            (None, Some(hidden)) if directory => sealed(hidden.as_fd())?,
            (None, _) if directory => empty()?,
            (None, _) => open_device(c"/dev/null", (1, 3))?,
        };
        onto(cover.as_fd(), target).during(Part::Attaching)?;
        kept.get_or_insert(cover);
        Ok(())
    }
}

fn again(mount: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(mount, c"", flags)
}

/// Lays an empty read-only directory or the null device over a path. A path that is not there
/// needs no mask; anything else that goes wrong ends the start (2025-31133).
pub(super) fn mask(root: BorrowedFd<'_>, covers: &mut Covers, path: &CStr) -> Done {
    let Some(target) = covers.find(root, path)? else { return Ok(()) };
    covers.cover(target.as_fd())
}

/// What an empty directory is mounted with.
const NOTHING: u64 = READ_ONLY | NO_SUID | NO_DEV | NO_EXEC;

/// A copy of a directory's mount, with nothing that is mounted in it, for looking at it only.
fn sealed(directory: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let copy = again(directory).during(Part::FileSystem)?;
    sys::mount::set_attributes_recursively(copy.as_fd(), NOTHING).during(Part::Attributes)?;
    Ok(copy)
}

fn empty() -> Result<OwnedFd, Fault> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(Part::FileSystem)?;
    rustix::mount::fsconfig_set_string(&context, c"nr_inodes", c"1").during(Part::FileSystem)?;
    rustix::mount::fsconfig_create(&context).during(Part::FileSystem)?;
    let attributes = MountAttrFlags::from_bits_retain(NOTHING as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during(Part::FileSystem)
}

/// Mounts a path over itself, read-only with all below it.
pub(super) fn read_only(root: BorrowedFd<'_>, covers: &Covers, path: &CStr) -> Done {
    let Some(target) = covers.find(root, path)? else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = rustix::mount::open_tree(&target, c"", flags).during(Part::Source)?;
    sys::mount::set_attributes_recursively(copy.as_fd(), READ_ONLY).during(Part::Attributes)?;
    onto(copy.as_fd(), target.as_fd()).during(Part::Attaching)
}

/// Makes the root itself read-only, and nothing that is mounted in it.
pub(super) fn seal(root: BorrowedFd<'_>) -> Done {
    let (attributes, propagation) = (READ_ONLY, MountPropagationFlags::empty());
    let change = Change { attributes, without: 0, users: None, propagation, recursive: false };
    sys::mount::change(root, change).during(Part::Attributes)
}

/// Sets the propagation of the root, perhaps of all that is mounted in it.
pub(super) fn spread(root: BorrowedFd<'_>, propagation: MountPropagationFlags, recursive: bool) -> Done {
    let change = Change { attributes: 0, without: 0, users: None, propagation, recursive };
    sys::mount::change(root, change).during(Part::Attributes)
}

/// Makes the new root the root of this mount namespace. The old one is now on top of it, and on top
/// of that what was attached for the sake of a path: `..` of the root leads there until all is gone.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Done {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    for _ in 0..MOST_ON_TOP {
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        if mount_of(root, c"..")? == mount_of(root, c"")? {
            return Ok(rustix::process::fchdir(root)?);
        }
    }
    Err(Errno::BUSY.into())
}

/// The old root, two file systems with parts, a tree and an overlay, and one to spare.
const MOST_ON_TOP: u32 = 6;

fn mount_of(at: BorrowedFd<'_>, path: &CStr) -> Result<u64, Errno> {
    Ok(rustix::fs::statx(at, path, AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}
