//! Children that are born in another pid namespace than the caller's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use spec::{Error, ErrorKind, Result, ResultExt};

/// A process that was made, and its pidfd.
type Made = (i32, OwnedFd);

/// What `make` makes is born in the pid namespace of `place` (a namespace's file or a pidfd of one
/// of its processes). `gone` says what it means where there is none. `make` takes what is to be
/// added to the flags of its clone.
pub(crate) fn born_in(
    place: BorrowedFd<'_>,
    gone: impl FnOnce(Errno) -> Error,
    make: impl FnOnce(u64) -> Result<Made>,
) -> Result<Made> {
    let own = std::fs::File::open("/proc/thread-self/ns/pid").doing(|| "opening our own pid namespace")?;
    // Who is root in a user namespace only may enter the container's, and could never come back.
    if sys::namespace::enter(own.as_fd(), sys::namespace::PID).is_err() {
        return by_go_between(place, gone, make);
    }
    sys::namespace::enter(place, sys::namespace::PID).map_err(gone)?;
    let made = make(0);
    let back = sys::namespace::enter(own.as_fd(), sys::namespace::PID).map_err(std::io::Error::from);
    back.doing(|| "returning to our own pid namespace")?;
    made
}

/// A short-lived child enters, and makes a sibling of its own: a child of ours.
fn by_go_between(
    place: BorrowedFd<'_>,
    gone: impl FnOnce(Errno) -> Error,
    make: impl FnOnce(u64) -> Result<Made>,
) -> Result<Made> {
    let doing = || "making a process in another pid namespace";
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).doing(doing)?;
    // Only commands with one thread come here, so the child may use memory.
    let between = sys::process::fork_child(|| {
        let outcome = match sys::namespace::enter(place, sys::namespace::PID) {
            Err(errno) => -errno.raw_os_error(),
            Ok(()) => make(sys::process::SIBLING).map_or(0, |(pid, _)| pid),
        };
        // If nobody reads there is nobody to tell.
        let _ = rustix::io::write(&write, &outcome.to_ne_bytes());
        0
    });
    let between = between.map_err(|errno| Error::process(doing(), errno.into()))?;
    drop(write);
    let mut told = [0; 4];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut told));
    sys::process::reap(between, true).map_err(std::io::Error::from).doing(doing)?;
    match (count.map_err(std::io::Error::from).doing(doing)?, i32::from_ne_bytes(told)) {
        (4, failed) if failed < 0 => Err(gone(Errno::from_raw_os_error(-failed))),
        (4, pid) if pid > 0 => {
            let number = Pid::from_raw(pid).ok_or_else(|| Error::internal(doing()))?;
            let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty());
            Ok((pid, pidfd.map_err(std::io::Error::from).doing(doing)?))
        }
        _ => Err(Error::conflict("the pid namespace takes no process: its first one has ended")),
    }
}

/// For a pid namespace that was named by its file.
pub(crate) fn born_in_file(file: BorrowedFd<'_>, make: impl FnOnce(u64) -> Result<Made>) -> Result<Made> {
    let gone = |errno: Errno| {
        let error = Error::io("entering a pid namespace", errno.into());
        match errno {
            Errno::INVAL => error.hint("only one below our own can be entered (pid_namespaces(7))"),
            _ => error.hint("run it with sudo"),
        }
    };
    born_in(file, gone, make).map_err(|error| match error.kind() {
        ErrorKind::Denied => error,
        _ => error.hint("a pid namespace whose first process has ended takes no others"),
    })
}
