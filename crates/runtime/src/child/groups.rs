//! Control groups, and the namespaces of a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::mounts::{attach, onto};
use crate::prepare::{FileSystem, Hierarchy, Place, detached};
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
pub(super) fn show(root: BorrowedFd<'_>, at: &Place, hierarchies: &[Hierarchy]) -> Result<(), Fault> {
    let frame = FileSystem { kind: c"tmpfs", options: Vec::new(), attributes: READ_ONLY_LATER };
    let frame = detached(&frame).during(Part::FileSystem)?;
    attach(root, at, frame.as_fd(), true)?;
    for Hierarchy { name, make } in hierarchies {
        rustix::fs::mkdirat(&frame, name.as_c_str(), Mode::from_raw_mode(0o755))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::openat(&frame, name.as_c_str(), flags, Mode::empty())?;
        let mount = detached(make).during(Part::FileSystem)?;
        onto(mount.as_fd(), place.as_fd()).during(Part::Attaching)?;
    }
    sys::mount::set_attributes_recursively(frame.as_fd(), sys::mount::READ_ONLY).during(Part::Attributes)
}

const READ_ONLY_LATER: u64 = sys::mount::NO_SUID | sys::mount::NO_DEV | sys::mount::NO_EXEC;
