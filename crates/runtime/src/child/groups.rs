//! Control groups, and the namespaces of a running container.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, OpenTreeFlags};

use super::mounts::{attach, inside};
use crate::prepare::{FileSystem, Hierarchy, Place, View, detached};
use crate::report::{During, Fault, Part};

/// Enters the groups by writing `0` (myself): of all ways on version 1 the only one that does not
/// wait for a grace period after a pause. Then hides what lies above.
pub(super) fn enter(tasks: &[OwnedFd], namespace: bool) -> Result<(), Fault> {
    for group in tasks {
        rustix::io::write(group, b"0")?;
    }
    if namespace {
        sys::namespace::unshare(sys::namespace::CGROUP)?;
    }
    Ok(())
}

/// Enters the namespaces of the process behind `target` (but for its pid namespace, which this
/// child was born in) and opens its root.
pub(super) fn join(target: BorrowedFd<'_>, namespaces: u64) -> Result<OwnedFd, Fault> {
    if namespaces != 0 {
        sys::namespace::enter(target, namespaces)?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/", flags, Mode::empty())?)
}

/// Shows version 1 hierarchies, each in a directory of a read-only tmpfs.
///
/// A group that is bound is shown alone, and read-only like the frame if that is asked for.
pub(super) fn show(root: BorrowedFd<'_>, at: &Place, hierarchies: &[Hierarchy]) -> Result<(), Fault> {
    let frame = FileSystem { kind: c"tmpfs".into(), options: Vec::new(), attributes: READ_ONLY_LATER };
    let frame = detached(&frame).during(Part::FileSystem)?;
    attach(root, at, frame.as_fd(), true)?;
    for Hierarchy { name, view } in hierarchies {
        rustix::fs::mkdirat(&frame, name.as_c_str(), Mode::from_raw_mode(0o755))?;
        let mount = match view {
            View::New(make) => detached(make).during(Part::FileSystem)?,
            View::Of(group, attributes) => copy_of(group, *attributes)?,
        };
        // Nobody but us has had this directory yet.
        inside(mount.as_fd(), frame.as_fd(), name).during(Part::Attaching)?;
    }
    let change = sys::mount::Change {
        attributes: sys::mount::READ_ONLY,
        without: 0,
        users: None,
        propagation: MountPropagationFlags::PRIVATE,
        // What lies in it is read-only if it was made so.
        recursive: false,
    };
    sys::mount::change(frame.as_fd(), change).during(Part::Attributes)
}

/// Shows one group of version 2 and nothing above it.
pub(super) fn bind(root: BorrowedFd<'_>, at: &Place, group: &CStr, attributes: u64) -> Result<(), Fault> {
    attach(root, at, copy_of(group, attributes)?.as_fd(), true)
}

fn copy_of(group: &CStr, attributes: u64) -> Result<OwnedFd, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, group, flags).during(Part::Source)?;
    sys::mount::set_attributes_recursively(mount.as_fd(), attributes).during(Part::Attributes)?;
    Ok(mount)
}

const READ_ONLY_LATER: u64 = sys::mount::NO_SUID | sys::mount::NO_DEV | sys::mount::NO_EXEC;
