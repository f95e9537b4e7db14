//! From the first connection to a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use lifecycle::events::What;
use lifecycle::job::{self, Job, Received, SOCKET};
use lifecycle::log::Writer;
use lifecycle::networks::Wired;
use lifecycle::{KeeperProgram, state};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spec::container::Namespace;
use spec::protocol::{Decoder, Failure, Reply};
use spec::{Error, Id, Result, ResultExt};

use crate::connection::Connection;
use crate::early::Early;
use crate::finish;
use crate::handover::{self, Passed};
use crate::keep::Keeper;
use crate::network::{Ports, Wiring};
use crate::task::{Setup, Task};

/// SIGTERM, SIGINT and SIGHUP to the keeper itself stop the container.
const SIGNALS: [i32; 3] = [15, 2, 1];

/// The program `tsubo-keeper`: begins with the id of a container on a connection, or goes on with
/// what another program in this process has handed over. Its exit code says nothing about the
/// container's.
pub fn executed() -> u8 {
    name_process();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse().map_err(|_| Error::internal("no descriptor"));
    KeeperProgram::is_this();
    let keeper = match words.as_slice() {
        ["relay", words @ ..] => return u8::from(crate::relay::executed(words).is_none()),
        ["dhcp", words @ ..] => return u8::from(crate::dhcp::executed(words).is_none()),
        ["form"] => {
            print!("{}", job::FORM);
            return 0;
        }
        ["rest", file, _id] => number(file).and_then(handover::resume).ok().inspect(|keeper| keeper.settle()),
        ["job", file, socket, form, _id] => match job::must_be_ours(form) {
            Ok(()) => number(file).and_then(handover::take_on).ok().and_then(go_on),
            Err(error) => {
                number(socket).and_then(handover::take).ok().and_then(|socket| refuse(socket, &error))
            }
        },
        ["prepare", id] => id.parse().ok().and_then(executed_beforehand),
        [id] => id.parse().ok().and_then(executed_for),
        _ => None,
    };
    keep(keeper)
}

/// A copy of the program that starts the container `id`, with a connection as standard input. `network`: it
/// will probably have a network of its own.
pub fn forked(id: Id, network: bool) -> u8 {
    name_process();
    keep(copied_for(id, network))
}

/// Becomes another program by all that can be seen; returns where the small one is. What its caller
/// was told and has around it is nobody's business any more.
fn leave_program(id: Id) -> Option<PathBuf> {
    let next = KeeperProgram::place();
    sys::start::forget_words(&format!("tsubo-keeper {id}"));
    next
}

/// How it is listed; nothing else depends on it.
fn name_process() {
    let _ = rustix::thread::set_name(c"tsubo-keeper");
}

fn keep(keeper: Option<Box<Keeper>>) -> u8 {
    let Some(keeper) = keeper else { return 1 };
    keeper.keep();
    0
}

// None of these is a part of its caller, whose frame rests for as long as the container runs.

#[inline(never)]
fn executed_for(id: Id) -> Option<Box<Keeper>> {
    let socket = leave_caller().ok()?;
    enter_house();
    let early = Early::groups(id);
    match job::receive(&socket) {
        Ok(received) => take_up(Passed { received, group: None, socket }, early, &mut || ()),
        Err(error) => refuse(socket, &error),
    }
}

/// Two jobs come: what to prepare, and after a while what to start, which is mostly the same.
#[inline(never)]
fn executed_beforehand(_id: Id) -> Option<Box<Keeper>> {
    let socket = leave_caller().ok()?;
    enter_house();
    let prepared = job::receive(&socket).and_then(|received| Early::of(received.job));
    let early = match prepared {
        Ok(early) => early,
        Err(error) => return refuse(socket, &error),
    };
    let mut launch = Connection::launched(socket, Decoder::default());
    launch.send(&Reply::Done);
    launch.drain();
    let socket = launch.into_socket();
    // Where nobody starts it any more what was made is taken back.
    let received = match job::receive(&socket) {
        Ok(received) => received,
        Err(error) => return refuse(socket, &error),
    };
    take_up(Passed { received, group: None, socket }, early, &mut || ())
}

#[inline(never)]
fn copied_for(id: Id, network: bool) -> Option<Box<Keeper>> {
    let socket = leave_caller().ok()?;
    enter_house();
    let early = Early::all(id, network);
    // From the program that we are a copy of, so it is understood.
    let received = match job::receive(&socket) {
        Ok(received) => received,
        Err(error) => return refuse(socket, &error),
    };
    // Not a program that somebody inside could write to (2019-5736).
    let users = received.job.spec.users.as_ref().filter(|_| received.job.spec.owns(Namespace::User));
    if !runtime::is_out_of_reach(users) {
        return pass_on(leave_program(id), early, received, socket);
    }
    let mut next = None;
    let mut keeper =
        take_up(Passed { received, group: None, socket }, early, &mut || next = leave_program(id))?;
    keeper.next = next.into();
    Some(keeper)
}

/// Where systemd manages the groups, keepers have one of their own, which outlives a login. Without
/// it containers can be started, and whoever asks for limits is told.
fn enter_house() {
    let _ = cgroup::systemd::house::enter();
}

/// The program that we are a copy of could be written to from inside the container (2019-5736):
/// another one does this.
fn pass_on(
    next: Option<PathBuf>,
    mut early: Early,
    received: Received,
    socket: OwnedFd,
) -> Option<Box<Keeper>> {
    let passed = Passed { received, group: early.give_up_groups(), socket };
    drop(early);
    let Err((error, socket)) = handover::pass_on(next, passed);
    refuse(socket, &error)
}

/// Where nobody listens any more, nobody need be told.
fn refuse(socket: OwnedFd, error: &Error) -> Option<Box<Keeper>> {
    let mut launch = Connection::launched(socket, Decoder::default());
    launch.send(&Reply::Failed(Failure::from(error)));
    launch.drain();
    None
}

#[inline(never)]
fn go_on(mut passed: Passed) -> Option<Box<Keeper>> {
    let early = Early::adopt(passed.received.job.spec.id, passed.group.take());
    take_up(passed, early, &mut || ())
}

/// Does what is `aside` while the new process sets itself up.
fn take_up(passed: Passed, early: Early, aside: &mut dyn FnMut()) -> Option<Box<Keeper>> {
    let Passed { received: Received { job, lock, sockets, decoder }, socket, .. } = passed;
    let mut launch = Connection::launched(socket, decoder);
    let attached = job.attached;
    let started = start(job, sockets, early, aside);
    // The caller's lock, ours too until the state says what is there: the caller may be killed.
    drop(lock);
    match started {
        Ok(keeper) => {
            let mut keeper = Box::new(keeper);
            launch.send(&Reply::Started { pid: keeper.pid() });
            keeper.tell([What::Start]);
            keeper.begin_checks();
            keeper.begin_hooks(false);
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
fn start(mut job: Job, sockets: Vec<OwnedFd>, mut early: Early, aside: &mut dyn FnMut()) -> Result<Keeper> {
    let made = lifecycle::claim(&mut job.spec, early.claim.take());
    let made = made.and_then(|claim| Ok((claim, make(&job, &sockets, early, aside)?)));
    if made.is_err() {
        finish::undo(&job);
    }
    let (claim, Made { task, group, listener, signals, log, ports }) = made?;
    let mut keeper = Keeper::new(job, task, group, listener, signals, log);
    (keeper.claim, keeper.ports, keeper.sockets) = (claim, ports, sockets);
    Ok(keeper)
}

/// And those that hooks wait for.
fn watched(job: &Job) -> Vec<i32> {
    let hooks = job.spec.hooks.as_deref().map(|hooks| hooks.list.as_slice()).unwrap_or_default();
    let signal = |hook: &spec::hooks::Hook| match hook.when {
        spec::hooks::When::Signal(number) => Some(number),
        _ => None,
    };
    SIGNALS.into_iter().chain(hooks.iter().filter_map(signal)).collect()
}

/// Everything that a running container takes.
struct Made {
    task: Task,
    group: Option<cgroup::Group>,
    listener: OwnedFd,
    signals: OwnedFd,
    log: Writer,
    ports: Ports,
}

fn make(job: &Job, sockets: &[OwnedFd], mut early: Early, aside: &mut dyn FnMut()) -> Result<Made> {
    let signals = sys::signal::descriptor(&watched(job));
    let signals = signals.map_err(std::io::Error::from).doing(|| "watching signals")?;
    let (group, entry) = early.take_groups(job)?;
    // Who carries an ordinary user's packets is noted there.
    let is_wired = lifecycle::networks::is_wired(&job.spec);
    if is_wired {
        state::prepare(job)?;
    }
    let (namespaces, mut wiring) = Wiring::begin(job, std::mem::take(&mut early.namespaces))?;
    lifecycle::networks::write_files(job)?;
    let kept = lifecycle::volumes::attach(&job.spec)?;
    let setup = Setup { entry, namespaces, kept, sockets, ..Setup::of(group.as_ref(), job.input, job.size) };
    let mut desk = None;
    // The new process has the longer way to go.
    let task = Task::first(&lifecycle::plan(job)?, setup, |first| {
        aside();
        if !is_wired {
            state::prepare(job)?;
        }
        let (listener, log) = (listen(job)?, Writer::new(&job.dir, job.spec.logs)?);
        let (network, ports) = wiring.end()?.map(Wired::into_parts).unzip();
        desk = Some((listener, log, ports.unwrap_or_default()));
        state::started(job, first, group.as_ref(), network)
    });
    if let (Err(_), Some((.., ports))) = (&task, &desk) {
        // Interfaces of the host go back before the namespace takes them along.
        let _ = lifecycle::networks::unwire(job, ports);
    }
    let task = task?;
    let desk = desk.ok_or_else(|| Error::internal("the container started without its keeper"))?;
    let (listener, log, ports) = desk;
    Ok(Made { task, group, listener, signals, log, ports })
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
