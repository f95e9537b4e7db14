//! Children of helpers: what they start goes when they go.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The child gets a session of its own, and outlives us.
pub fn apart(command: &mut Command) -> &mut Command {
    // SAFETY: a plain system call, which a copied process may make.
    let prepare =
        || if unsafe { libc::setsid() } < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: between fork and exec nothing is allocated or locked.
    unsafe { command.pre_exec(prepare) }
}

/// The child blocks no signal, and others may read what it makes: as programs expect it that are started by hand.
pub fn unmarked(command: &mut Command) -> &mut Command {
    let prepare = || {
        crate::signal::unblock_all();
        // SAFETY: a plain system call, which a copied process may make.
        unsafe { libc::umask(0o022) };
        Ok(())
    };
    // SAFETY: between fork and exec nothing is allocated or locked.
    unsafe { command.pre_exec(prepare) }
}

/// The child gets a session of its own and a guard, which is what is waited for: it ends with the code of the child
/// (128 and the number of a signal), and before that ends whatever the child has started, wherever that has gone. So
/// it does when it is sent SIGTERM, and when the calling thread ends, however that comes about.
pub fn guarded(command: &mut Command) -> &mut Command {
    // SAFETY: a plain system call.
    let parent = unsafe { libc::getpid() };
    // SAFETY: between fork and exec nothing is allocated or locked: the guard, too, only makes system calls.
    unsafe { command.pre_exec(move || guard(parent)) }
}

/// Returns in the child of the guard, which executes the program.
fn guard(parent: i32) -> std::io::Result<()> {
    let mask = crate::signal::block_all();
    // SAFETY: plain system calls, which a copied process may make; the disposition is the default one.
    let pid = unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        if libc::setsid() < 0
            || libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) != 0
            || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0
        {
            return Err(std::io::Error::last_os_error());
        }
        if libc::getppid() != parent {
            libc::_exit(125);
        }
        libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)
    };
    if pid < 0 {
        return Err(std::io::Error::last_os_error());
    }
    if pid > 0 {
        // Pipes of the program, and the one on which its start is waited for.
        // SAFETY: nothing in this process uses a descriptor any more.
        unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
        crate::process::exit_now(watch(pid as i32));
    }
    // SAFETY: plain system calls.
    unsafe {
        // Should the guard itself be killed.
        if libc::setsid() < 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    crate::signal::restore(&mask);
    Ok(())
}

/// Until the program has ended, or is to: its code. All signals are blocked.
fn watch(pid: i32) -> i32 {
    loop {
        if crate::signal::wait_any() == libc::SIGTERM {
            end_descendants(pid);
            return 128 + libc::SIGKILL;
        }
        while let Ok(Some((ended, code))) = crate::process::reap(-1, false) {
            if ended == pid {
                end_descendants(pid);
                return code;
            }
        }
    }
}

/// Each that goes leaves its own children to us, until there is none.
fn end_descendants(leader: i32) {
    loop {
        if !each_child(|pid| _ = crate::process::kill(pid, libc::SIGKILL)) {
            // Where the kernel does not list them its group is all that we know; who is above us sees to the rest.
            let _ = crate::process::kill(-leader, libc::SIGKILL);
            return;
        }
        // One that is just being killed is waited for; there may be more by then.
        if crate::process::reap(-1, true).is_err() {
            return;
        }
    }
}

/// As the kernel lists them, without a heap; false where it does not.
fn each_child(mut what: impl FnMut(i32)) -> bool {
    let mut number = 0_i32;
    let mut buffer = [0_u8; 1024];
    // SAFETY: a path that ends with NUL; the buffer has the length that is said.
    unsafe {
        let fd = libc::open(c"/proc/thread-self/children".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        loop {
            let count = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
            let Some(read) = usize::try_from(count).ok().filter(|count| *count > 0) else { break };
            for byte in buffer.iter().take(read) {
                if byte.is_ascii_digit() {
                    number = number.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'));
                } else if number > 0 {
                    what(number);
                    number = 0;
                }
            }
        }
        libc::close(fd);
    }
    if number > 0 {
        what(number);
    }
    true
}
