//! From the first connection to a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use lifecycle::events::What;
use lifecycle::job::{Job, SOCKET};
use lifecycle::log::Writer;
use lifecycle::state;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};
use spec::protocol::{Decoder, Failure, Reply};
use spec::{Error, Result, ResultExt};

use crate::connection::Connection;
use crate::finish;
use crate::keep::Keeper;
use crate::task::{Setup, Task};

/// SIGTERM, SIGINT and SIGHUP to the keeper itself stop the container.
const SIGNALS: [i32; 3] = [15, 2, 1];

/// Runs a keeper; its exit code says nothing about the container's.
pub(crate) fn run() -> ExitCode {
    let Ok((job, mut launch)) = receive_job() else { return ExitCode::FAILURE };
    let attached = job.attached;
    match start(job) {
        Ok(mut keeper) => {
            launch.send(&Reply::Started { pid: keeper.pid() });
            keeper.tell([What::Start]);
            if attached {
                keeper.attach_launch(launch);
            } else {
                launch.drain();
            }
            keeper.keep();
            ExitCode::SUCCESS
        }
        Err(error) => {
            launch.send(&Reply::Failed(Failure::from(&error)));
            launch.drain();
            ExitCode::FAILURE
        }
    }
}

/// The connection moves away from descriptor 0, which becomes `/dev/null`: a session of our own,
/// nothing of the caller's terminal or directory is kept.
fn receive_job() -> Result<(Job, Connection)> {
    let moved = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(std::io::Error::from);
    let socket = moved.doing(|| "taking the first connection over")?;
    let null = std::fs::File::open("/dev/null").doing(|| "opening /dev/null")?;
    sys::process::dup_onto(null.as_fd(), 0).map_err(std::io::Error::from).doing(|| "closing input")?;
    // Fails where we lead a session already, which is as good.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let mut decoder = Decoder::default();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(job) = decoder.take::<Job>()? {
            return Ok((job, Connection::launched(socket, decoder)));
        }
        let received =
            rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()).map_err(std::io::Error::from);
        match received.doing(|| "receiving the job")?.0 {
            0 => return Err(Error::internal("the first connection closed without a job")),
            count => decoder.push(&buffer[..count]),
        }
    }
}

/// Starts the container. Whatever fails, nothing of it stays.
fn start(job: Job) -> Result<Keeper> {
    let made = make(&job);
    if made.is_err() {
        finish::undo(&job);
    }
    let (task, group, listener, signals, log) = made?;
    Ok(Keeper::new(job, task, group, listener, signals, log))
}

type Made = (Task, Option<cgroup::Group>, OwnedFd, OwnedFd, Writer);

fn make(job: &Job) -> Result<Made> {
    state::prepare(job)?;
    let listener = listen(job)?;
    let signals =
        sys::signal::descriptor(&SIGNALS).map_err(std::io::Error::from).doing(|| "watching signals")?;
    let log = Writer::new(&job.dir)?;
    let group = if job.spec.cgroup { cgroup::Group::create(job.spec.id)? } else { None };
    let setup = Setup { group: group.as_ref(), input: job.input, size: job.size };
    let task =
        Task::first(&spec::plan::plan(&job.spec), setup, |first| state::started(job, first, group.as_ref()))?;
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
