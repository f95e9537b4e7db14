//! The way into a program whose start must cost nothing.

use std::ffi::c_char;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::fs::{Mode, OFlags};

/// Makes `run`, a function without arguments that returns an exit code (`u8`), the program, which
/// says `#![cfg_attr(not(test), no_main)]` of itself.
///
/// What the standard library does before `main` is left out: asking the kernel for the bounds of
/// the stack, and a second stack for a handler that tells of an overflow. What programs rely on,
/// [`prepare`] and [`finish`] do.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[cfg(not(test))]
        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C" fn main(
            _count: ::core::ffi::c_int,
            arguments: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            $crate::start::prepare(arguments);
            $crate::start::finish($run())
        }

        // Unit tests bring a main function of their own.
        #[cfg(test)]
        fn main() -> ::std::process::ExitCode {
            $run().into()
        }
    };
}

/// Where the kernel has put the arguments.
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

/// A write to a pipe without a reader is an error, not the end; and no file that we open takes the
/// place of a standard descriptor that the caller has closed.
pub fn prepare(arguments: *const *const c_char) {
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    for number in 0..3 {
        // SAFETY: asks about a number; nothing is changed.
        let closed = unsafe { libc::fcntl(number, libc::F_GETFD) } < 0;
        if closed {
            // The lowest free number is this one. Without /dev/null there is nothing to be done.
            let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty());
            std::mem::forget(null);
        }
    }
}

/// Overwrites the arguments and the environment that this process was executed with, where others
/// can read them (/proc/PID/cmdline), by a title. For a copy of a program that is something else now,
/// with one thread; neither can be asked for any more.
pub fn forget_words(title: &str) {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    if arguments.is_null() {
        return;
    }
    let (mut start, mut end): (*mut u8, *mut u8) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: both lists end with a null pointer, and their strings with a NUL (execve(2)).
    unsafe {
        unsafe extern "C" {
            static environ: *const *const c_char;
        }
        for list in [arguments.cast_const(), environ] {
            let mut entry = list;
            while !entry.is_null() && !(*entry).is_null() {
                let text = (*entry).cast::<u8>().cast_mut();
                if start.is_null() {
                    (start, end) = (text, text);
                }
                // The kernel lays them out one behind the other; what was put elsewhere is not seen.
                if text == end {
                    end = text.add(libc::strlen(text.cast()) + 1);
                }
                entry = entry.add(1);
            }
        }
        let room = end.offset_from(start) as usize;
        std::ptr::write_bytes(start, 0, room);
        let title = &title.as_bytes()[..title.len().min(room.saturating_sub(1))];
        std::ptr::copy_nonoverlapping(title.as_ptr(), start, title.len());
    }
}

/// Ends the program: what was printed goes out, and the kernel takes back the rest.
pub fn finish(code: u8) -> ! {
    // Nobody may be there to read it.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    crate::process::exit_now(code.into())
}
