//! What only ext4 can be told.

use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::ioctl::EXT4_IOC_RESIZE_FS;
use rustix::io::Result;

/// Makes the mounted file system of the directory or file `inside` as large as `blocks`.
///
/// # Errors
/// `EPERM` without CAP_SYS_RESOURCE, `EINVAL` where the device is smaller.
pub fn resize(inside: BorrowedFd<'_>, blocks: u64) -> Result<()> {
    // SAFETY: this request reads one number of 64 bits.
    let result =
        unsafe { libc::ioctl(inside.as_raw_fd(), EXT4_IOC_RESIZE_FS as libc::Ioctl, &raw const blocks) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}
