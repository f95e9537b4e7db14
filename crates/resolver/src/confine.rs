//! What it gives up when it has all that it needs: it reads what anybody in a container may send, and is begun by root.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use sys::landlock::{self, BIND_TCP, CONNECT_TCP, READ_DIR, READ_FILE};
use sys::seccomp::assemble::{self, ALLOW, KILL_PROCESS, Table, Verdict, assemble};

/// Nobody.
const NOBODY: u32 = 65_534;

/// Files and sockets: what listens, and the most that may be under way.
const FILES: u64 = 1024;

/// What is read besides the leases: whom the host asks, wherever the host keeps that.
const READ: [&str; 2] = ["/etc", "/run"];

/// The port of name servers.
const PORT: u16 = 53;

/// Everything that it does from here on.
const CALLS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_sigaltstack,
    libc::SYS_socket,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_write,
];

/// Becomes nobody where nobody can read the leases; without any capability, in a file system that cannot be
/// written, and with few system calls, wherever the kernel has these.
///
/// # Errors
/// When what every kernel can do cannot be done.
pub fn confine(leases: &Path) -> Result<()> {
    let limit = Rlimit { current: Some(FILES), maximum: Some(FILES) };
    // It may have fewer, and manages.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    rustix::thread::set_no_new_privs(true)?;
    let open = is_open(leases).unwrap_or(false);
    files(leases)?;
    if open {
        become_nobody()?;
    }
    sys::capability::set(0)?;
    filter()
}

/// Whether anybody who comes there may read all leases.
fn is_open(leases: &Path) -> std::io::Result<bool> {
    let all =
        |path: &Path, mode: u32| Ok::<_, std::io::Error>(std::fs::metadata(path)?.mode() & mode == mode);
    let mut open = all(leases, 0o005)?;
    for entry in std::fs::read_dir(leases)?.flatten() {
        // One that goes meanwhile is read by nobody.
        open &= all(&entry.path(), 0o004).unwrap_or(true);
    }
    Ok(open)
}

/// Where users cannot be changed, in a namespace with one, it stays who it is.
fn become_nobody() -> Result<()> {
    // It cannot get any back either way.
    let _ = sys::capability::bound(0);
    let nobody = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let become_it = || {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(nobody.1, nobody.1, nobody.1)?;
        rustix::thread::set_thread_res_uid(nobody.0, nobody.0, nobody.0)
    };
    match become_it() {
        Err(Errno::INVAL | Errno::PERM) => Ok(()),
        result => result,
    }
}

/// Reads what it has to, and connects to name servers only.
fn files(leases: &Path) -> Result<()> {
    let Ok(abi) = landlock::abi() else { return Ok(()) };
    let ports = if abi >= 4 { BIND_TCP | CONNECT_TCP } else { 0 };
    let rules = landlock::create(landlock::known(abi), ports)?;
    let host =
        std::fs::canonicalize(crate::upstream::HOST).ok().and_then(|path| path.parent().map(PathBuf::from));
    let read = READ.iter().map(PathBuf::from).chain(host).chain([leases.to_owned()]);
    for path in read {
        if let Ok(path) = opened(&path) {
            landlock::allow_path(rules.as_fd(), path.as_fd(), READ_FILE | READ_DIR)?;
        }
    }
    if ports != 0 {
        landlock::allow_port(rules.as_fd(), PORT, CONNECT_TCP)?;
    }
    landlock::restrict_self(rules.as_fd())
}

fn opened(path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A refused call fails, and with it the query that wanted it.
fn filter() -> Result<()> {
    let architecture = match () {
        () if cfg!(target_arch = "x86_64") => assemble::X86_64,
        () if cfg!(target_arch = "aarch64") => assemble::AARCH64,
        () => return Ok(()),
    };
    let refuse = assemble::errno(libc::EPERM as u16);
    let highest = CALLS.iter().copied().max().unwrap_or(0);
    let answer = |number: libc::c_long| {
        (number as u32, Verdict::Always(if CALLS.contains(&number) { ALLOW } else { refuse }))
    };
    let table = Table::new(architecture, (0..=highest + 1).map(answer));
    match sys::seccomp::load(&assemble(&[table], KILL_PROCESS)) {
        // Not compiled in.
        Err(Errno::INVAL | Errno::NOSYS) => Ok(()),
        result => result,
    }
}
