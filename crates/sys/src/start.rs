//! The way into a program whose start must cost nothing.

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
            _arguments: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            $crate::start::prepare();
            $crate::start::finish($run())
        }

        // Unit tests bring a main function of their own.
        #[cfg(test)]
        fn main() -> ::std::process::ExitCode {
            $run().into()
        }
    };
}

/// A write to a pipe without a reader is an error, not the end; and no file that we open takes the
/// place of a standard descriptor that the caller has closed.
pub fn prepare() {
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

/// Ends the program: what was printed goes out, and the kernel takes back the rest.
pub fn finish(code: u8) -> ! {
    // Nobody may be there to read it.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    crate::process::exit_now(code.into())
}
