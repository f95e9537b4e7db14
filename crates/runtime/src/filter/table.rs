//! The lists of the default profile: Docker's, with the differences that its module tells.

use super::default::Rule::{self, Absent, Capability, Clone, Clone3, Ioctl, Personality, Socket, Spared};

const DAC_READ_SEARCH: u8 = 2;
const SYS_MODULE: u8 = 16;
const SYS_RAWIO: u8 = 17;
const SYS_CHROOT: u8 = 18;
const SYS_PTRACE: u8 = 19;
const SYS_PACCT: u8 = 20;
const SYS_ADMIN: u8 = 21;
const SYS_BOOT: u8 = 22;
const SYS_NICE: u8 = 23;
const SYS_RESOURCE: u8 = 24;
const SYS_TIME: u8 = 25;
const SYS_TTY_CONFIG: u8 = 26;
const SYSLOG: u8 = 34;
const PERFMON: u8 = 38;
const BPF: u8 = 39;

/// Allowed to every container.
#[rustfmt::skip]
pub(super) const ALLOWED: [&str; 359] = [
    "_llseek", "_newselect", "accept", "accept4", "access", "adjtimex", "alarm", "arch_prctl", "bind",
    "brk", "cachestat", "capget", "capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime",
    "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
    "clock_nanosleep", "clock_nanosleep_time64", "close", "close_range", "connect", "copy_file_range",
    "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve",
    "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
    "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl",
    "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr",
    "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futex",
    "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "futimesat",
    "get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid",
    "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getitimer",
    "getpeername", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid",
    "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage", "getsid", "getsockname",
    "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr", "getxattrat",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy",
    "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_submit", "ioprio_get",
    "ioprio_set", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
    "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen", "listmount", "listxattr", "listxattrat",
    "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "madvise", "map_shadow_stack",
    "membarrier", "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat",
    "mlock", "mlock2", "mlockall", "mmap", "mmap2", "modify_ldt", "mprotect", "mq_getsetattr", "mq_notify",
    "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
    "mq_unlink", "mremap", "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock",
    "munlockall", "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "open", "openat", "openat2",
    "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free", "pkey_mprotect",
    "poll", "ppoll", "ppoll_time64", "prctl", "pread64", "preadv", "preadv2", "prlimit64",
    "process_mrelease", "process_vm_readv", "process_vm_writev", "pselect6", "pselect6_time64", "ptrace",
    "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "recvfrom",
    "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr", "removexattrat", "rename",
    "renameat", "renameat2", "restart_syscall", "rmdir", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget", "semop", "semtimedop",
    "semtimedop_time64", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
    "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid",
    "setgid32", "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32",
    "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid",
    "setsockopt", "setuid", "setuid32", "setxattr", "setxattrat", "shmat", "shmctl", "shmdt", "shmget",
    "shutdown", "sigaltstack", "signalfd", "signalfd4", "sigprocmask", "sigreturn", "socketpair", "splice",
    "stat", "stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync",
    "sync_file_range", "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete",
    "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
    "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat",
    "utime", "utimensat", "utimensat_time64", "utimes", "vfork", "vmsplice", "wait4", "waitid", "waitpid",
    "write", "writev",
];

/// Allowed to some, or with some arguments.
#[rustfmt::skip]
pub(super) const RULES: [(&str, Rule); 54] = [
    ("acct", Capability(SYS_PACCT)),
    ("bpf", Capability(BPF)),
    ("chroot", Capability(SYS_CHROOT)),
    ("clock_settime", Capability(SYS_TIME)),
    ("clock_settime64", Capability(SYS_TIME)),
    ("clone", Clone),
    ("clone3", Clone3),
    ("delete_module", Capability(SYS_MODULE)),
    ("fanotify_init", Capability(SYS_ADMIN)),
    ("file_getattr", Absent),
    ("file_setattr", Absent),
    ("finit_module", Capability(SYS_MODULE)),
    ("fsconfig", Capability(SYS_ADMIN)),
    ("fsmount", Capability(SYS_ADMIN)),
    ("fsopen", Capability(SYS_ADMIN)),
    ("fspick", Capability(SYS_ADMIN)),
    ("get_mempolicy", Capability(SYS_NICE)),
    ("init_module", Capability(SYS_MODULE)),
    ("io_setup", Spared(SYS_RESOURCE)),
    ("ioctl", Ioctl),
    ("ioperm", Capability(SYS_RAWIO)),
    ("iopl", Capability(SYS_RAWIO)),
    ("kcmp", Capability(SYS_PTRACE)),
    ("lookup_dcookie", Capability(SYS_ADMIN)),
    ("lsm_get_self_attr", Capability(SYS_ADMIN)),
    ("lsm_list_modules", Capability(SYS_ADMIN)),
    ("lsm_set_self_attr", Capability(SYS_ADMIN)),
    ("mbind", Capability(SYS_NICE)),
    ("mount", Capability(SYS_ADMIN)),
    ("mount_setattr", Capability(SYS_ADMIN)),
    ("move_mount", Capability(SYS_ADMIN)),
    ("open_by_handle_at", Capability(DAC_READ_SEARCH)),
    ("open_tree", Capability(SYS_ADMIN)),
    ("open_tree_attr", Absent),
    ("perf_event_open", Capability(PERFMON)),
    ("personality", Personality),
    ("pidfd_getfd", Capability(SYS_PTRACE)),
    ("process_madvise", Capability(SYS_PTRACE)),
    ("quotactl", Capability(SYS_ADMIN)),
    ("quotactl_fd", Capability(SYS_ADMIN)),
    ("reboot", Capability(SYS_BOOT)),
    ("set_mempolicy", Capability(SYS_NICE)),
    ("set_mempolicy_home_node", Capability(SYS_NICE)),
    ("setdomainname", Capability(SYS_ADMIN)),
    ("sethostname", Capability(SYS_ADMIN)),
    ("setns", Capability(SYS_ADMIN)),
    ("settimeofday", Capability(SYS_TIME)),
    ("socket", Socket),
    ("stime", Capability(SYS_TIME)),
    ("syslog", Capability(SYSLOG)),
    ("umount", Capability(SYS_ADMIN)),
    ("umount2", Capability(SYS_ADMIN)),
    ("unshare", Capability(SYS_ADMIN)),
    ("vhangup", Capability(SYS_TTY_CONFIG)),
];

/// Numbers without a call behind them, in every kernel since 5.14 (most were never more than a
/// name); they are not given out again.
#[rustfmt::skip]
pub(super) const GONE: [&str; 21] = [
    "_sysctl", "afs_syscall", "break", "create_module", "ftime", "get_kernel_syms", "getpmsg", "gtty", "idle",
    "lock", "mpx", "nfsservctl", "prof", "profil", "putpmsg", "query_module", "security", "stty", "tuxcall",
    "ulimit", "vserver",
];
