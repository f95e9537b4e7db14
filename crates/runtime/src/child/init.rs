//! Process 1 of a container that asked for an init: passes signals on, reaps, ends as the command
//! ended. It holds no descriptor, is not dumpable, and the kernel ends the rest with it.
//!
//! Whatever a defect in it may give away is little: before the command goes on it has put down
//! every capability but the one to signal other users, and is under a filter of its own.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use sys::seccomp::Instruction;

/// What passing a signal on to a process of another user takes.
pub(crate) const CAPABILITIES: u64 = 1 << sys::capability::KILL;

/// Forks; the child runs `command` once the parent is confined. In the parent the exit code of
/// that child comes back.
pub(super) fn fork_and_reap(filter: &[Instruction], command: impl FnOnce() -> i32) -> Result<i32, Errno> {
    let (wait, hold) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let child = sys::process::fork_child(|| {
        close(&hold);
        // Ends when the parent has closed its descriptors; if it dies, so does this process.
        let _ = rustix::io::read(&wait, &mut [0_u8]);
        close(&wait);
        command()
    })?;
    let confined = confine(filter);
    // Closed below with all others, or by our end: not by their owners.
    std::mem::forget((wait, hold));
    if let Err(error) = confined {
        // Before our end lets it go on.
        let _ = sys::process::kill(child, KILL);
        return Err(error);
    }
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
/// SIGKILL.
const KILL: i32 = 9;

/// In the child of a fork: the owner's frame is the parent's, and is never left here.
fn close(fd: &OwnedFd) {
    let number = fd.as_raw_fd() as u32;
    let _ = sys::process::close_range(number, number);
}

/// The bounding set goes first (it takes CAP_SETPCAP), the capabilities go last.
fn confine(filter: &[Instruction]) -> Result<(), Errno> {
    let held = sys::capability::permitted()? & CAPABILITIES;
    sys::capability::bound(0)?;
    rustix::thread::set_no_new_privs(true)?;
    sys::seccomp::load(filter)?;
    sys::capability::set(held)
}

/// Reaps all that have ended; the exit code of `command` if it is among them.
fn reap_until(command: i32) -> Option<i32> {
    while let Ok(Some((pid, code))) = sys::process::reap(-1, false) {
        if pid == command {
            return Some(code);
        }
    }
    None
}
