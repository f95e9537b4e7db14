//! Landlock: rule sets that a process lays upon itself (landlock(7)).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Result;

/// Execute a file.
pub const EXECUTE: u64 = 1 << 0;
/// Write to a file.
pub const WRITE_FILE: u64 = 1 << 1;
/// Read a file.
pub const READ_FILE: u64 = 1 << 2;
/// List a directory.
pub const READ_DIR: u64 = 1 << 3;
/// Remove directories.
pub const REMOVE_DIR: u64 = 1 << 4;
/// Remove files.
pub const REMOVE_FILE: u64 = 1 << 5;
/// Make directories.
pub const MAKE_DIR: u64 = 1 << 7;
/// Make files.
pub const MAKE_REG: u64 = 1 << 8;
/// Make sockets.
pub const MAKE_SOCK: u64 = 1 << 9;
/// Make named pipes.
pub const MAKE_FIFO: u64 = 1 << 10;
/// Make symlinks.
pub const MAKE_SYM: u64 = 1 << 12;
/// Link and rename from one directory to another; ABI 2.
pub const REFER: u64 = 1 << 13;
/// Shorten a file; ABI 3.
pub const TRUNCATE: u64 = 1 << 14;
/// Control a device; ABI 5.
pub const IOCTL_DEV: u64 = 1 << 15;

/// Listen on a TCP port; ABI 4.
pub const BIND_TCP: u64 = 1 << 0;
/// Connect to a TCP port; ABI 4.
pub const CONNECT_TCP: u64 = 1 << 1;

/// The rights that mean something for what is not a directory.
pub const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

/// All rights over files that this version of the interface knows.
pub fn known(abi: u32) -> u64 {
    let count = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << count) - 1
}

/// Which version of the interface the kernel has.
///
/// # Errors
/// `ENOSYS` where Landlock is not compiled in, `EOPNOTSUPP` where it is switched off.
pub fn abi() -> Result<u32> {
    const VERSION: u32 = 1;
    // SAFETY: a null pointer of size 0 together with this flag asks for the version only.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    if result < 0 { Err(crate::last_error()) } else { Ok(result as u32) }
}

#[repr(C)]
struct Handled {
    files: u64,
    ports: u64,
}

/// Makes a rule set that denies these rights but for the exceptions that are added to it.
pub fn create(files: u64, ports: u64) -> Result<OwnedFd> {
    let handled = Handled { files, ports };
    // SAFETY: a structure of the given size, which an older kernel takes too if its tail is zero.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<Handled>(), 0)
    };
    if result < 0 {
        return Err(crate::last_error());
    }
    // SAFETY: a new descriptor (close-on-exec) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// Allows `rights` on what `path` stands for and on everything below it.
pub fn allow_path(rules: BorrowedFd<'_>, path: BorrowedFd<'_>, rights: u64) -> Result<()> {
    const PATH_BENEATH: u32 = 1;
    let rule = Beneath { allowed: rights, parent: path.as_raw_fd() };
    add(rules, PATH_BENEATH, (&raw const rule).cast())
}

#[repr(C)]
struct Port {
    allowed: u64,
    port: u64,
}

/// Allows `rights` on a port.
pub fn allow_port(rules: BorrowedFd<'_>, port: u16, rights: u64) -> Result<()> {
    const NET_PORT: u32 = 2;
    let rule = Port { allowed: rights, port: port.into() };
    add(rules, NET_PORT, (&raw const rule).cast())
}

fn add(rules: BorrowedFd<'_>, kind: u32, rule: *const libc::c_void) -> Result<()> {
    // SAFETY: both callers pass the structure that belongs to the kind; the kernel only reads it.
    let result = unsafe { libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), kind, rule, 0) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Lays the rules upon the calling thread and what it starts. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn restrict_self(rules: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: a descriptor and flags.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_knows_more() {
        assert_eq!(known(1), 0x1fff);
        assert_eq!(known(2), 0x1fff | REFER);
        assert_eq!(known(4), known(2) | TRUNCATE);
        assert_eq!(known(99), known(3) | IOCTL_DEV);
    }
}
