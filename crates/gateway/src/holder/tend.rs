//! The holder's loop: it begins a worker, keeps what that listens with, and begins another where that dies.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lifecycle::Home;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use spec::{Error, Result, ResultExt};

use super::{Channel, Message};

/// In the run directory.
const LOCK: &str = "gateway.lock";

/// What we are told: to end, to end with all instances, to look at the configuration, to let another program
/// take the worker's place.
const SIGNALS: [i32; 4] = [TERM, INTERRUPT, HANG_UP, UPGRADE];
const HANG_UP: i32 = 1;
const INTERRUPT: i32 = 2;
const UPGRADE: i32 = 12;
const TERM: i32 = 15;

/// A worker that dies sooner is begun again less and less often.
const STABLE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(10);

/// A worker, and what it is known by.
struct Worker {
    child: Child,
    pidfd: OwnedFd,
    channel: Channel,
    begun: Instant,
}

/// Holds sockets for workers, each of which is what `command` makes, until one of them ends by itself; returns
/// its exit code.
///
/// # Errors
/// When another gateway serves the same state directory, or no worker can be begun.
pub fn hold(home: &Home, command: &dyn Fn() -> Command) -> Result<u8> {
    let lock = lock(home)?;
    let signals = sys::signal::descriptor(&SIGNALS).map_err(std::io::Error::from);
    let signals = signals.doing(|| "watching signals")?;
    let mut held = HashMap::new();
    let mut worker = begin(command, &held, &lock)?;
    let mut old: Option<Worker> = None;
    let mut failures = 0;
    loop {
        let [signalled, spoke, ended, other] = wait(&signals, &worker, old.as_ref())?;
        if spoke {
            hear(&mut worker, &mut held, &mut old);
        }
        if other && let Some(mut gone) = old.take() {
            let _ = gone.child.wait();
        }
        if signalled {
            match signal(&signals) {
                Some(UPGRADE) if old.is_none() => {
                    old = Some(std::mem::replace(&mut worker, begin(command, &held, &lock)?));
                    continue;
                }
                Some(UPGRADE) | None => {}
                Some(other) => tell(&worker, other),
            }
        }
        if !ended {
            continue;
        }
        // What it said last.
        hear(&mut worker, &mut held, &mut old);
        let status = worker.child.wait().doing(|| "waiting for the worker")?;
        if let Some(code) = status.code() {
            return Ok(code as u8);
        }
        if let Some(before) = old.take() {
            // The new program is no good: the old one goes on.
            worker = before;
            continue;
        }
        failures = if worker.begun.elapsed() > STABLE { 0 } else { failures + 1 };
        mourn(status, failures);
        worker = begin(command, &held, &lock)?;
    }
}

fn mourn(status: ExitStatus, failures: u32) {
    let wait = Duration::from_millis(50).saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    let signal = status.signal().unwrap_or_default();
    eprintln!("the gateway's worker was ended by signal {signal}: another takes its place");
    if failures > 1 {
        std::thread::sleep(wait);
    }
}

/// The one gateway of a state directory.
fn lock(home: &Home) -> Result<OwnedFd> {
    let path = home.run().join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let file: File = open.doing(|| format!("opening {}", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(Error::conflict("another gateway serves this state directory")
                .hint("tsubo gateway status tells of it; tsubo --root DIR gateway serves another one"));
        }
        Err(errno) => return Err(Error::io(format!("locking {}", path.display()), errno.into())),
    }
    Ok(file.into())
}

fn begin(
    command: &dyn Fn() -> Command,
    held: &HashMap<SocketAddr, OwnedFd>,
    lock: &OwnedFd,
) -> Result<Worker> {
    let (channel, theirs) = Channel::pair()?;
    let mut command = command();
    let child = command.stdin(Stdio::from(theirs)).spawn();
    let child = child.doing(|| format!("starting {}", command.get_program().to_string_lossy()))?;
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from);
    let pidfd = pidfd.doing(|| "watching the worker")?;
    let copy = |descriptor: &OwnedFd| descriptor.try_clone().doing(|| "handing a socket over");
    channel.send(&Message::Lock(copy(lock)?))?;
    for (at, socket) in held {
        channel.send_socket(*at, socket.as_fd())?;
    }
    channel.send(&Message::End)?;
    Ok(Worker { child, pidfd, channel, begun: Instant::now() })
}

/// What is there: a signal, a word of the worker, its end, the end of the one before.
fn wait(signals: &OwnedFd, worker: &Worker, old: Option<&Worker>) -> Result<[bool; 4]> {
    let mut polled = vec![
        PollFd::new(signals, PollFlags::IN),
        PollFd::new(&worker.channel, PollFlags::IN),
        PollFd::new(&worker.pidfd, PollFlags::IN),
    ];
    polled.extend(old.map(|old| PollFd::new(&old.pidfd, PollFlags::IN)));
    match rustix::event::poll(&mut polled, None) {
        Err(Errno::INTR) => return Ok([false; 4]),
        polled => polled.map_err(std::io::Error::from).doing(|| "waiting for the worker")?,
    };
    let is =
        |place: usize, flag: PollFlags| polled.get(place).is_some_and(|one| one.revents().contains(flag));
    Ok([is(0, PollFlags::IN), is(1, PollFlags::IN), is(2, PollFlags::IN), is(3, PollFlags::IN)])
}

/// Takes in what the worker says.
fn hear(worker: &mut Worker, held: &mut HashMap<SocketAddr, OwnedFd>, old: &mut Option<Worker>) {
    while is_readable(&worker.channel) {
        match worker.channel.receive() {
            Ok(Some(Message::Socket(at, socket))) => drop(held.insert(at, socket)),
            Ok(Some(Message::Forget(at))) => drop(held.remove(&at)),
            Ok(Some(Message::Ready)) => {
                // It serves: the one before finishes what it has.
                old.iter().for_each(|old| tell(old, TERM));
            }
            Ok(Some(Message::Lock(_) | Message::End)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

fn is_readable(channel: &Channel) -> bool {
    let mut polled = [PollFd::new(channel, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::IN)
}

fn signal(signals: &OwnedFd) -> Option<i32> {
    let mut record = [0; 128];
    let count = rustix::io::read(signals, &mut record).ok()?;
    sys::signal::number(&record[..count])
}

fn tell(worker: &Worker, number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        // It may just have ended.
        let _ = rustix::process::pidfd_send_signal(&worker.pidfd, signal);
    }
}
