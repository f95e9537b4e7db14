//! Namespaces that are joined by a descriptor, and roots without a mount namespace.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::report::{During, Fault, Part};

/// Enters a namespace; the root of a mount namespace comes back. A process is born in its pid
/// namespace, so that is nothing to enter any more.
pub(super) fn enter(file: BorrowedFd<'_>, kind: u64) -> Result<Option<OwnedFd>, Fault> {
    if kind != sys::namespace::PID {
        sys::namespace::enter(file, kind)?;
    }
    if kind == sys::namespace::MOUNT { here().map(Some) } else { Ok(None) }
}

/// The root as it is.
pub(super) fn here() -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/", flags, Mode::empty())?)
}

/// The descriptor goes with exec; what then keeps a root that is attached nowhere is that it is one.
pub(super) fn change_root(root: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::process::fchdir(root)?;
    Ok(rustix::process::chroot(c".")?)
}

/// Puts the root's mount over that of the host's root, which is nowhere to be reached then.
pub(super) fn move_root(root: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::process::fchdir(root)?;
    match rustix::mount::mount_move(c".", c"/") {
        // It lies there already, where nothing is below it.
        Err(Errno::LOOP) => Ok(()),
        moved => Ok(moved?),
    }
}

/// A namespace that belongs to the user namespace of this process.
pub(super) fn make(namespace: u64) -> Result<(), Fault> {
    sys::namespace::unshare(namespace)?;
    loopback(namespace)
}

/// Every network namespace is born with its loopback device down, and no program expects that.
pub(super) fn loopback(made: u64) -> Result<(), Fault> {
    if made & sys::namespace::NET == 0 {
        return Ok(());
    }
    sys::loopback::bring_up().during(Part::Loopback)
}

/// One more descriptor for the same.
pub(super) fn again(fd: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}
