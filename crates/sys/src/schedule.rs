//! How the kernel shares out processor and disk to a process, and how it appears to old programs.

use rustix::io::Result;

/// sched_setscheduler(2) for the calling thread: a policy of sched.h, a real-time priority or 0.
pub fn set_scheduler(policy: i32, priority: u32) -> Result<()> {
    let priority = priority as i32;
    // SAFETY: `struct sched_param` is this one int, which the kernel only reads.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// ioprio_set(2) for the calling thread: a class of ioprio.h and a level in it.
pub fn set_io_priority(class: u8, level: u8) -> Result<()> {
    const PROCESS: i32 = 1;
    let value = i32::from(class) << 13 | i32::from(level);
    // SAFETY: numbers only.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, value) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// personality(2).
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: a number only.
    let result = unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(persona)) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}
