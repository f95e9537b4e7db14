//! Signal masks, dispositions and synchronous waiting.

use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::OnceLock;

/// A saved signal mask.
pub struct Mask(libc::sigset_t);

/// Blocks every signal for the calling thread and returns what was blocked before.
pub fn block_all() -> Mask {
    swap(libc::SIG_SETMASK, &full())
}

/// Blocks the given signals in addition.
pub fn block(signals: &[i32]) -> Mask {
    swap(libc::SIG_BLOCK, &set_of(signals))
}

/// Puts a saved mask back.
pub fn restore(mask: &Mask) {
    swap(libc::SIG_SETMASK, &mask.0);
}

/// The signals that this program ignores, number N as bit N. The kernel is asked once: what is
/// ignored later is not known here.
pub fn ignored() -> u64 {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    *IGNORED.get_or_init(|| (1..64).filter(|signal| is_ignored(*signal)).fold(0, |all, one| all | 1 << one))
}

/// Not through libc, which keeps 32 and 33 to itself.
fn is_ignored(signal: u32) -> bool {
    let mut old = [0_u64; 4];
    // SAFETY: no new disposition comes in; the kernel fills the structure of the size that it has.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, std::ptr::null_mut::<u8>(), old.as_mut_ptr(), 8)
    };
    result == 0 && old[0] == libc::SIG_IGN as u64
}

/// These signals get their default disposition: what a new program expects. (Rust ignores SIGPIPE,
/// and that would be inherited through exec.)
pub fn reset(signals: u64) {
    // handler, flags, restorer, mask as the kernel has them.
    let default = [libc::SIG_DFL as u64, 0, 0, 0];
    for signal in (1..64).filter(|signal| signals & 1 << signal != 0) {
        // SAFETY: SIG_DFL installs no handler; the kernel reads the structure and writes nothing.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, std::ptr::null_mut::<u8>(), 8);
        }
    }
}

/// Blocks nothing any more.
pub fn unblock_all() {
    swap(libc::SIG_SETMASK, &set_of(&[]));
}

/// Waits until one of the blocked signals arrives and takes it.
pub fn wait_any() -> i32 {
    let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: the set is initialised; the kernel fills `info`, which is not read.
    unsafe { libc::sigwaitinfo(&full(), info.as_mut_ptr()) }
}

/// A descriptor (non-blocking, close-on-exec) from which the given signals are read; blocks them.
pub fn descriptor(signals: &[i32]) -> rustix::io::Result<OwnedFd> {
    block(signals);
    let set = set_of(signals);
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(crate::last_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The signal number in what was read from a [`descriptor`]; records are 128 bytes each.
pub fn number(record: &[u8]) -> Option<i32> {
    Some(u32::from_ne_bytes(record.get(..4)?.try_into().ok()?) as i32)
}

fn full() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the whole set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set; sigaddset checks the number.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn swap(how: i32, set: &libc::sigset_t) -> Mask {
    let mut old = MaybeUninit::uninit();
    // SAFETY: reads one set and writes the other, which is thereby initialised; it cannot fail
    // with a valid `how`.
    unsafe {
        libc::pthread_sigmask(how, set, old.as_mut_ptr());
        Mask(old.assume_init())
    }
}
