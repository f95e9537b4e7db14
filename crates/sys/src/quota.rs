//! Quotas of projects: of all files of a file system that carry one number.

use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::{FS_XFLAG_PROJINHERIT, fsxattr};
use linux_raw_sys::ioctl::{FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};
use rustix::io::{Errno, Result};

/// PRJQUOTA.
const PROJECTS: u32 = 2;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
/// Of all file systems, in spite of its name: `('X' << 8) + 8`.
const Q_XGETQSTATV: u32 = 0x5808;
/// FS_QUOTA_PDQ_ENFD: limits of projects are enforced.
const ENFORCED: u16 = 1 << 5;
/// QIF_BLIMITS and QIF_ILIMITS.
const LIMITS: u32 = 1 | 4;

/// What a project uses and may use. No limit is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Project {
    /// Bytes in use.
    pub bytes: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Of how many bytes, in whole KiB.
    pub max_bytes: u64,
    /// Of how many inodes.
    pub max_inodes: u64,
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Block {
    hard_kib: u64,
    soft_kib: u64,
    bytes: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// `struct fs_quota_statv`, of which only the beginning matters.
#[repr(C)]
struct State {
    version: i8,
    _pad: u8,
    flags: u16,
    _rest: [u32; 63],
}

/// Whether the file system of `inside` holds projects to their limits.
///
/// # Errors
/// Where it or the kernel knows no quotas: `ENOSYS` (`ENOTSUP`, `EINVAL`, `ESRCH`, ...).
pub fn enforced(inside: BorrowedFd<'_>) -> Result<bool> {
    let mut state = State { version: 1, _pad: 0, flags: 0, _rest: [0; 63] };
    // SAFETY: the structure is larger than what this command reads and writes.
    unsafe { control(inside, Q_XGETQSTATV, 0, (&raw mut state).cast())? };
    Ok(state.flags & ENFORCED != 0)
}

/// What project `id` uses; zeroes where nobody has heard of it.
pub fn project(inside: BorrowedFd<'_>, id: u32) -> Result<Project> {
    let mut block = Block::default();
    // SAFETY: this command writes one structure of this type.
    match unsafe { control(inside, Q_GETQUOTA, id, (&raw mut block).cast()) } {
        Err(Errno::NOENT) => Ok(Project::default()),
        result => result.map(|()| Project {
            bytes: block.bytes,
            inodes: block.inodes,
            max_bytes: block.hard_kib.saturating_mul(1024),
            max_inodes: block.hard_inodes,
        }),
    }
}

/// Limits project `id`, from now on, however much it uses already. Bytes count in whole KiB.
pub fn limit_project(inside: BorrowedFd<'_>, id: u32, max_bytes: u64, max_inodes: u64) -> Result<()> {
    let mut block =
        Block { hard_kib: max_bytes / 1024, hard_inodes: max_inodes, valid: LIMITS, ..Block::default() };
    // SAFETY: this command reads one structure of this type.
    unsafe { control(inside, Q_SETQUOTA, id, (&raw mut block).cast()) }
}

/// Puts an empty directory, and so all that will be made in it, into project `id`.
///
/// # Errors
/// `EOPNOTSUPP` where the file system was made without projects.
pub fn join_project(directory: BorrowedFd<'_>, id: u32) -> Result<()> {
    // SAFETY: plain data, for which zeroes are valid.
    let mut attributes: fsxattr = unsafe { std::mem::zeroed() };
    let fd = directory.as_raw_fd();
    // SAFETY: this request writes one structure of this type.
    if unsafe { libc::ioctl(fd, FS_IOC_FSGETXATTR as libc::Ioctl, &raw mut attributes) } < 0 {
        return Err(crate::last_error());
    }
    attributes.fsx_projid = id;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    // SAFETY: this request reads one structure of this type.
    if unsafe { libc::ioctl(fd, FS_IOC_FSSETXATTR as libc::Ioctl, &raw const attributes) } < 0 {
        return Err(crate::last_error());
    }
    Ok(())
}

/// # Safety
/// `argument` points to what the command reads or writes.
unsafe fn control(inside: BorrowedFd<'_>, command: u32, id: u32, argument: *mut libc::c_void) -> Result<()> {
    let command = command << 8 | PROJECTS;
    // SAFETY: the caller's promise; the kernel keeps nothing of it.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, inside.as_raw_fd(), command, id, argument) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}
