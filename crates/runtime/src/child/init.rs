//! Process 1 of a container that asked for an init: passes signals on, reaps, ends as the command
//! ended. It holds no descriptor, is not dumpable, and the kernel ends the rest with it.

use rustix::io::Errno;

/// Forks; the child runs `command`. In the parent the exit code of that child comes back.
pub(super) fn fork_and_reap(command: impl FnOnce() -> i32) -> Result<i32, Errno> {
    let child = sys::process::fork_child(command)?;
    // The channel among them: the parent must see it closed when the command is executed.
    sys::process::close_range(0, u32::MAX)?;
    loop {
        match sys::signal::wait_any() {
            CHILD => {
                if let Some(code) = reap_until(child) {
                    return Ok(code);
                }
            }
            signo if signo > 0 => drop(sys::process::kill(child, signo)),
            _ => {}
        }
    }
}

/// SIGCHLD.
const CHILD: i32 = 17;

/// Reaps all that have ended; the exit code of `command` if it is among them.
fn reap_until(command: i32) -> Option<i32> {
    while let Ok(Some((pid, code))) = sys::process::reap(-1, false) {
        if pid == command {
            return Some(code);
        }
    }
    None
}
