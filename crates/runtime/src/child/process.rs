//! What concerns the process itself.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use sys::process::Strings;

use super::place::find;
use crate::prepare::Identity;
use crate::report::Fault;

/// A session of its own, led on the terminal if there is one.
pub(super) fn session(slave: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::setsid()?;
    if let Some(slave) = slave {
        for at in 0..3 {
            sys::process::dup_onto(slave, at)?;
        }
        rustix::process::ioctl_tiocsctty(slave)?;
    }
    Ok(())
}

/// A kernel without keyrings has none to hide.
pub(super) fn make_keyring() -> Result<(), Fault> {
    match sys::process::join_new_keyring() {
        Err(Errno::NOSYS) => Ok(()),
        made => Ok(made?),
    }
}

/// Found from the root's descriptor, so it cannot lie outside (2024-21626).
pub(super) fn enter_directory(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Fault> {
    let directory = find(root, path, false)?;
    Ok(rustix::process::fchdir(directory.as_fd())?)
}

/// The bounding set first (it takes CAP_SETPCAP), then groups before the user (they take CAP_SETGID).
pub(super) fn become_user(identity: &Identity) -> Result<(), Fault> {
    sys::capability::bound(identity.bounding)?;
    rustix::thread::set_keep_capabilities(true)?;
    if let Some(groups) = &identity.groups {
        rustix::thread::set_thread_groups(groups)?;
    }
    rustix::thread::set_thread_res_gid(identity.gid, identity.gid, identity.gid)?;
    rustix::thread::set_thread_res_uid(identity.uid, identity.uid, identity.uid)?;
    Ok(sys::capability::set(identity.until_gate)?)
}

/// From 3 on. Whatever had these numbers is needed by no later step.
pub(super) fn take_sockets(sockets: &[OwnedFd]) -> Result<(), Fault> {
    for (socket, at) in sockets.iter().zip(3..) {
        sys::process::dup_onto(socket.as_fd(), at)?;
    }
    Ok(())
}

/// Executes the first candidate that is there; the most telling failure of all if none is.
pub(super) fn execute(candidates: &[CString], argv: &Strings, env: &Strings, close_from: u32) -> Fault {
    if let Err(error) = sys::process::close_on_exec_from(close_from) {
        return error.into();
    }
    sys::signal::unblock_all();
    let mut telling = Errno::NOENT;
    for candidate in candidates {
        match sys::process::execve(candidate, argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => telling = Errno::ACCESS,
            other => return other.into(),
        }
    }
    telling.into()
}
