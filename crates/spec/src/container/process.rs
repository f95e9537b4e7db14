//! A process of a container.

use serde::{Deserialize, Serialize};

use super::{Capabilities, Landlock};
use crate::RootPath;
use crate::portable::Ids;
use crate::seccomp::Choice;

/// The resource limits of every container that says nothing else: number as in resource.h, soft,
/// hard. No core dumps, which would be lost with the container or land wherever the host's pattern
/// says; open files as for every program that uses select, and as systemd has it. Where the host
/// allows less, these (and only these) are lowered to that; any other limit is set or an error.
pub const DEFAULT_LIMITS: [(u32, u64, u64); 2] = [(4, 0, 0), (7, 1024, 524_288)];

/// The first process of a container, or one that is executed in it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; a program without a slash is looked up in the environment's PATH.
    pub argv: Vec<String>,
    /// The complete environment, each `NAME=value`.
    pub env: Vec<String>,
    /// Working directory inside.
    pub cwd: RootPath,
    /// User and groups, as numbered inside.
    pub user: Ids,
    /// What it may do beyond its user.
    pub capabilities: Capabilities,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privs: bool,
    /// Which system calls it may make.
    pub seccomp: Choice,
    /// What of its file system and network it may use, on top of permissions.
    pub landlock: Option<Landlock>,
    /// How the host's security modules see it.
    pub labels: Labels,
    /// A pseudo-terminal of the container's own is its stdin, stdout and stderr.
    pub terminal: bool,
    /// Resource limits: number as in resource.h, soft, hard.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// How likely it is killed when memory runs out, -1000 to 1000; None as its parent.
    pub oom_score_adj: Option<i32>,
    /// Priority, -20 to 19; None as its parent.
    pub nice: Option<i32>,
    /// Scheduling policy; None as its parent.
    pub scheduler: Option<Scheduler>,
    /// Priority of its input and output; None as its parent.
    pub io_priority: Option<IoPriority>,
    /// personality(2); None as its parent.
    pub personality: Option<u32>,
    /// Permissions that files it makes do not get; None for 022.
    #[serde(default)]
    pub umask: Option<u32>,
    /// It gets an empty session keyring of its own; else it has its parent's (keyrings(7)).
    #[serde(default)]
    pub keyring: bool,
    /// Where its memory comes from; None as its parent.
    #[serde(default)]
    pub memory_policy: Option<MemoryPolicy>,
    /// The processors that it is held to, before and after it enters its control groups; only for
    /// one that joins a container.
    #[serde(default)]
    pub affinity: (Option<Vec<u32>>, Option<Vec<u32>>),
}

impl Process {
    /// A command as root in `/`, with no privilege and no environment; everything else as its parent.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: Vec::new(),
            cwd: RootPath::root(),
            user: Ids::default(),
            capabilities: Capabilities::default(),
            no_new_privs: false,
            seccomp: Choice::None,
            landlock: None,
            labels: Labels::default(),
            terminal: false,
            rlimits: Vec::new(),
            oom_score_adj: None,
            nice: None,
            scheduler: None,
            io_priority: None,
            personality: None,
            umask: None,
            keyring: false,
            memory_policy: None,
            affinity: (None, None),
        }
    }
}

/// Labels of security modules; empty for the host's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// An AppArmor profile that the host has loaded.
    pub apparmor: Option<String>,
    /// An SELinux context.
    pub selinux: Option<String>,
}

/// Where a process's memory comes from (set_mempolicy(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// The mode with its flags, by the numbers of mempolicy.h.
    pub mode: u32,
    /// Nodes.
    pub nodes: Vec<u32>,
}

/// A scheduling policy (sched(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Which.
    pub policy: SchedulerPolicy,
    /// 1 to 99 for the real-time ones, else 0.
    pub priority: u32,
    /// `SCHED_FLAG_…` (sched.h).
    #[serde(default)]
    pub flags: u64,
    /// Nanoseconds of running time, deadline and period; only for the deadline policy.
    #[serde(default)]
    pub deadline: (u64, u64, u64),
}

impl Scheduler {
    /// SCHED_FLAG_RESET_ON_FORK.
    pub const RESET_ON_FORK: u64 = 1;

    /// Whether a child would not have it too.
    pub fn ends_with_fork(&self) -> bool {
        self.policy == SchedulerPolicy::Deadline || self.flags & Self::RESET_ON_FORK != 0
    }
}

/// Policies by the numbers of sched.h.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerPolicy {
    /// SCHED_OTHER.
    #[default]
    Other = 0,
    /// SCHED_FIFO.
    Fifo = 1,
    /// SCHED_RR.
    Rr = 2,
    /// SCHED_BATCH.
    Batch = 3,
    /// SCHED_IDLE.
    Idle = 5,
    /// SCHED_DEADLINE.
    Deadline = 6,
}

/// A priority of input and output (ioprio_set(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    /// Which class.
    pub class: IoClass,
    /// 0 (first) to 7 in its class.
    pub level: u8,
}

/// Classes by the numbers of ioprio.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoClass {
    /// Real time.
    RealTime = 1,
    /// Best effort.
    BestEffort = 2,
    /// When nobody else wants to.
    Idle = 3,
}
