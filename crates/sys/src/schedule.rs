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

/// What sched_setattr(2) sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// A policy of sched.h.
    pub policy: u32,
    /// A real-time priority, or 0.
    pub priority: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// Nanoseconds, for the deadline policy.
    pub runtime: u64,
    /// Likewise.
    pub deadline: u64,
    /// Likewise.
    pub period: u64,
}

/// sched_setattr(2) for the calling thread.
pub fn set_attributes(wanted: Attributes) -> Result<()> {
    // struct sched_attr in its first version: size, policy, flags, nice, priority, three times.
    let mut words = [0_u32; 12];
    words[0] = size_of_val(&words) as u32;
    words[1] = wanted.policy;
    words[5] = wanted.priority;
    for (at, value) in [(2, wanted.flags), (6, wanted.runtime), (8, wanted.deadline), (10, wanted.period)] {
        let bytes = value.to_ne_bytes();
        words[at] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        words[at + 1] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    }
    // SAFETY: a structure of the size that its first field tells, which the kernel only reads.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, words.as_ptr(), 0) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// set_mempolicy(2) for the calling thread: a mode with its flags, and a set of nodes as bits.
pub fn set_memory_policy(mode: u32, nodes: &[usize]) -> Result<()> {
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * usize::BITS as usize + 1 };
    // SAFETY: the kernel reads as many bits as it is told, less one; nothing where there are none.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}
