//! Children of helpers: what they start goes when they go.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The child gets a session of its own, and is killed when the calling thread ends.
pub fn alone(command: &mut Command) -> &mut Command {
    let prepare = || {
        // SAFETY: both are plain system calls, which a copied process may make.
        let failed = unsafe { libc::setsid() < 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec nothing is allocated or locked.
    unsafe { command.pre_exec(prepare) }
}

/// The child gets a session of its own, and outlives us.
pub fn apart(command: &mut Command) -> &mut Command {
    // SAFETY: a plain system call, which a copied process may make.
    let prepare =
        || if unsafe { libc::setsid() } < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: between fork and exec nothing is allocated or locked.
    unsafe { command.pre_exec(prepare) }
}
