//! From the first connection to a running container.

use std::os::fd::{AsFd, OwnedFd};

use lifecycle::events::What;
use lifecycle::job::{self, Job, Received, SOCKET};
use lifecycle::log::Writer;
use lifecycle::state;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spec::protocol::{Failure, Reply};
use spec::{Error, Result, ResultExt};

use crate::connection::Connection;
use crate::early::{self, Early};
use crate::finish;
use crate::keep::Keeper;
use crate::task::{Setup, Task};

/// SIGTERM, SIGINT and SIGHUP to the keeper itself stop the container.
const SIGNALS: [i32; 3] = [15, 2, 1];

/// Runs a keeper; its exit code says nothing about the container's.
pub(crate) fn run() -> u8 {
    let Some(keeper) = begin() else { return 1 };
    keeper.keep();
    0
}

/// Not a part of its caller, whose frame rests for as long as the container runs.
#[inline(never)]
fn begin() -> Option<Box<Keeper>> {
    let socket = leave_caller().ok()?;
    let groups = std::env::args().nth(1).and_then(|id| id.parse().ok()).map(Early::make);
    let Received { job, lock, decoder } = job::receive(&socket).ok()?;
    let mut launch = Connection::launched(socket, decoder);
    let attached = job.attached;
    let started = start(job, groups);
    // The caller's lock, ours too until the state says what is there: the caller may be killed.
    drop(lock);
    match started {
        Ok(keeper) => {
            let mut keeper = Box::new(keeper);
            launch.send(&Reply::Started { pid: keeper.pid() });
            keeper.tell([What::Start]);
            if attached {
                keeper.attach_launch(launch);
            } else {
                launch.drain();
            }
            Some(keeper)
        }
        Err(error) => {
            launch.send(&Reply::Failed(Failure::from(&error)));
            launch.drain();
            None
        }
    }
}

/// The connection moves away from descriptor 0, which becomes `/dev/null`: a session of our own,
/// nothing of the caller's terminal or directory is kept.
fn leave_caller() -> Result<OwnedFd> {
    let moved = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(std::io::Error::from);
    let socket = moved.doing(|| "taking the first connection over")?;
    let null = std::fs::File::open("/dev/null").doing(|| "opening /dev/null")?;
    sys::process::dup_onto(null.as_fd(), 0).map_err(std::io::Error::from).doing(|| "closing input")?;
    // Fails where we lead a session already, which is as good.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::chdir("/").map_err(std::io::Error::from).doing(|| "leaving the caller's directory")?;
    Ok(socket)
}

/// Starts the container. Whatever fails, nothing of it stays.
fn start(mut job: Job, groups: Option<Early>) -> Result<Keeper> {
    let made = lifecycle::claim(&mut job.spec).and_then(|claim| Ok((claim, make(&job, groups)?)));
    if made.is_err() {
        finish::undo(&job);
    }
    let (claim, (task, group, listener, signals, log)) = made?;
    let mut keeper = Keeper::new(job, task, group, listener, signals, log);
    keeper.claim = claim;
    Ok(keeper)
}

type Made = (Task, Option<cgroup::Group>, OwnedFd, OwnedFd, Writer);

fn make(job: &Job, groups: Option<Early>) -> Result<Made> {
    let signals =
        sys::signal::descriptor(&SIGNALS).map_err(std::io::Error::from).doing(|| "watching signals")?;
    let group = early::groups(groups, &job.spec)?;
    let setup = Setup { group: group.as_ref(), input: job.input, size: job.size };
    let mut desk = None;
    // The new process has the longer way to go.
    let task = Task::first(&lifecycle::plan(job)?, setup, |first| {
        state::prepare(job)?;
        desk = Some((listen(job)?, Writer::new(&job.dir)?));
        state::started(job, first, group.as_ref())
    })?;
    let (listener, log) = desk.ok_or_else(|| Error::internal("the container started without its keeper"))?;
    Ok((task, group, listener, signals, log))
}

/// In the run directory, which only root can enter; the umask keeps the socket itself to us too.
fn listen(job: &Job) -> Result<OwnedFd> {
    let dir = std::fs::File::open(&job.run).doing(|| format!("opening {}", job.run.display()))?;
    // A socket's path has 107 bytes at most; this way it may lie anywhere.
    let path = format!("/proc/self/fd/{}/{SOCKET}", std::os::fd::AsRawFd::as_raw_fd(&dir));
    let listen = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, 64)?;
        Ok(socket)
    };
    listen().map_err(|errno: rustix::io::Errno| Error::io("making the control socket", errno.into()))
}
