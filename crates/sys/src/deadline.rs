//! The end of a process that cannot end itself in time, because it waits or computes where nobody asks it.

use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

static LAST_WORDS: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);
/// Where they go, and the exit code.
static TO: AtomicI32 = AtomicI32::new(1);
static CODE: AtomicI32 = AtomicI32::new(0);

/// After this time the process writes `last_words` to its standard output and ends with code 0,
/// whatever it does then. A second call replaces the first.
pub fn arm(after: Duration, last_words: Vec<u8>) {
    set(after, last_words, (1, 0));
}

/// Likewise, where that is a failure: the words go to standard error, and the code is 1.
pub fn arm_failing(after: Duration, last_words: Vec<u8>) {
    set(after, last_words, (2, 1));
}

fn set(after: Duration, last_words: Vec<u8>, (to, code): (i32, i32)) {
    TO.store(to, Ordering::SeqCst);
    CODE.store(code, Ordering::SeqCst);
    let words = Box::leak(last_words.into_boxed_slice());
    LENGTH.store(0, Ordering::SeqCst);
    LAST_WORDS.store(words.as_mut_ptr(), Ordering::SeqCst);
    LENGTH.store(words.len(), Ordering::SeqCst);
    let handler: extern "C" fn(i32) = end;
    let whole = libc::timeval {
        tv_sec: after.as_secs().min(1 << 31) as libc::time_t,
        // Zero would be no timer at all.
        tv_usec: libc::suseconds_t::from(after.subsec_micros().max(1)),
    };
    let once = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: whole };
    // SAFETY: the handler only makes system calls and reads what lives for ever.
    unsafe {
        libc::signal(libc::SIGALRM, handler as libc::sighandler_t);
        libc::setitimer(libc::ITIMER_REAL, &raw const once, std::ptr::null_mut());
    }
}

/// No end any more.
pub fn disarm() {
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let off = libc::itimerval { it_interval: none, it_value: none };
    // SAFETY: it reads what it is given.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const off, std::ptr::null_mut()) };
}

extern "C" fn end(_: i32) {
    let (words, length) = (LAST_WORDS.load(Ordering::SeqCst), LENGTH.load(Ordering::SeqCst));
    // SAFETY: the words were leaked, so they are there; both calls may be made in a handler.
    unsafe {
        libc::write(TO.load(Ordering::SeqCst), words.cast_const().cast(), length);
        libc::_exit(CODE.load(Ordering::SeqCst));
    }
}
