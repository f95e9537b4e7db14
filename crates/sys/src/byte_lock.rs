//! Locks on single bytes of a file that belong to the open file, not to the process (fcntl(2),
//! open file description locks): they last as long as any duplicate of the descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

/// Locks the byte at `offset`, which need not exist, for this open file alone; false if another
/// open file has it.
pub fn try_lock(file: BorrowedFd<'_>, offset: u32) -> Result<bool> {
    // SAFETY: flock is plain data; all zeroes is a valid value, and an open file's lock wants pid 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = offset.into();
    lock.l_len = 1;
    // SAFETY: the kernel reads the structure.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(true);
    }
    match crate::last_error() {
        Errno::AGAIN | Errno::ACCESS => Ok(false),
        error => Err(error),
    }
}
