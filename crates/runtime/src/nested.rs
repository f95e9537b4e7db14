//! Children that are born in another pid namespace than the caller's.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use spec::{Error, ErrorKind, Result, ResultExt};

/// What `make` makes is born in the pid namespace of `place` (a namespace's file or a pidfd of one
/// of its processes). `gone` says what it means where there is none.
pub(crate) fn born_in<T>(
    place: BorrowedFd<'_>,
    gone: impl FnOnce(Errno) -> Error,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let own = std::fs::File::open("/proc/thread-self/ns/pid").doing(|| "opening our own pid namespace")?;
    sys::namespace::enter(place, sys::namespace::PID).map_err(gone)?;
    let made = make();
    let back = sys::namespace::enter(own.as_fd(), sys::namespace::PID).map_err(std::io::Error::from);
    back.doing(|| "returning to our own pid namespace")?;
    made
}

/// For a pid namespace that was named by its file.
pub(crate) fn born_in_file<T>(file: BorrowedFd<'_>, make: impl FnOnce() -> Result<T>) -> Result<T> {
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
