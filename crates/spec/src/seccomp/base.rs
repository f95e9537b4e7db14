//! What `observed` lets through beside the calls that were seen.
//!
//! An exercise shows some of the paths through a service, not all. What a library or a language's
//! runtime may do on any other path is in the base: it needs no privilege and says little about
//! the service. What is more of a thing to decide (sockets, other users, debugging, queues) comes
//! in groups: one call of a group seen lets the whole group through, because whoever opens also
//! closes. docs/seccomp.md says the same to people; a test compares them.

use std::collections::BTreeSet;

use super::Architecture;
use super::calls;

/// Calls that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Why it is there.
    pub why: &'static str,
    /// It is in the base, not only where one of its calls was seen.
    pub always: bool,
    /// Its calls, of all architectures.
    pub calls: &'static [&'static str],
}

/// The calls that `observed` lets through, as far as the default profile does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// By row of [`calls::TABLE`].
    rows: [bool; calls::TABLE.len()],
    /// A 32-bit program was among those seen: it makes calls that x86-64 does not have.
    pub i386: bool,
}

impl Admitted {
    /// What these names, seen in a test, let through. Names that nobody knows do nothing.
    pub fn after(seen: &BTreeSet<String>) -> Self {
        let (mut rows, mut i386, mut groups) = ([false; calls::TABLE.len()], false, BASE);
        for row in seen.iter().filter_map(|name| calls::row(name)) {
            rows[row] = true;
            groups |= MEMBERSHIP[row];
            let call = &calls::TABLE[row];
            i386 |= calls::on(call, Architecture::I386).is_some()
                && calls::on(call, Architecture::X86_64).is_none();
        }
        rows.iter_mut().zip(MEMBERSHIP).for_each(|(admitted, member)| *admitted |= member & groups != 0);
        Self { rows, i386 }
    }

    /// The numbers of the calls that do not pass.
    pub fn refused(&self, architecture: Architecture) -> impl Iterator<Item = u32> {
        let refused = calls::TABLE.iter().zip(self.rows).filter(|(_, admitted)| !admitted);
        refused.filter_map(move |(row, _)| calls::on(row, architecture))
    }
}

/// The bits of the groups that are always there.
const BASE: u32 = {
    let (mut bits, mut group) = (0, 0);
    while group < GROUPS.len() {
        if GROUPS[group].always {
            bits |= 1 << group;
        }
        group += 1;
    }
    bits
};

/// The groups to which each row of [`calls::TABLE`] belongs, as bits. Made by the compiler.
static MEMBERSHIP: [u32; calls::TABLE.len()] = {
    let (mut rows, mut group) = ([0; calls::TABLE.len()], 0);
    while group < GROUPS.len() {
        let mut call = 0;
        while call < GROUPS[group].calls.len() {
            let row = calls::row(GROUPS[group].calls[call]);
            rows[row.expect("a call of a group is a call")] |= 1 << group;
            call += 1;
        }
        group += 1;
    }
    rows
};

const fn base(name: &'static str, why: &'static str, calls: &'static [&'static str]) -> Group {
    Group { name, why, always: true, calls }
}

const fn if_seen(name: &'static str, why: &'static str, calls: &'static [&'static str]) -> Group {
    Group { name, why, always: false, calls }
}

/// All groups: first the base, then those that come with one of their calls.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    base("processes", "a worker that dies is replaced, a helper is started and waited for; the start itself executes and gives up capabilities", &[
        "arch_prctl", "capget", "capset", "clone", "clone3", "execve", "exit", "exit_group", "fork", "getcpu",
        "getpgid", "getpgrp", "getpid", "getppid", "getrlimit", "getrusage", "getsid", "gettid", "pidfd_open",
        "pidfd_send_signal", "prctl", "prlimit64", "set_thread_area", "get_thread_area", "set_tid_address",
        "setpgid", "setrlimit", "setsid", "sysinfo", "times", "ugetrlimit", "umask", "uname", "vfork", "wait4",
        "waitid", "waitpid",
    ]),
    base("memory", "allocators and garbage collectors give back, move, protect and lock memory when they see fit; compilers at run time map it from a memfd", &[
        "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "mincore", "mlock", "mlock2",
        "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap",
        "pkey_alloc", "pkey_free", "pkey_mprotect",
    ]),
    base("threads", "a lock is contended, a thread pool grows, or asks for its place, only under load", &[
        "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list",
        "getpriority", "rseq", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity",
        "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
        "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
        "sched_setscheduler", "sched_yield", "set_robust_list", "setpriority",
    ]),
    base("signals", "errors, timeouts, stops and aborts are told by signals (abort is tgkill, a handler returns by rt_sigreturn, a stopped call goes on by restart_syscall)", &[
        "alarm", "getitimer", "kill", "pause", "restart_syscall", "rt_sigaction", "rt_sigpending",
        "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
        "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "setitimer", "sigaltstack", "signalfd", "signalfd4",
        "sigprocmask", "sigreturn", "tgkill", "tkill",
    ]),
    base("time", "clocks are read, waits and time limits set; setting the clock is not among it", &[
        "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
        "clock_nanosleep_time64", "gettimeofday", "nanosleep", "time", "timer_create", "timer_delete",
        "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
        "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    ]),
    base("waiting", "which of the ways of waiting is taken depends on what is waited for", &[
        "_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
        "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "poll", "ppoll", "ppoll_time64",
        "pselect6", "pselect6_time64", "select",
    ]),
    base("descriptors", "reading and writing in all variants; which one depends on sizes and on the library's version", &[
        "_llseek", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "fadvise64", "fadvise64_64",
        "fallocate", "fcntl", "fcntl64", "fdatasync", "flock", "fsync", "ftruncate", "ftruncate64", "ioctl",
        "lseek", "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read",
        "readahead", "readv", "sendfile", "sendfile64", "sync_file_range", "write", "writev",
    ]),
    base("files", "another request opens, renames or removes another file; what may be reached is decided by the root, the mounts and the user", &[
        "access", "chdir", "chmod", "creat", "faccessat", "faccessat2", "fchdir", "fchmod", "fchmodat",
        "fchmodat2", "fgetxattr", "flistxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64",
        "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "getxattrat", "lgetxattr", "link", "linkat",
        "listxattr", "listxattrat", "llistxattr", "lstat", "lstat64", "mkdir", "mkdirat", "newfstatat", "open",
        "openat", "openat2", "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat",
        "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync", "syncfs", "truncate",
        "truncate64", "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64", "utimes",
    ]),
    base("identity", "a program asks who it is", &[
        "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32",
        "getresgid", "getresgid32", "getresuid", "getresuid32", "getuid", "getuid32", "personality",
    ]),
    base("randomness", "hash tables and keys are seeded at any time", &["getrandom"]),
    if_seen("sockets", "of a service that talks at all, another client takes another path; families that the default profile refuses stay refused", &[
        "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
        "recvmmsg", "recvmmsg_time64", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
        "socket", "socketpair",
    ]),
    if_seen("users", "a service that changes its user does so in several steps, some of them on failure only", &[
        "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32",
        "setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid",
        "setreuid32", "setuid", "setuid32",
    ]),
    if_seen("owners", "files are given to the user that a service runs as", &[
        "chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32",
    ]),
    if_seen("attributes", "extended attributes are written and removed by the same programs", &[
        "fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr",
        "setxattrat",
    ]),
    if_seen("nodes", "named pipes and other special files", &["mknod", "mknodat"]),
    if_seen("watches", "a watch on files is set, read and taken away", &[
        "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch",
    ]),
    if_seen("asynchronous files", "databases switch between these by load", &[
        "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup",
        "io_submit",
    ]),
    if_seen("pipes of the kernel", "data moves without being copied; large answers only", &["splice", "tee", "vmsplice"]),
    if_seen("shared memory", "System V segments are made, attached, told about and removed", &[
        "ipc", "shmat", "shmctl", "shmdt", "shmget",
    ]),
    if_seen("semaphores", "System V semaphores, likewise", &[
        "ipc", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64",
    ]),
    if_seen("messages", "System V queues, likewise", &["ipc", "msgctl", "msgget", "msgrcv", "msgsnd"]),
    if_seen("message queues", "POSIX queues, likewise", &[
        "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
        "mq_timedsend_time64", "mq_unlink",
    ]),
    if_seen("own confinement", "a program that locks itself up does so step by step", &[
        "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp",
    ]),
    if_seen("execution by descriptor", "the same as execve, for files without a name", &["execveat"]),
    if_seen("debugging", "crash handlers look into their own processes", &[
        "kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace",
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn passes(names: &[&str], call: &str) -> bool {
        let number = calls::number(call, Architecture::X86_64).expect(call);
        !Admitted::after(&seen(names)).refused(Architecture::X86_64).any(|refused| refused == number)
    }

    #[test]
    fn one_call_of_a_group_lets_the_group_through() {
        assert!(passes(&[], "futex") && !passes(&[], "socket") && !passes(&[], "chroot"));
        assert!(passes(&["accept4"], "shutdown") && !passes(&["accept4"], "ptrace"));
        assert!(passes(&["chroot", "syscall-999"], "chroot"));
    }

    #[test]
    fn every_call_stands_in_one_group() {
        let mut all = BTreeSet::new();
        for group in GROUPS {
            for call in group.calls {
                assert!(all.insert(call) || *call == "ipc", "{call} is there twice");
            }
        }
    }

    #[test]
    fn thirty_two_bits_show() {
        assert!(Admitted::after(&seen(&["read", "mmap2"])).i386);
        assert!(!Admitted::after(&seen(&["read", "mmap", "openat"])).i386);
    }

    #[test]
    fn the_manual_tells_every_group() {
        let manual = include_str!("../../../../docs/seccomp.md");
        for group in GROUPS {
            assert!(manual.contains(&format!("| {} | {} |", group.name, group.why)), "{}", group.name);
            let calls = group.calls.join(" ");
            assert!(manual.contains(&calls), "the calls of {}: {calls}", group.name);
        }
    }
}
