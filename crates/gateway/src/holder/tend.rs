//! The holder's loop: it begins a worker, keeps what that listens with, and begins another where that dies.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use lifecycle::Home;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

use super::Message;
use super::process::Worker;
use super::verdict::{Circumstances, Verdict};

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
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);

/// Holds sockets for workers, each of which is what `command` makes, until one of them ends by itself; returns
/// its exit code.
///
/// # Errors
/// When another gateway serves the same state directory, or no worker can be begun.
pub fn hold(home: &Home, command: &dyn Fn() -> Command) -> Result<u8> {
    let lock = lock(home)?;
    let signals = sys::signal::descriptor(&SIGNALS).map_err(std::io::Error::from);
    let signals = signals.doing(|| "watching signals")?;
    let worker = Worker::begin(command(), &HashMap::new(), &lock)?;
    let mut holder = Holder {
        command,
        lock,
        held: HashMap::new(),
        worker: Some(worker),
        old: None,
        served: false,
        ends: false,
        failures: 0,
        due: Instant::now(),
        code: 0,
    };
    while !holder.is_done() {
        let seen = holder.wait(&signals)?;
        if seen.spoke || seen.ended {
            holder.hear();
        }
        if seen.old_ended
            && let Some(mut gone) = holder.old.take()
        {
            let _ = gone.wait();
        }
        if seen.signalled
            && let Some(number) = signal(&signals)
        {
            holder.obey(number);
        }
        if seen.ended {
            holder.worker_ended()?;
        }
        holder.begin_if_due();
    }
    Ok(holder.code)
}

struct Holder<'a> {
    command: &'a dyn Fn() -> Command,
    lock: OwnedFd,
    held: HashMap<SocketAddr, OwnedFd>,
    /// None between one and the next.
    worker: Option<Worker>,
    /// The one before, which goes as soon as the other is ready.
    old: Option<Worker>,
    /// Any worker has served.
    served: bool,
    /// We were told to end: nobody is begun any more.
    ends: bool,
    failures: u32,
    /// When the next worker is begun.
    due: Instant,
    code: u8,
}

/// What there is to see.
#[derive(Default)]
struct Seen {
    signalled: bool,
    spoke: bool,
    ended: bool,
    old_ended: bool,
}

impl Holder<'_> {
    fn is_done(&self) -> bool {
        self.ends && self.worker.is_none() && self.old.is_none()
    }

    /// Waits for a signal, a word of the worker, its end, the end of the one before; or until another is due.
    fn wait(&self, signals: &OwnedFd) -> Result<Seen> {
        let worker = self.worker.iter().flat_map(|worker| {
            [PollFd::new(&worker.channel, PollFlags::IN), PollFd::new(&worker.pidfd, PollFlags::IN)]
        });
        let old = self.old.iter().map(|old| PollFd::new(&old.pidfd, PollFlags::IN));
        let mut polled: Vec<_> =
            std::iter::once(PollFd::new(signals, PollFlags::IN)).chain(worker).chain(old).collect();
        let left = self.due.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let is_due_for_one = self.worker.is_none() && !self.ends;
        match rustix::event::poll(&mut polled, is_due_for_one.then_some(&left)) {
            Err(Errno::INTR) => return Ok(Seen::default()),
            polled => polled.map_err(std::io::Error::from).doing(|| "waiting for the worker")?,
        };
        let mut is = polled.iter().map(|one| one.revents().contains(PollFlags::IN));
        let mut next = |there: bool| there && is.next().unwrap_or_default();
        let has_worker = self.worker.is_some();
        Ok(Seen {
            signalled: next(true),
            spoke: next(has_worker),
            ended: next(has_worker),
            old_ended: next(self.old.is_some()),
        })
    }

    /// Takes in what the worker says.
    fn hear(&mut self) {
        let Some(worker) = &mut self.worker else { return };
        while let Some(message) = worker.says() {
            match message {
                Message::Socket(at, socket) => {
                    if self.held.insert(at, socket).is_none() {
                        worker.own.push(at);
                    }
                }
                Message::Forget(at) => drop(self.held.remove(&at)),
                Message::Ready => {
                    worker.ready = true;
                    self.served = true;
                    // It serves: the one before finishes what it has.
                    self.old.iter().for_each(|old| old.tell(TERM));
                }
                Message::Lock(_) | Message::End => {}
            }
        }
    }

    fn obey(&mut self, number: i32) {
        match number {
            UPGRADE => self.upgrade(),
            HANG_UP => {
                self.worker.iter().for_each(|worker| worker.tell(HANG_UP));
                // What kept the last one from serving may be mended.
                self.due = Instant::now();
            }
            number => {
                self.ends = true;
                self.worker.iter().chain(&self.old).for_each(|worker| worker.tell(number));
            }
        }
    }

    /// Another program takes the worker's place, when it is ready; one such change at a time.
    fn upgrade(&mut self) {
        if self.ends || self.old.is_some() {
            return;
        }
        match Worker::begin((self.command)(), &self.held, &self.lock) {
            Ok(next) => self.old = self.worker.replace(next),
            Err(error) => eprintln!("the gateway's worker stays as it is: {}", error.chain()),
        }
    }

    fn worker_ended(&mut self) -> Result<()> {
        let Some(mut worker) = self.worker.take() else { return Ok(()) };
        let status = worker.wait()?;
        let code = status.code().map(|code| code as u8);
        let verdict = Circumstances {
            code,
            was_ready: worker.ready,
            served: self.served,
            has_old: self.old.is_some(),
            ends: self.ends,
        };
        match verdict.verdict() {
            Verdict::End(code) => {
                self.ends = true;
                self.code = code;
            }
            Verdict::Back => {
                eprintln!("the gateway's new worker {}: the old one goes on", how(status));
                // The old one knows nothing of these, and could not listen there itself.
                worker.own.iter().for_each(|at| drop(self.held.remove(at)));
                self.worker = self.old.take();
            }
            Verdict::Again => {
                eprintln!("the gateway's worker {}: another takes its place", how(status));
                self.failures = if worker.begun.elapsed() > STABLE { 0 } else { self.failures + 1 };
                self.due = Instant::now() + pause(self.failures);
            }
        }
        Ok(())
    }

    /// Begins the next worker where there is none and it is time.
    fn begin_if_due(&mut self) {
        if self.ends || self.worker.is_some() || Instant::now() < self.due {
            return;
        }
        match Worker::begin((self.command)(), &self.held, &self.lock) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                eprintln!("beginning the gateway's worker: {}", error.chain());
                self.failures += 1;
                self.due = Instant::now() + pause(self.failures);
            }
        }
    }
}

/// Before the next one, after so many that died soon.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 1).min(10)).min(LONGEST),
    }
}

fn how(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("ended with code {}", status.code().unwrap_or_default()),
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

fn signal(signals: &OwnedFd) -> Option<i32> {
    let mut record = [0; 128];
    let count = rustix::io::read(signals, &mut record).ok()?;
    sys::signal::number(&record[..count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dies_again_and_again_is_begun_less_and_less_often() {
        assert_eq!((pause(0), pause(1)), (Duration::ZERO, Duration::ZERO), "one death may be an accident");
        assert!((2..40).all(|failures| pause(failures) >= pause(failures - 1)));
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
