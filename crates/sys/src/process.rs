//! Making processes: clone3 with everything in one call, exec from prepared arguments, pidfds.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// Makes a child that shares nothing writable with the caller (a fork), in the new namespaces of
/// `flags` (`CLONE_NEW…`), placed straight into the version 2 control group `cgroup`.
///
/// In the child, which has only the calling thread, `child` runs and its result is the exit code.
/// All signals stay blocked there until it unblocks them. It **must not** allocate, lock or panic:
/// another thread of the caller may have held the allocator's lock at the moment of the copy. (A
/// child that breaks this rule can hang; it cannot corrupt the caller, hence the safe function.)
pub fn clone_child(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> io::Result<(i32, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data; all zeroes is its documented default.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    // A sibling has the exit signal of its maker (clone(2)).
    arguments.exit_signal = if flags & SIBLING == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(group) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    let mask = crate::signal::block_all();
    // SAFETY: no CLONE_VM, so the child works on a copy of our memory; the structure and the place
    // for the pidfd outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    if pid == 0 {
        let guard = ExitOnUnwind;
        let code = child();
        std::mem::forget(guard);
        exit_now(code);
    }
    let failure = io::Error::last_os_error();
    crate::signal::restore(&mask);
    if pid < 0 {
        return Err(failure);
    }
    // SAFETY: on success the kernel has stored a new descriptor there (CLONE_PIDFD).
    Ok((pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// CLONE_PARENT: a flag for [`clone_child`] that makes a child of the caller's parent.
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// For [`clone_child`]: no signal has a handler in the child (CLONE_CLEAR_SIGHAND); what was ignored
/// still is.
pub const WITHOUT_HANDLERS: u64 = 0x1_0000_0000;

/// A panic must never unwind out of the child into the caller's frames, which exist there too.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit_now(125);
    }
}

/// A plain fork for the child of a child, under the rules of [`clone_child`]; returns the pid.
pub fn fork_child(child: impl FnOnce() -> i32) -> Result<i32, Errno> {
    // SAFETY: a fork without CLONE_VM and without any pointer.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        0 => {
            let guard = ExitOnUnwind;
            let code = child();
            std::mem::forget(guard);
            exit_now(code)
        }
        pid if pid < 0 => Err(crate::last_error()),
        pid => Ok(pid as i32),
    }
}

/// Ends the process at once: no destructor, no exit handler, no flush.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: exit_group takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Strings in the form execve wants: built before the clone, used after it.
#[derive(Debug)]
pub struct Strings {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into `strings`, which is owned, never changed and moves with them.
unsafe impl Send for Strings {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Strings {}

impl Strings {
    /// Takes the strings over.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { strings, pointers }
    }

    /// The strings.
    pub fn get(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the process image; returns only on failure.
pub fn execve(program: &CStr, arguments: &Strings, environment: &Strings) -> Errno {
    // SAFETY: a NUL-terminated path and two arrays of NUL-terminated strings that end with a null
    // pointer (`Strings::new`).
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    crate::last_error()
}

/// Executes the program behind a descriptor; returns only on failure.
pub fn execveat(program: BorrowedFd<'_>, arguments: &Strings, environment: &Strings) -> Errno {
    // SAFETY: as in `execve`; the empty path with AT_EMPTY_PATH means the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    crate::last_error()
}

/// Sends any signal number through a pidfd: never hits a process that took over the number.
pub fn send_signal(pidfd: BorrowedFd<'_>, signo: i32) -> rustix::io::Result<()> {
    // SAFETY: numbers and a null siginfo (which means the one that kill() would send).
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signo, std::ptr::null::<u8>(), 0)
    };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Sends a signal by number to a process id; only for children that were not waited for yet.
pub fn kill(pid: i32, signo: i32) -> rustix::io::Result<()> {
    // SAFETY: kill takes two numbers.
    if unsafe { libc::kill(pid, signo) } < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Reaps one child, any of them if `pid` is -1: its pid and exit code (128+signal), or None if
/// `block` is false and none has ended.
pub fn reap(pid: i32, block: bool) -> rustix::io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    let options = if block { 0 } else { libc::WNOHANG };
    // SAFETY: waitpid writes to `status` only.
    match unsafe { libc::waitpid(pid, &raw mut status, options) } {
        0 => Ok(None),
        pid if pid < 0 => Err(crate::last_error()),
        pid => Ok(Some((pid, exit_code(status)))),
    }
}

/// The exit code as a shell shows it: 128 and the signal's number for a death by signal.
fn exit_code(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

/// Makes an empty session keyring for the calling thread and what it starts.
pub fn join_new_keyring() -> rustix::io::Result<()> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a number, and a null name, which means a keyring without one.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Whether a descriptor with this number is open and goes on over exec: as whoever started us gave it
/// to us, not as Rust opens one.
pub fn is_inherited(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes a number and changes nothing.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes every descriptor from `first` to `last`.
pub fn close_range(first: u32, last: u32) -> rustix::io::Result<()> {
    close_range_with(first, last, 0)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub fn close_on_exec_from(first: u32) -> rustix::io::Result<()> {
    close_range_with(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range_with(first: u32, last: u32, flags: libc::c_uint) -> rustix::io::Result<()> {
    // SAFETY: callers pass ranges they own or run in a process of their own before exec; a raw
    // number that is closed too much gives EBADF later, not memory unsafety.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Makes `fd` a descriptor with the number `at` (not close-on-exec): 0, 1 or 2, or in a child that is
/// about to execute something, any that it has no other use for.
pub fn dup_onto(fd: BorrowedFd<'_>, at: RawFd) -> rustix::io::Result<()> {
    // SAFETY: dup2 on two numbers; nothing owns the standard three, and a child that leaves its
    // parent's frames without returning closes nothing by a number that has another meaning now.
    if unsafe { libc::dup2(fd.as_raw_fd(), at) } < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// A descriptor that this program was given by whoever executed it, who promised its number; from
/// now on it is close-on-exec.
///
/// # Errors
/// `EBADF` where there is none of that number.
pub fn inherited(number: RawFd) -> rustix::io::Result<OwnedFd> {
    // SAFETY: the flags of a number; a number that is no descriptor fails.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: it is open, and by the promise nothing else in this program owns the number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets the next program have this descriptor too, under its number, or not.
pub fn hand_on(fd: BorrowedFd<'_>, whether: bool) -> rustix::io::Result<()> {
    let flags = if whether { rustix::io::FdFlags::empty() } else { rustix::io::FdFlags::CLOEXEC };
    rustix::io::fcntl_setfd(fd, flags)
}

/// setrlimit by the kernel's number of the resource. What may not be raised (it takes
/// CAP_SYS_RESOURCE, and open files have a highest number) stays at the present hard limit.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> rustix::io::Result<()> {
    match limit(0, resource, Some(&libc::rlimit64 { rlim_cur: soft.min(hard), rlim_max: hard })) {
        Err(Errno::PERM) => {
            let most = limit(0, resource, None)?.rlim_max.min(hard);
            limit(0, resource, Some(&libc::rlimit64 { rlim_cur: soft.min(most), rlim_max: most })).map(drop)
        }
        result => result.map(drop),
    }
}

/// Sets a limit of another process, exactly so or not at all.
pub fn set_limit_of(pid: i32, resource: u32, soft: u64, hard: u64) -> rustix::io::Result<()> {
    limit(pid, resource, Some(&libc::rlimit64 { rlim_cur: soft, rlim_max: hard })).map(drop)
}

/// The same in the place of the process's owner, user and group: without CAP_SYS_RESOURCE only that
/// one may, and root is nobody to the processes of another user namespace.
pub fn set_limit_as(
    owner: (u32, u32),
    pid: i32,
    resource: u32,
    soft: u64,
    hard: u64,
) -> rustix::io::Result<()> {
    let (uid, gid) = (rustix::process::Uid::from_raw(owner.0), rustix::process::Gid::from_raw(owner.1));
    let child = fork_child(|| {
        let set = rustix::thread::set_thread_res_gid(gid, gid, gid)
            .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
            .and_then(|()| set_limit_of(pid, resource, soft, hard));
        set.map_or_else(Errno::raw_os_error, |()| 0)
    })?;
    match reap(child, true)? {
        Some((_, 0)) => Ok(()),
        Some((_, code)) => Err(Errno::from_raw_os_error(code)),
        None => Err(Errno::CHILD),
    }
}

/// Files that the calling thread makes from now on belong to this user and group of the host; its
/// capabilities stay.
pub fn set_file_owner(uid: u32, gid: u32) -> rustix::io::Result<()> {
    use rustix::thread::{CapabilitiesSecureBits, capabilities_secure_bits, set_capabilities_secure_bits};
    let bits = capabilities_secure_bits()? | CapabilitiesSecureBits::NO_SETUID_FIXUP;
    set_capabilities_secure_bits(bits)?;
    // SAFETY: both take a number; they return the former one and fail silently, which the second
    // call with an impossible id tells.
    let (group, user) = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsgid(u32::MAX), libc::setfsuid(u32::MAX))
    };
    if (user as u32, group as u32) == (uid, gid) { Ok(()) } else { Err(Errno::PERM) }
}

/// The limit as it was, and the new one, if any.
fn limit(pid: i32, resource: u32, new: Option<&libc::rlimit64>) -> rustix::io::Result<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: prlimit64 reads one structure, if it is given, and writes the other.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, &raw mut old) };
    if result < 0 { Err(crate::last_error()) } else { Ok(old) }
}
