//! Loading of seccomp filters, with or without a listener.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation code.
    pub code: u16,
    /// Instructions to skip where a jump's condition holds.
    pub jt: u8,
    /// Instructions to skip where it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The longest program that the kernel takes (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Installs `program` for the calling thread and what it starts. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn load(program: &[Instruction]) -> Result<()> {
    install(program, 0).map(drop)
}

/// Installs `program` and returns the descriptor (close-on-exec) to which its notifications go.
pub fn load_with_listener(program: &[Instruction]) -> Result<OwnedFd> {
    // Without WAIT_KILLABLE_RECV (Linux 5.19) a signal during a supervised call would turn calls
    // that never fail so, like stat, into EINTR.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match install(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => install(program, flags)?,
        other => other?,
    };
    // SAFETY: with NEW_LISTENER the kernel returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn install(program: &[Instruction], flags: libc::c_ulong) -> Result<i32> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let header = libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `header` points to `len` instructions of the kernel's layout (repr(C), asserted
    // below), which the kernel copies and does not write to.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&header))
    };
    if result < 0 { Err(crate::last_error()) } else { Ok(result as i32) }
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
