//! The parent's side: makes the child.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions};
use spec::plan::Plan;
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::child::{self, Inherited};
use crate::options::{Options, Stdio, Target};
use crate::prepare::{Given, Prepared, above, above_standard, give_pipes, prepare};
use crate::started::Child;

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
        sockets: options.sockets,
        born_in: options.cgroup_v2.as_ref().map(AsRawFd::as_raw_fd),
    };
    let Stdio { stdin, stdout, stderr } = &options.stdio;
    give_pipes(plan, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
    check_preserved(options.preserve)?;
    // Their numbers are the sockets' before the child has done with these.
    let highest = 2 + options.sockets.len() as u32;
    let above_sockets = |fd: OwnedFd| above(fd, highest);
    options.latch = options.latch.take().map(above_sockets).transpose()?;
    options.report = options.report.take().map(above_sockets).transpose()?;
    let mut prepared = prepare(plan, given)?;
    if options.listen.is_some() && prepared.listening_filter().is_some() {
        return Err(Error::user("two listeners cannot decide about the calls of one process"));
    }
    let (ours, theirs) = channel().doing(|| "making a channel to the new process")?;
    let (ours, theirs) = (above_standard(ours)?, above_sockets(theirs)?);
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
    let mut child = Child::begun(plan.clone(), (pid, pidfd), ours, [terminal, devpts], options.patience);
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
