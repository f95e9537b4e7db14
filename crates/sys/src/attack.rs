//! What the attacker of `tsubo audit` needs of the kernel: taking, without ever giving back, what a
//! container should not get without end. All of it goes with the process that took it.

use std::ffi::c_void;
use std::sync::atomic::AtomicU64;

use rustix::io::{Errno, Result};

pub use crate::system_v::{message_queue, no_message_queue, no_semaphores, semaphores, shared_memory};

/// A page that parents and children share, as numbers.
#[derive(Debug, Clone, Copy)]
pub struct Shared(&'static [AtomicU64; 64]);

impl Shared {
    /// A fresh one, all zeroes; it stays as long as the process.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Self> {
        let page = map(4096, libc::MAP_SHARED)?;
        // SAFETY: a page of our own, zeroed, aligned, mapped for good, and only touched as atomics.
        Ok(Self(unsafe { &*page.cast::<[AtomicU64; 64]>() }))
    }

    /// One of its 64 numbers.
    pub fn number(&self, at: usize) -> &'static AtomicU64 {
        &self.0[at % 64]
    }
}

fn map(bytes: usize, flags: i32) -> Result<*mut c_void> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at a place that the kernel chooses.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            access,
            flags | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED { Err(crate::last_error()) } else { Ok(at) }
}

/// A child that dies with its parent, and by itself after `seconds`, whatever it does.
///
/// # Errors
/// As fork's.
pub fn bound_child(seconds: u32, child: impl FnOnce() -> i32) -> Result<i32> {
    let parent = rustix::process::getpid();
    crate::process::fork_child(|| {
        let bound = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        // Who was orphaned before has another parent by now; 0 is one of another namespace.
        if bound.is_err() || rustix::process::getppid().is_some_and(|now| now != parent) {
            return 1;
        }
        end_after(seconds);
        child()
    })
}

/// A child by vfork, to whose end the parent waits, in memory of its own; it dies with its parent.
///
/// # Errors
/// As vfork's.
pub fn waited_child(seconds: u32, child: impl FnOnce() -> i32) -> Result<()> {
    let (flags, parent) = (libc::CLONE_VFORK | libc::SIGCHLD, rustix::process::getpid());
    // SAFETY: a fork without CLONE_VM and without any pointer.
    match check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })? {
        0 => {
            let bound = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            // Who was orphaned before has another parent by now; 0 is one of another namespace.
            if bound.is_err() || rustix::process::getppid().is_some_and(|now| now != parent) {
                crate::process::exit_now(1);
            }
            end_after(seconds);
            let child = std::panic::AssertUnwindSafe(child);
            crate::process::exit_now(std::panic::catch_unwind(child).unwrap_or(125))
        }
        _ => Ok(()),
    }
}

/// The kernel ends this process after `seconds` (SIGALRM), unless it is the first of its namespace.
pub fn end_after(seconds: u32) {
    // SAFETY: a number.
    unsafe { libc::alarm(seconds) };
}

/// Memory of one process.
#[derive(Debug)]
pub struct Region {
    at: *mut u8,
    bytes: usize,
}

impl Region {
    /// Room for `bytes`; nothing is used before it is touched. It stays as long as the process.
    ///
    /// # Errors
    /// No room.
    pub fn new(bytes: usize) -> Result<Self> {
        Ok(Self { at: map(bytes, libc::MAP_PRIVATE)?.cast(), bytes })
    }

    /// Memory that was mapped elsewhere, and stays as long as the process.
    pub(crate) fn of(at: *mut u8, bytes: usize) -> Self {
        Self { at, bytes }
    }

    /// Prefers large pages: the same memory, taken faster.
    pub fn large_pages(&self) {
        // SAFETY: advice about our own mapping.
        unsafe { libc::madvise(self.at.cast(), self.bytes, libc::MADV_HUGEPAGE) };
    }

    /// Writes into each page from `from` to `to`.
    pub fn dirty(&self, from: usize, to: usize) {
        for offset in (from..to.min(self.bytes)).step_by(4096) {
            // SAFETY: within the mapping, to which nothing else refers; volatile, as it is never read.
            unsafe { self.at.add(offset).write_volatile(1) };
        }
    }

    /// Reads one byte, which takes a page table and no page.
    pub fn look(&self, at: usize) {
        if at < self.bytes {
            // SAFETY: as above; an untouched page reads as zeroes.
            unsafe { self.at.add(at).read_volatile() };
        }
    }

    /// Locks a part into memory.
    ///
    /// # Errors
    /// As mlock's.
    pub fn lock(&self, from: usize, to: usize) -> Result<()> {
        let to = to.min(self.bytes);
        // SAFETY: a part of our own mapping.
        check(unsafe { libc::mlock(self.at.add(from.min(to)).cast(), to.saturating_sub(from)) }.into())
            .map(drop)
    }
}

pub(crate) fn check(result: i64) -> Result<i64> {
    if result < 0 { Err(crate::last_error()) } else { Ok(result) }
}

/// The name that each of our POSIX queues has for a moment: one that a killed attacker has left is the
/// next one's to remove.
const QUEUE: &std::ffi::CStr = c".tsubo-attack";

/// A POSIX message queue that has no name any more, held by a descriptor that is never closed.
///
/// # Errors
/// As mq_open's.
pub fn posix_queue() -> Result<()> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    for _ in 0..100 {
        // SAFETY: a name that ends with NUL, numbers, and no attributes.
        let made =
            unsafe { libc::syscall(libc::SYS_mq_open, QUEUE.as_ptr(), flags, 0o600, std::ptr::null::<u8>()) };
        let made = check(made);
        if !matches!(made, Ok(_) | Err(Errno::EXIST)) {
            return made.map(drop);
        }
        no_posix_queue()?;
        if made.is_ok() {
            return Ok(());
        }
    }
    Err(Errno::EXIST)
}

/// Removes the name, which a killed attacker may have left.
///
/// # Errors
/// It is somebody's, and stays. That there is none is none.
pub fn no_posix_queue() -> Result<()> {
    // SAFETY: a name that ends with NUL.
    match check(unsafe { libc::syscall(libc::SYS_mq_unlink, QUEUE.as_ptr()) }) {
        // Another has removed it: whoever holds a queue holds it without.
        Err(Errno::NOENT) => Ok(()),
        removed => removed.map(drop),
    }
}

/// A key of a new name in the keyring of the process, which goes with it.
///
/// # Errors
/// As add_key's.
pub fn key(number: u64, payload: &[u8]) -> Result<()> {
    const PROCESS_KEYRING: i32 = -2;
    let Ok(name) = std::ffi::CString::new(format!("tsubo-attack-{number}")) else {
        return Err(Errno::INVAL);
    };
    // SAFETY: two names that end with NUL, and a payload with its length.
    check(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            PROCESS_KEYRING,
        )
    })
    .map(drop)
}

/// A context of asynchronous I/O for so many events; it goes with the process.
///
/// # Errors
/// As io_setup's.
pub fn asynchronous(events: u32) -> Result<()> {
    let mut context = 0_u64;
    // SAFETY: the kernel writes one word.
    check(unsafe { libc::syscall(libc::SYS_io_setup, events, &raw mut context) }).map(drop)
}

/// A watch that never ends, from the kernel's clock each `nanoseconds`: a descriptor that is never
/// closed, whose signals nobody hears.
///
/// # Errors
/// As timer_create's.
pub fn busy_timer(nanoseconds: i64) -> Result<()> {
    // SAFETY: plain data; all zeroes is a valid sigevent, whose kind is set.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGWINCH;
    let mut timer = 0_i32;
    // SAFETY: the kernel reads the event and writes a number.
    check(unsafe {
        libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw const event, &raw mut timer)
    })?;
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let each = libc::itimerspec { it_interval: time, it_value: time };
    // SAFETY: the kernel reads the times.
    check(unsafe {
        libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const each, std::ptr::null::<u8>())
    })
    .map(drop)
}

/// Sleeps until a signal ends it.
pub fn hold() -> ! {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// Becomes deaf to the signals that ask politely.
pub fn deaf() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: SIG_IGN installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_counts_is_seen() {
        let shared = Shared::new().expect("a page");
        let child = bound_child(5, || {
            shared.number(3).store(7, std::sync::atomic::Ordering::Relaxed);
            0
        });
        crate::process::reap(child.expect("a child"), true).expect("its end");
        assert_eq!(shared.number(3).load(std::sync::atomic::Ordering::Relaxed), 7);
    }

    #[test]
    fn memory_can_be_touched_and_read() {
        let region = Region::new(1 << 20).expect("room");
        region.dirty(0, 1 << 20);
        region.look(4096);
    }
}
