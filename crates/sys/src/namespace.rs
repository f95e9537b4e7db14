//! Entering namespaces, and leaving the caller's.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

/// CLONE_NEWNS.
pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
/// CLONE_NEWPID.
pub const PID: u64 = libc::CLONE_NEWPID as u64;
/// CLONE_NEWIPC.
pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
/// CLONE_NEWUTS.
pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
/// CLONE_NEWNET.
pub const NET: u64 = libc::CLONE_NEWNET as u64;
/// CLONE_NEWUSER.
pub const USER: u64 = libc::CLONE_NEWUSER as u64;
/// CLONE_NEWTIME.
pub const TIME: u64 = 0x80;
/// CLONE_NEWCGROUP.
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;

/// Moves the calling thread into new namespaces. Descriptors stay shared with other threads, so
/// nothing that this crate owns changes under them.
pub fn unshare(namespaces: u64) -> Result<()> {
    // SAFETY: only CLONE_NEW… flags come in (the constants above); they touch no memory.
    if unsafe { libc::unshare(namespaces as i32) } < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Moves the calling thread into the namespaces of the process behind `pidfd`. For
/// [`PID`] only the thread's later children are moved.
pub fn enter(target: BorrowedFd<'_>, namespaces: u64) -> Result<()> {
    // SAFETY: setns takes a descriptor and flags.
    let result = unsafe { libc::setns(target.as_raw_fd(), namespaces as i32) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Which kind of namespace a descriptor of `/proc/PID/ns` stands for: one of the constants above.
///
/// # Errors
/// `ENOTTY` if it stands for no namespace.
pub fn kind(namespace: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: this request takes no argument.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) };
    if result < 0 { Err(crate::last_error()) } else { Ok(result as u64) }
}

/// Does something in another network namespace, with the calling thread alone, and comes back. What was
/// opened there stays there: a socket belongs to the network that it was made in.
///
/// # Errors
/// When it cannot be entered.
pub fn in_network<T>(own: BorrowedFd<'_>, target: BorrowedFd<'_>, act: impl FnOnce() -> T) -> Result<T> {
    enter(target, NET)?;
    let done = act();
    if enter(own, NET).is_err() {
        // Whatever this thread opens next would be in a network that is not ours.
        crate::process::exit_now(125);
    }
    Ok(done)
}

/// The same with a thread of its own, which ends there: for whoever could not come back, as an ordinary user into the
/// network of the host.
///
/// # Errors
/// When it cannot be entered, or there can be no more threads.
pub fn away_in_network<T: Send>(target: BorrowedFd<'_>, act: impl FnOnce() -> T + Send) -> Result<T> {
    let visit = move || {
        enter(target, NET)?;
        Ok(act())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, visit);
        let visited = thread.map_err(|_| rustix::io::Errno::AGAIN)?.join();
        visited.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
