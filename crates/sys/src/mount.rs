//! What rustix lacks of the mount interface: attributes of whole trees, and mapped owners.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;
use rustix::mount::MountPropagationFlags;

/// MOUNT_ATTR_RDONLY.
pub const READ_ONLY: u64 = 0x1;
/// MOUNT_ATTR_NOSUID.
pub const NO_SUID: u64 = 0x2;
/// MOUNT_ATTR_NODEV.
pub const NO_DEV: u64 = 0x4;
/// MOUNT_ATTR_NOEXEC.
pub const NO_EXEC: u64 = 0x8;
/// MOUNT_ATTR_NOATIME.
pub const NO_ATIME: u64 = 0x10;
/// MOUNT_ATTR_NOSYMFOLLOW.
pub const NO_SYMLINKS: u64 = 0x20_0000;

/// MOUNT_ATTR__ATIME: the field of which [`NO_ATIME`] is one value.
const ACCESS_TIMES: u64 = 0x70;
/// MOUNT_ATTR_IDMAP.
const IDMAP: u64 = 0x10_0000;

/// What is changed about a mount.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Attributes that it gets in addition.
    pub attributes: u64,
    /// Attributes that it loses.
    pub without: u64,
    /// The user namespace as whose users the owners of its files are shown.
    pub users: Option<BorrowedFd<'a>>,
    /// Where mounts that are made on it later are seen.
    pub propagation: MountPropagationFlags,
    /// All mounts below it are changed likewise, or none.
    pub recursive: bool,
}

/// Changes the mount behind `mount`.
///
/// # Errors
/// `EINVAL` where owners are to be mapped and the file system knows nothing of that, `EPERM` where
/// they are mapped already or the mount is attached somewhere.
pub fn change(mount: BorrowedFd<'_>, change: Change<'_>) -> Result<()> {
    let times = if change.attributes & NO_ATIME == 0 { 0 } else { ACCESS_TIMES };
    let arguments = libc::mount_attr {
        attr_set: change.attributes | if change.users.is_some() { IDMAP } else { 0 },
        attr_clr: times | change.without,
        propagation: change.propagation.bits().into(),
        userns_fd: change.users.map_or(0, |users| users.as_raw_fd() as u64),
    };
    let recursive = if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an open descriptor, the empty path that means it, and a structure of the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const arguments,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Sets attributes on the mount behind `mount` and on all below it, and makes them private: what
/// is mounted there later is seen nowhere else.
pub fn set_attributes_recursively(mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    change_attributes(mount, attributes, 0)
}

/// Likewise, and takes attributes away.
pub fn change_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64) -> Result<()> {
    let propagation = MountPropagationFlags::PRIVATE;
    change(mount, Change { attributes: set, without: clear, users: None, propagation, recursive: true })
}
