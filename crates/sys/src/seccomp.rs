//! Seccomp filters: assembled from tables, looked through, loaded with or without a listener.

pub mod assemble;
mod evaluate;

pub use evaluate::{Call, evaluate, is_sound};

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

/// Flag of [`load_with`]: refused calls are written to the kernel's log.
pub const LOG: u32 = libc::SECCOMP_FILTER_FLAG_LOG as u32;
/// Flag of [`load_with`]: the process keeps its right to speculate past stores. Kernels before 5.16
/// take it from every process with a filter, which slows it down, and for nothing: whoever runs
/// untrusted code inside one process asks for that himself (prctl). Younger ones never do.
pub const SPEC_ALLOW: u32 = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;

/// Installs `program` for the calling thread and what it starts. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn load(program: &[Instruction]) -> Result<()> {
    load_with(program, SPEC_ALLOW)
}

/// Installs `program` with just these flags.
pub fn load_with(program: &[Instruction], flags: u32) -> Result<()> {
    install(program, flags.into()).map(drop)
}

/// Installs `program` and returns the descriptor (close-on-exec) to which its notifications go.
pub fn load_with_listener(program: &[Instruction]) -> Result<OwnedFd> {
    load_with_listener_and(program, WAIT_KILLABLE)
}

/// Flag of [`load_with_listener_and`]; see [`load_with_listener`].
pub const WAIT_KILLABLE: u32 = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32;

/// The same with these flags; [`WAIT_KILLABLE`] goes where the kernel does not know it.
pub fn load_with_listener_and(program: &[Instruction], flags: u32) -> Result<OwnedFd> {
    // Without WAIT_KILLABLE_RECV (Linux 5.19) a signal during a supervised call would turn calls
    // that never fail so, like stat, into EINTR.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::c_ulong::from(flags);
    let fd = match install(program, flags) {
        Err(Errno::INVAL) => install(program, flags & !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)?,
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
