//! The container's user namespace: from here on the process is nobody on the host.

use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::report::Fault;

/// Enters it and becomes its root at once: until then the process would be a stranger in it who
/// still owns the host's files. All of its capabilities are about this namespace now.
pub(super) fn enter(namespace: BorrowedFd<'_>, uid: Uid, gid: Gid) -> Result<(), Fault> {
    sys::namespace::enter(namespace, sys::namespace::USER)?;
    Ok(become_user(uid, gid)?)
}

/// Enters one that somebody else has made: it may have no root to become.
pub(super) fn enter_foreign(namespace: BorrowedFd<'_>) -> Result<(), Fault> {
    sys::namespace::enter(namespace, sys::namespace::USER)?;
    match become_user(Uid::ROOT, Gid::ROOT) {
        Err(Errno::INVAL) => Ok(()),
        result => Ok(result?),
    }
}

fn become_user(uid: Uid, gid: Gid) -> Result<(), Errno> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}
