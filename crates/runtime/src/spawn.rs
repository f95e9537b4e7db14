//! The parent's side: makes the child, waits for it at the gate, lets it go, reaps it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, WaitId, WaitIdOptions};
use spec::plan::Plan;
use spec::{Error, ErrorKind, Result, ResultExt};
use sys::seccomp::Instruction;

use crate::child::{self, Inherited};
use crate::hang;
use crate::network::EarlyNetwork;
use crate::prepare::{EarlyUsers, Given, Prepared, above_standard, give_pipes, prepare};
use crate::report::{self, Message};

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

/// A process that was started. It is killed and reaped when this is dropped before it was waited for.
#[derive(Debug)]
pub struct Child {
    plan: Plan,
    pid: i32,
    pidfd: OwnedFd,
    channel: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
    exit: Option<i32>,
    /// It has come to the gate.
    was_set_up: bool,
    patience: Duration,
}

/// Starts the first process of a container and returns when it stands at the gate: everything is
/// set up, the filters are installed, nothing is executed yet.
pub fn spawn(plan: &Plan, mut options: Options<'_>) -> Result<Child> {
    let waiting = options.waiting.take();
    start(plan, options, None)?.at_gate(waiting)
}

/// Starts the first process of a container, or with a target one more process in a running one, and
/// returns when its command is executed. Does `meanwhile` while the process sets itself up; if that
/// fails, nothing is executed.
///
/// What [`spawn`] and [`release`](Child::release) do in two steps: whoever has nothing to do at the
/// gate opens it beforehand, and the new process need not wait to be woken.
pub fn execute(
    plan: &Plan,
    mut options: Options<'_>,
    target: Option<Target<'_>>,
    meanwhile: impl FnOnce(&mut Child) -> Result<()>,
) -> Result<Child> {
    let waiting = options.waiting.take();
    let mut child = start(plan, options, target)?;
    let done = meanwhile(&mut child);
    if waiting.is_some() || done.is_err() {
        // Its own failure explains ours, where there is one.
        child.wait_for_gate(waiting.filter(|_| done.is_ok()))?;
    }
    done.and_then(|()| child.release())?;
    Ok(child)
}

/// Starts one more process in a running container, likewise up to the gate. The plan is one of
/// [`spec::plan::join`].
pub fn join(plan: &Plan, options: Options<'_>, target: Target<'_>) -> Result<Child> {
    start(plan, options, Some(target))?.at_gate(None)
}

fn start(plan: &Plan, mut options: Options<'_>, target: Option<Target<'_>>) -> Result<Child> {
    let tasks = std::mem::take(&mut options.cgroup_tasks).into_iter().map(above_standard);
    let given = Given {
        tasks: tasks.collect::<Result<_>>()?,
        target: target.map(|target| target.pidfd),
        devpts: target.and_then(|target| target.devpts),
        listen: options.listen.is_some(),
        users: options.users.take(),
        network: options.network.take(),
        kept: options.kept.take(),
        born_in: options.cgroup_v2.as_ref().map(AsRawFd::as_raw_fd),
    };
    let Stdio { stdin, stdout, stderr } = &options.stdio;
    give_pipes(plan, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
    check_preserved(options.preserve)?;
    options.latch = options.latch.take().map(above_standard).transpose()?;
    options.report = options.report.take().map(above_standard).transpose()?;
    let mut prepared = prepare(plan, given)?;
    if options.listen.is_some() && prepared.listening_filter().is_some() {
        return Err(Error::user("two listeners cannot decide about the calls of one process"));
    }
    let (ours, theirs) = channel().doing(|| "making a channel to the new process")?;
    let (ours, theirs) = (above_standard(ours)?, above_standard(theirs)?);
    let mut make = |flags| clone(&prepared, flags, &mut options, &theirs);
    let (pid, pidfd) = match (target, prepared.pid_namespace()) {
        (None, None) => make(0)?,
        // Where it makes a second process, only that one goes there.
        (None, Some(file)) => crate::nested::born_in_file(file, make)?,
        (Some(target), _) => in_pid_namespace(target.pidfd, make)?,
    };
    drop(theirs);
    // The new process has still to set itself up: nobody waits for us.
    crate::shield::release();
    let (terminal, devpts) = (prepared.terminal.take().map(|pair| pair.master), prepared.devpts.take());
    let mut child = Child {
        plan: plan.clone(),
        pid,
        pidfd,
        channel: Some(ours),
        listener: None,
        terminal,
        devpts,
        exit: None,
        was_set_up: false,
        patience: options.patience,
    };
    if prepared.begins() {
        child.change_over()?;
    }
    Ok(child)
}

/// What is passed on was passed to us; what we have opened ourselves is never.
fn check_preserved(count: u32) -> Result<()> {
    for number in (3..).take(count as usize) {
        if !sys::process::is_inherited(number) {
            return Err(Error::user(format!("descriptor {number} is to be passed on, and is not open"))
                .hint("--preserve-fds counts from 3 on"));
        }
    }
    Ok(())
}

fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(sys::socket::message_pair()?)
}

fn clone(
    prepared: &Prepared,
    flags: u64,
    options: &mut Options<'_>,
    theirs: &OwnedFd,
) -> Result<(i32, OwnedFd)> {
    let stdio = above_all([&options.stdio.stdin, &options.stdio.stdout, &options.stdio.stderr])?;
    let mut keep = prepared.descriptors();
    keep.push(theirs.as_raw_fd());
    keep.extend([&options.latch, &options.report].into_iter().flatten().map(AsRawFd::as_raw_fd));
    keep.sort_unstable();
    let inherited = Inherited {
        prepared,
        channel: theirs.as_fd(),
        stdio: [stdio[0].as_fd(), stdio[1].as_fd(), stdio[2].as_fd()],
        listen: options.listen,
        die_with_parent: options.die_with_parent,
        preserve: options.preserve,
        latch: options.latch.as_ref().map(AsFd::as_fd),
        report: options.report.as_ref().map(AsFd::as_fd),
        keep: &keep,
        ignored: sys::signal::ignored(),
    };
    let group = options.cgroup_v2.as_ref().map(AsFd::as_fd);
    let flags = flags | prepared.namespaces | sys::process::WITHOUT_HANDLERS;
    sys::process::clone_child(flags, group, || child::run(&inherited)).map_err(cannot_clone)
}

fn above_all(fds: [&OwnedFd; 3]) -> Result<Vec<OwnedFd>> {
    fds.iter()
        .map(|fd| above_standard(fd.try_clone().doing(|| "duplicating a standard descriptor")?))
        .collect()
}

fn cannot_clone(cause: io::Error) -> Error {
    let error = Error::process("making a process in namespaces of its own", cause);
    match error.kind() {
        ErrorKind::Denied => error.hint("run it with sudo"),
        _ => error,
    }
}

/// Children that are made meanwhile are born in the pid namespace of `target`.
fn in_pid_namespace(
    target: BorrowedFd<'_>,
    make: impl FnOnce(u64) -> Result<(i32, OwnedFd)>,
) -> Result<(i32, OwnedFd)> {
    let dying = |errno: rustix::io::Errno| {
        Error::conflict("the container is not running any more").because(io::Error::from(errno))
    };
    crate::nested::born_in(target, dying, make).map_err(|error| {
        match rustix::process::waitid(
            WaitId::PidFd(target),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        ) {
            // A pid namespace without its first process takes no new ones (ENOMEM).
            Ok(Some(_)) => Error::conflict("the container is not running any more").because(error),
            _ => error,
        }
    })
}

impl Child {
    /// The first process's pid on the host.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Leaves it, by its pidfd, to whoever opens its latch: it is there when this process has ended.
    ///
    /// # Errors
    /// Where there is no descriptor left; then it is killed.
    pub fn leave(mut self) -> Result<OwnedFd> {
        let pidfd = self.pidfd.try_clone().doing(|| "duplicating a pidfd")?;
        // What has ended for us is not killed when this is dropped.
        self.exit = Some(0);
        Ok(pidfd)
    }

    /// The descriptor for the notifications of [`Options::listen`], once.
    pub fn listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// The master side of the terminal, once.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// The root of the container's own devpts, once: terminals of later processes come from it.
    pub fn devpts(&mut self) -> Option<OwnedFd> {
        self.devpts.take()
    }

    /// One that another program has started, whose place the caller has taken: this process has
    /// executed itself anew since. The plan is what is left of its own.
    pub fn adopt(plan: Plan, pid: i32, pidfd: OwnedFd) -> Self {
        Self {
            plan,
            pid,
            pidfd,
            channel: None,
            listener: None,
            terminal: None,
            devpts: None,
            exit: None,
            was_set_up: true,
            patience: hang::PATIENCE,
        }
    }

    /// What is left of its plan: what names it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Opens the gate and waits until the command is executed. A failure says which step failed.
    pub fn release(&mut self) -> Result<()> {
        let Some(channel) = self.channel.take() else { return Ok(()) };
        go_on(&channel)?;
        loop {
            match self.next_word_on(&channel)? {
                None if self.was_set_up => break,
                // It comes to a gate that is open already, or has gone through.
                Some((Message::Ready { listener: None }, _)) => self.was_set_up = true,
                other => return self.unexpected(other),
            }
        }
        // Only failures need them.
        self.plan.steps = Vec::new();
        Ok(())
    }

    fn at_gate(mut self, waiting: Option<Waiting<'_>>) -> Result<Self> {
        self.wait_for_gate(waiting)?;
        Ok(self)
    }

    /// Waits for its end: the exit code, or 128 and the number of the signal.
    pub fn wait(&mut self) -> Result<i32> {
        loop {
            if let Some(code) = self.reap(WaitIdOptions::EXITED)? {
                return Ok(code);
            }
        }
    }

    /// The exit code if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<i32>> {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Sends a signal; it never hits another process.
    pub fn signal(&self, signo: i32) -> Result<()> {
        let sent = sys::process::send_signal(self.pidfd(), signo).map_err(io::Error::from);
        sent.doing(|| format!("sending signal {signo} to container {}", self.plan.name))
    }

    fn reap(&mut self, options: WaitIdOptions) -> Result<Option<i32>> {
        if self.exit.is_none() {
            let wait = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
            let status = retry_on_intr(wait).map_err(io::Error::from);
            let status = status.doing(|| format!("waiting for container {}", self.plan.name))?;
            self.exit = status.and_then(|status| {
                status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
            });
        }
        Ok(self.exit)
    }

    /// Waits until it has something to say, or has closed. One that hangs is killed.
    fn await_word(&mut self, channel: &OwnedFd) -> Result<()> {
        let before = match self.was_set_up {
            true => "before its program is executed",
            false => "while it sets itself up",
        };
        let waited = hang::wait(channel.as_fd(), self.patience, self.pid, before);
        if waited.is_err() && !hang::end(self.pidfd.as_fd()) {
            // Nobody waits for it: it ends when what holds it lets it go.
            self.exit = Some(137);
        }
        waited
    }

    /// The process that was made goes, the one that it has made comes: from then on that is meant.
    fn change_over(&mut self) -> Result<()> {
        let second = match self.next_word()? {
            // The kernel tells its number as it is here.
            Some((Message::Begun, Some(pid))) => pid,
            other => return self.unexpected(other),
        };
        // Our own child, and not waited for: the number is still its.
        let number = rustix::process::Pid::from_raw(second)
            .ok_or_else(|| Error::internal("the new process has no number"))?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(io::Error::from);
        let pidfd = above_standard(pidfd.doing(|| "opening the new process")?)?;
        self.wait()?;
        (self.pid, self.pidfd, self.exit) = (second, pidfd, None);
        Ok(())
    }

    fn next_word(&mut self) -> Result<Option<(Message, Option<i32>)>> {
        let Some(channel) = self.channel.take() else { return Ok(None) };
        let received = self.next_word_on(&channel);
        self.channel = Some(channel);
        received
    }

    fn next_word_on(&mut self, channel: &OwnedFd) -> Result<Option<(Message, Option<i32>)>> {
        self.await_word(channel)?;
        receive(channel)
    }

    fn unexpected(&mut self, said: Option<(Message, Option<i32>)>) -> Result<()> {
        match said {
            Some((Message::Failed { step, fault }, _)) => Err(report::explain(&self.plan, step, fault)),
            None => {
                let code = self.wait()?;
                Err(Error::internal(format!("the new process ended with {code} before it was set up")))
            }
            Some(_) => Err(Error::internal("the new process spoke out of turn")),
        }
    }

    fn wait_for_gate(&mut self, mut waiting: Option<Waiting<'_>>) -> Result<()> {
        if self.channel.is_none() {
            return Ok(());
        }
        let mut received = self.next_word()?;
        while let Some((Message::Waiting, _)) = received {
            if let Some(Waiting(act)) = &mut waiting {
                act(self.pid)?;
            }
            if let Some(channel) = &self.channel {
                go_on(channel)?;
            }
            received = self.next_word()?;
        }
        match received {
            Some((Message::Ready { listener }, sender)) => {
                self.was_set_up = true;
                if let Some(number) = listener {
                    self.listener = Some(take_over(sender.unwrap_or(self.pid), number)?);
                }
                Ok(())
            }
            other => self.unexpected(other),
        }
    }
}

/// Lets the process go on. Where nobody reads any more its next word or its exit code tells why; any other
/// failure has to be told, as it would wait for ever.
fn go_on(channel: &OwnedFd) -> Result<()> {
    let sent = retry_on_intr(|| rustix::net::send(channel, &[1], rustix::net::SendFlags::NOSIGNAL));
    match sent {
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(Error::io("letting the new process go on", error.into())),
    }
}

fn receive(channel: &OwnedFd) -> Result<Option<(Message, Option<i32>)>> {
    let mut bytes = [0; report::SIZE];
    let received = match sys::socket::receive(channel, &mut bytes) {
        // It has ended without taking what we have sent, which is told before its last word.
        Err(rustix::io::Errno::CONNRESET) => sys::socket::receive(channel, &mut bytes),
        received => received,
    };
    match received {
        Ok((0, _)) => Ok(None),
        Ok((len, sender)) => {
            let message = Message::decode(&bytes[..len]);
            Ok(Some((message.ok_or_else(|| Error::internal("the new process sent nonsense"))?, sender)))
        }
        Err(error) => Err(Error::io("listening to the new process", error.into())),
    }
}

/// Fetches descriptor `number` of the process `pid`, which stands still at its gate.
fn take_over(pid: i32, number: RawFd) -> Result<OwnedFd> {
    let fetch = || {
        let pid = rustix::process::Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty())
    };
    fetch().map_err(io::Error::from).doing(|| "taking over the listener of the new process")
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // Nobody is left to be told of a failure.
            let _ = sys::process::send_signal(self.pidfd.as_fd(), 9);
            let _ = self.wait();
        }
    }
}
