//! What rustix lacks of the mount interface: attributes of whole trees, detaching.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

/// MOUNT_ATTR_RDONLY.
pub const READ_ONLY: u64 = 0x1;
/// MOUNT_ATTR_NOSUID.
pub const NO_SUID: u64 = 0x2;
/// MOUNT_ATTR_NODEV.
pub const NO_DEV: u64 = 0x4;
/// MOUNT_ATTR_NOEXEC.
pub const NO_EXEC: u64 = 0x8;

/// Sets attributes on the mount behind `mount` and on all below it, and makes them private: what
/// is mounted there later is seen nowhere else.
pub fn set_attributes_recursively(mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    change_attributes(mount, attributes, 0)
}

/// Likewise, and takes attributes away.
pub fn change_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64) -> Result<()> {
    let change =
        libc::mount_attr { attr_set: set, attr_clr: clear, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    // SAFETY: an open descriptor, the empty path that means it, and a structure of the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}
