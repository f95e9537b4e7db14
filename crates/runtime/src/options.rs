//! What a start takes besides the plan.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use spec::{Result, ResultExt};
use sys::seccomp::Instruction;

use crate::hang;
use crate::network::EarlyNetwork;
use crate::prepare::EarlyUsers;

/// What becomes the new process's descriptors 0, 1 and 2; ignored for a terminal of its own.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

impl Stdio {
    /// All three are `/dev/null`.
    pub fn null() -> Result<Self> {
        let open = || {
            std::fs::File::options().read(true).write(true).open("/dev/null").doing(|| "opening /dev/null")
        };
        Ok(Self { stdin: open()?.into(), stdout: open()?.into(), stderr: open()?.into() })
    }

    /// Duplicates of the caller's own.
    pub fn inherit() -> Result<Self> {
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().doing(|| "duplicating a standard descriptor");
        Ok(Self {
            stdin: copy(io::stdin().as_fd())?,
            stdout: copy(io::stdout().as_fd())?,
            stderr: copy(io::stderr().as_fd())?,
        })
    }
}

/// What a start takes besides the plan.
#[derive(Debug)]
pub struct Options<'a> {
    /// Standard input, output and error.
    pub stdio: Stdio,
    /// A filter that is installed with a listener just before the gate.
    pub listen: Option<&'a [Instruction]>,
    /// The kernel kills the process when the calling *thread* ends.
    pub die_with_parent: bool,
    /// Open `tasks` files (version 1) or `cgroup.procs` files (version 2) that the child enters by.
    pub cgroup_tasks: Vec<OwnedFd>,
    /// A version 2 group that the child is born in.
    pub cgroup_v2: Option<OwnedFd>,
    /// How long it may take to the gate, and again from there to its program; then it is killed.
    pub patience: Duration,
    /// A user namespace that was made beforehand; used if it is the one that the plan wants.
    pub users: Option<EarlyUsers>,
    /// A network namespace that is being made; used if the plan makes one with the process.
    pub network: Option<EarlyNetwork>,
    /// The file system that volumes are parts of, attached nowhere.
    pub kept: Option<OwnedFd>,
    /// The first so many of the caller's own descriptors from 3 on become the program's.
    pub preserve: u32,
    /// Sockets for [`Step::Sockets`](spec::plan::Step::Sockets), which stay the caller's too.
    pub sockets: &'a [OwnedFd],
    /// Where a byte from anybody opens the gate, in place of [`Child::release`]: the caller may end
    /// meanwhile ([`Child::leave`]). Both ends of a pipe with a name, so that it is never closed.
    pub latch: Option<OwnedFd>,
    /// Where it says what has failed, besides the caller, in the form that [`explain`](crate::explain)
    /// reads: for whoever opens the latch. It is closed by exec.
    pub report: Option<OwnedFd>,
    /// What is done at [`Step::Wait`](spec::plan::Step::Wait).
    pub waiting: Option<Waiting<'a>>,
}

/// Something to be done while the new process stands still, given its pid.
pub struct Waiting<'a>(pub &'a mut dyn FnMut(i32) -> Result<()>);

impl std::fmt::Debug for Waiting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Options<'_> {
    /// Nothing but standard input, output and error.
    pub fn new(stdio: Stdio) -> Self {
        Self {
            stdio,
            listen: None,
            die_with_parent: false,
            cgroup_tasks: Vec::new(),
            cgroup_v2: None,
            patience: hang::PATIENCE,
            users: None,
            network: None,
            kept: None,
            preserve: 0,
            sockets: &[],
            latch: None,
            report: None,
            waiting: None,
        }
    }
}

/// A running container that a process joins.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its first process.
    pub pidfd: BorrowedFd<'a>,
    /// The root of its devpts ([`Child::devpts`]), for a terminal of its own.
    pub devpts: Option<BorrowedFd<'a>>,
}
