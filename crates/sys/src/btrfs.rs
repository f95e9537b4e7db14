//! Subvolumes of btrfs and the quota groups that each of them has.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::btrfs as raw;
use linux_raw_sys::ioctl;
use rustix::io::{Errno, Result};

/// The number of a subvolume's own directory.
const TOP: u64 = raw::BTRFS_FIRST_FREE_OBJECTID as u64;
/// Takes a limit away.
const NONE: u64 = u64::MAX;

/// Makes an empty subvolume `name` in the directory `parent`.
pub fn create(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    name_it(parent, ioctl::BTRFS_IOC_SUBVOL_CREATE, name)
}

/// Removes the subvolume `name` of the directory `parent`, with all that it holds, at once.
///
/// # Errors
/// `EPERM` where it is mounted somewhere by itself, `ENOTEMPTY` where other subvolumes are in it.
pub fn destroy(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    name_it(parent, ioctl::BTRFS_IOC_SNAP_DESTROY, name)
}

fn name_it(parent: BorrowedFd<'_>, request: u32, name: &CStr) -> Result<()> {
    let bytes = name.to_bytes_with_nul();
    // SAFETY: plain data, for which zeroes are valid.
    let mut arguments: raw::btrfs_ioctl_vol_args = unsafe { std::mem::zeroed() };
    let room = arguments.name.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?;
    for (to, from) in room.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    call(parent, request, &mut arguments)
}

/// The number of the subvolume that `inside` is in.
pub fn number(inside: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: plain data, for which zeroes are valid.
    let mut arguments: raw::btrfs_ioctl_ino_lookup_args = unsafe { std::mem::zeroed() };
    arguments.objectid = TOP;
    call(inside, ioctl::BTRFS_IOC_INO_LOOKUP, &mut arguments)?;
    Ok(arguments.treeid)
}

/// What a file system says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Its identity, under which it is in sysfs.
    pub identity: [u8; 16],
    /// Bytes of a node of its trees, of which an empty subvolume has one.
    pub node: u32,
}

/// About the file system that `inside` is in.
pub fn file_system(inside: BorrowedFd<'_>) -> Result<FileSystem> {
    // SAFETY: plain data, for which zeroes are valid.
    let mut arguments: raw::btrfs_ioctl_fs_info_args = unsafe { std::mem::zeroed() };
    call(inside, ioctl::BTRFS_IOC_FS_INFO, &mut arguments)?;
    Ok(FileSystem { identity: arguments.fsid, node: arguments.nodesize })
}

/// Limits what the subvolume that `inside` is in may refer to.
///
/// # Errors
/// `ENOTCONN` where quotas are not enabled.
pub fn limit(inside: BorrowedFd<'_>, bytes: Option<u64>) -> Result<()> {
    let limit = raw::btrfs_qgroup_limit {
        flags: raw::BTRFS_QGROUP_LIMIT_MAX_RFER.into(),
        max_rfer: bytes.unwrap_or(NONE),
        max_excl: 0,
        rsv_rfer: 0,
        rsv_excl: 0,
    };
    // Group 0 is the subvolume's own.
    let mut arguments = raw::btrfs_ioctl_qgroup_limit_args { qgroupid: 0, lim: limit };
    call(inside, ioctl::BTRFS_IOC_QGROUP_LIMIT, &mut arguments)
}

/// Removes the quota group that the subvolume `number` had.
///
/// # Errors
/// `EBUSY` as long as the kernel is still removing the subvolume itself.
pub fn forget(inside: BorrowedFd<'_>, number: u64) -> Result<()> {
    let mut arguments = raw::btrfs_ioctl_qgroup_create_args { create: 0, qgroupid: number };
    call(inside, ioctl::BTRFS_IOC_QGROUP_CREATE, &mut arguments)
}

fn call<T>(fd: BorrowedFd<'_>, request: u32, arguments: &mut T) -> Result<()> {
    // SAFETY: private to this file, whose callers pair each request with the structure that the
    // kernel reads and writes for it.
    let result =
        unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, std::ptr::from_mut(arguments)) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}
