//! Calls that a container has no business with: the attacker of `tsubo audit` tries them, and is refused, or
//! not.

use rustix::io::{Errno, Result};

use crate::attack::check;

/// Calls that a container has no business with, with arguments that do the least they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A user namespace of one's own (unshare).
    Users,
    /// The same by clone, whose high bits a 64-bit compare would not see through.
    UsersByClone,
    /// The same by clone3, whose flags no filter sees.
    UsersByClone3,
    /// A network namespace of one's own.
    Network,
    /// A mount namespace of one's own.
    Mounts,
    /// A file system in memory, the old way.
    Mount,
    /// A file system to be, the new way.
    Fsopen,
    /// A tree to be mounted elsewhere.
    OpenTree,
    /// Moving a mount.
    MoveMount,
    /// Changing a mount.
    MountSetattr,
    /// A program in the kernel.
    Bpf,
    /// Counters of the processor.
    Perf,
    /// Handling other's page faults.
    Userfault,
    /// Calls that no filter sees.
    Uring,
    /// The keyring of the session.
    Keyctl,
    /// Another kernel, to be started.
    Kexec,
    /// Code in the kernel.
    Module,
    /// The host's clock.
    Clock,
    /// An end of the host: with magic numbers that are none.
    Reboot,
    /// Swap space that does not exist.
    Swap,
    /// The kernel's log.
    Syslog,
    /// A file by its number on the disk.
    Handle,
    /// A call of the x32 ABI.
    X32,
    /// A user namespace, by the i386 ABI.
    I386,
    /// Typing into the terminal, with high bits in the request.
    Type,
    /// Another root directory.
    PivotRoot,
    /// A real-time priority, above all that others do.
    RealTime,
    /// Precedence over all others (nice -20).
    Nice,
}

/// The lowest real-time priority.
static FIRST: [i32; 2] = [1, 0];

/// Does it, in a process that ends behind it; what came of it.
///
/// # Errors
/// The kernel's refusal: what is hoped for.
pub fn attempt(which: Attempt) -> Result<i64> {
    const HIGH: i64 = 0xdead_beef_0000_0000_u64 as i64;
    let mut room = [0_u8; 256];
    let data = room.as_mut_ptr() as i64;
    let text = |text: &'static std::ffi::CStr| text.as_ptr() as i64;
    let users = i64::from(libc::CLONE_NEWUSER);
    let clone_args = [users as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let here = i64::from(libc::AT_FDCWD);
    let mut tick = no_tick();
    let (number, a): (i64, [i64; 5]) = match which {
        Attempt::Users => (libc::SYS_unshare, [users, 0, 0, 0, 0]),
        Attempt::UsersByClone => (libc::SYS_clone, [HIGH | users | i64::from(libc::SIGCHLD), 0, 0, 0, 0]),
        Attempt::UsersByClone3 => (libc::SYS_clone3, [clone_args.as_ptr() as i64, 64, 0, 0, 0]),
        Attempt::Network => (libc::SYS_unshare, [i64::from(libc::CLONE_NEWNET), 0, 0, 0, 0]),
        Attempt::Mounts => (libc::SYS_unshare, [i64::from(libc::CLONE_NEWNS), 0, 0, 0, 0]),
        Attempt::Mount => {
            return private(|| let_through(which, mounted()));
        }
        Attempt::Fsopen => (libc::SYS_fsopen, [text(c"tmpfs"), 0, 0, 0, 0]),
        Attempt::OpenTree => (libc::SYS_open_tree, [here, text(c"/"), 1, 0, 0]),
        Attempt::MoveMount => (libc::SYS_move_mount, [-1, text(c""), -1, text(c""), 0]),
        Attempt::MountSetattr => (libc::SYS_mount_setattr, [here, text(c"/"), 0, data, 32]),
        Attempt::Bpf => (libc::SYS_bpf, [0, map_of_one().as_ptr() as i64, 24, 0, 0]),
        Attempt::Perf => (libc::SYS_perf_event_open, [counter().as_ptr() as i64, 0, -1, -1, 0]),
        Attempt::Userfault => (libc::SYS_userfaultfd, [0, 0, 0, 0, 0]),
        Attempt::Uring => (libc::SYS_io_uring_setup, [1, data, 0, 0, 0]),
        Attempt::Keyctl => (libc::SYS_keyctl, [0, -3, 1, 0, 0]),
        Attempt::Kexec => (libc::SYS_kexec_load, [0, 1, 0, 0, 0]),
        Attempt::Module => (libc::SYS_init_module, [data, 16, text(c""), 0, 0]),
        Attempt::Clock => (libc::SYS_adjtimex, [tick.as_mut_ptr() as i64, 0, 0, 0, 0]),
        Attempt::Reboot => (libc::SYS_reboot, [0, 0, 0, 0, 0]),
        Attempt::Swap => (libc::SYS_swapon, [text(c"/tsubo-no-such-file"), 0, 0, 0, 0]),
        Attempt::Syslog => (libc::SYS_syslog, [3, data, 256, 0, 0]),
        Attempt::Handle => return by_handle(),
        Attempt::X32 => (0x4000_0000 + 39, [0; 5]),
        Attempt::I386 => return i386(),
        Attempt::Type => return typed(HIGH),
        Attempt::PivotRoot => {
            return private(|| {
                let_through(which, call(libc::SYS_pivot_root, [text(c"."), text(c"."), 0, 0, 0]))
            });
        }
        Attempt::RealTime => (libc::SYS_sched_setscheduler, [0, 1, FIRST.as_ptr() as i64, 0, 0]),
        Attempt::Nice => (libc::SYS_setpriority, [0, 0, -20, 0, 0]),
    };
    let result = let_through(which, call(number, a))?;
    // A child came to be, and this is it.
    if result == 0 && matches!(which, Attempt::UsersByClone | Attempt::UsersByClone3) {
        crate::process::exit_now(0);
    }
    Ok(result)
}

/// Of calls whose arguments are nonsense the kernel says so only to those who may make them.
fn let_through(which: Attempt, result: Result<i64>) -> Result<i64> {
    use Attempt::{Clock, Kexec, Module, Mount, MoveMount, PivotRoot, Reboot, Swap};
    let is_nonsense = matches!(which, Clock | Kexec | Module | Mount | MoveMount | PivotRoot | Reboot | Swap);
    match result {
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => result,
        Err(_) if is_nonsense => Ok(0),
        other => other,
    }
}

/// A timex that changes the length of a tick to one that no clock takes.
fn no_tick() -> [u64; 32] {
    const ADJ_TICK: u64 = 0x4000;
    let mut timex = [0; 32];
    timex[0] = ADJ_TICK;
    timex
}

fn call(number: i64, a: [i64; 5]) -> Result<i64> {
    // SAFETY: only the numbers and arguments of `attempt` come in: memory that is given is ours, large
    // enough and outlives the call; a clone shares no memory.
    check(unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], 0_i64) })
}

/// Where it succeeds it must not change what others see: in a mount namespace of one's own, if one can
/// be had; who cannot have one tries it as it is, and is refused by the same rule.
fn private(work: impl FnOnce() -> Result<i64>) -> Result<i64> {
    let apart = crate::namespace::unshare(crate::namespace::MOUNT);
    if apart.is_ok() {
        let flags = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        if rustix::mount::mount_change("/", flags).is_err() {
            // Who has got here may mount, and what he mounts others would see.
            return Ok(0);
        }
    }
    work()
}

/// An array of one element, for bpf.
fn map_of_one() -> &'static [u32; 6] {
    // kind (array), size of a key, of a value, elements, flags, inner map.
    &[2, 4, 8, 1, 0, 0]
}

/// A counter of the time that this process uses, in user space only.
fn counter() -> &'static [u64; 16] {
    // type (software) and size, config (cpu clock), period, sample type, read format, flags (exclude
    // kernel and hypervisor).
    &[1 | 128 << 32, 0, 0, 0, 0, 1 << 5 | 1 << 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The root directory of the file system, as the number that it has on most.
fn by_handle() -> Result<i64> {
    let root = rustix::fs::open(
        "/",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )?;
    let handle: [u32; 4] = [8, 1, 2, 0];
    let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&root));
    match call(libc::SYS_open_by_handle_at, [fd, handle.as_ptr() as i64, 0, 0, 0]) {
        // It may, and the number was no file's.
        Err(Errno::STALE) => Ok(0),
        other => other,
    }
}

/// A file system in memory, at the first of these directories that is there: one always is. Of whatever else is
/// wrong with it the kernel only says to those who may mount.
fn mounted() -> Result<i64> {
    let places = [c"/tmp", c"/srv", c"/mnt", c"/dev", c"/proc", c"/"];
    let is_dir = |path: &&&std::ffi::CStr| {
        let stat = rustix::fs::lstat(**path);
        stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    };
    let at = places.iter().find(is_dir).unwrap_or(&c"/");
    let (name, kind) = (c"x".as_ptr() as i64, c"tmpfs".as_ptr() as i64);
    call(libc::SYS_mount, [name, at.as_ptr() as i64, kind, 0, 0])
}

/// TIOCSTI, and TIOCLINUX of a console, which says no more than which keys are pressed.
fn typed(high: i64) -> Result<i64> {
    const KEYS: &std::ffi::CStr = c"\x06";
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let open = |path: &str| rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok();
    let more = ["/dev/tty", "/dev/console"].map(open);
    let more = more.iter().flatten().map(|fd| i64::from(std::os::fd::AsRawFd::as_raw_fd(fd)));
    let mut last = Err(Errno::NOTTY);
    for fd in (0..3).chain(more) {
        for (request, what) in [(0x5412, c""), (high | 0x5412, c""), (0x541c, KEYS), (high | 0x541c, KEYS)] {
            match call(libc::SYS_ioctl, [fd, request, what.as_ptr() as i64, 0, 0]) {
                // What is no terminal says nothing of what may be done to one.
                Err(Errno::NOTTY) => {}
                Err(cause) => last = Err(cause),
                done => return done,
            }
        }
    }
    last
}

/// In a process of its own: a kernel without that ABI ends who uses it.
fn i386() -> Result<i64> {
    const NONE: [i32; 2] = [128 + libc::SIGSEGV, 128 + libc::SIGSYS];
    let child = crate::attack::bound_child(5, || match i386_users() {
        Ok(_) => 0,
        Err(cause) => cause.raw_os_error(),
    })?;
    match crate::process::reap(child, true)? {
        Some((_, 0)) => Ok(0),
        Some((_, code)) if NONE.contains(&code) => Err(Errno::NOSYS),
        Some((_, code)) => Err(Errno::from_raw_os_error(code)),
        None => Err(Errno::CHILD),
    }
}

#[cfg(target_arch = "x86_64")]
fn i386_users() -> Result<i64> {
    let result: i64;
    // SAFETY: `unshare` of the i386 ABI, which takes a number; the registers that the kernel changes are named.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {second}", "int 0x80", "xchg rbx, {second}",
            second = inout(reg) i64::from(libc::CLONE_NEWUSER) => _,
            inout("rax") 310_i64 => result,
            in("rcx") 0, in("rdx") 0, in("rsi") 0, in("rdi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    match result as i32 {
        0.. => Ok(0),
        code => Err(Errno::from_raw_os_error(-code)),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn i386_users() -> Result<i64> {
    Err(Errno::NOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own, which may be allowed much; its exit code.
    fn apart(work: impl FnOnce() -> i32) -> Option<i32> {
        let child = crate::attack::bound_child(20, work).expect("a child");
        crate::process::reap(child, true).expect("its end").map(|(_, code)| code)
    }

    #[test]
    fn root_may_mount_though_there_is_no_tmp() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let root = std::env::temp_dir().join(format!("tsubo-attempt-{}", std::process::id()));
        std::fs::create_dir(&root).expect("a directory");
        let code = apart(|| {
            let _ = rustix::process::chroot(&root).and_then(|()| rustix::process::chdir("/"));
            attempt(Attempt::Mount).map_or_else(Errno::raw_os_error, |_| 0)
        });
        std::fs::remove_dir(&root).expect("nothing is in it");
        assert_eq!(code, Some(0));
    }

    #[test]
    fn a_call_of_a_foreign_abi_ends_nobody_else() {
        let code = apart(|| i32::from(matches!(attempt(Attempt::I386), Err(Errno::CHILD))));
        assert_eq!(code, Some(0));
    }
}
