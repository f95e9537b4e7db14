//! From the program that a container was started by to `tsubo-keeper`, in the same process.
//!
//! A start forks, because to execute takes too long; a rest executes, because who rests for weeks
//! shall hold as little memory as possible. What is known goes along in a file in memory, and
//! descriptors keep their numbers. Nobody notices: the process, its children, its locks and its
//! connections stay what they are. While anything is under way it is put off.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use lifecycle::KeeperProgram;
use lifecycle::job::{FORM, Job, Received};
use lifecycle::log::Writer;
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::protocol::Decoder;
use spec::{Error, Id, Result, ResultExt};

use crate::connection::{Connection, ConnectionAtRest};
use crate::health::{Checks, ChecksAtRest};
use crate::keep::Keeper;
use crate::restart::{Restarts, RestartsAtRest};
use crate::task::{Task, TaskAtRest};

/// Descriptors that the next program gets.
#[derive(Default)]
pub(crate) struct Kept<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Kept<'a> {
    pub(crate) fn keep(&mut self, fd: &'a OwnedFd) -> i32 {
        self.keep_borrowed(fd.as_fd())
    }

    pub(crate) fn keep_borrowed(&mut self, fd: BorrowedFd<'a>) -> i32 {
        self.0.push(fd);
        fd.as_raw_fd()
    }
}

/// Takes over a descriptor that was kept.
pub(crate) fn take(number: i32) -> Result<OwnedFd> {
    let taken = sys::process::inherited(number).map_err(std::io::Error::from);
    taken.doing(|| format!("taking over descriptor {number}"))
}

/// A keeper on its way to another program.
#[derive(Serialize, Deserialize)]
struct AtRest {
    job: Job,
    task: TaskAtRest,
    group: Option<cgroup::Group>,
    listener: i32,
    signals: i32,
    log: (i32, u64),
    connections: Vec<ConnectionAtRest>,
    restarts: RestartsAtRest,
    checks: Option<ChecksAtRest>,
    paused: bool,
    claim: Option<(u32, i32)>,
}

impl Keeper {
    /// Goes on as the small program if there is one and nothing is under way. Returns where it
    /// does not, and then goes on as it is.
    pub(crate) fn hand_over(&self) {
        let mut kept = Kept::default();
        let Some(rest) = Some(self.is_copy.get()).filter(|copy| *copy).and_then(|_| self.at_rest(&mut kept))
        else {
            return;
        };
        // What cannot be handed over now cannot be later. We keep it as well, with a little more memory.
        self.is_copy.set(false);
        let Ok(program) = KeeperProgram::find() else { return };
        if next_form(&program).is_some_and(|form| form == FORM) {
            let _ = pass(&program, "rest", self.job.spec.id, &rest, kept);
        }
    }

    fn at_rest<'a>(&'a self, kept: &mut Kept<'a>) -> Option<AtRest> {
        if self.kill_at.is_some() || !self.loose.is_empty() {
            return None;
        }
        let connections = self.connections.iter().map(|connection| connection.at_rest(kept));
        let (log, written) = self.log.at_rest()?;
        Some(AtRest {
            connections: connections.collect::<Option<_>>()?,
            task: self.task.at_rest(kept)?,
            restarts: self.restarts.at_rest()?,
            checks: match &self.checks {
                Some(checks) => Some(checks.at_rest()?),
                None => None,
            },
            job: self.job.clone(),
            group: self.group.clone(),
            listener: kept.keep(&self.listener),
            signals: kept.keep(&self.signals),
            log: (kept.keep_borrowed(log), written),
            paused: self.paused,
            claim: self.claim.as_ref().map(|claim| (claim.base(), kept.keep_borrowed(claim.as_fd()))),
        })
    }
}

/// The other side: the keeper that was handed over in descriptor `number`.
#[inline(never)]
pub(crate) fn resume(number: i32) -> Result<Box<Keeper>> {
    let rest: AtRest = read(number)?;
    let task = Task::adopt(rest.task)?;
    let log = Writer::adopt(&rest.job.dir, take(rest.log.0)?, rest.log.1);
    let (listener, signals) = (take(rest.listener)?, take(rest.signals)?);
    let mut keeper = Box::new(Keeper::new(rest.job, task, rest.group, listener, signals, log));
    keeper.connections = rest.connections.iter().map(Connection::adopt).collect::<Result<_>>()?;
    keeper.restarts = Restarts::adopt(&rest.restarts);
    keeper.checks = rest.checks.map(Checks::adopt);
    keeper.paused = rest.paused;
    let claim = rest.claim.map(|(base, fd)| runtime::ids::Claim::adopt(base, take(fd)?));
    keeper.claim = claim.transpose()?;
    Ok(keeper)
}

/// A job that another program must do.
#[derive(Serialize, Deserialize)]
struct Order {
    job: Job,
    rest: Vec<u8>,
    group: Option<cgroup::Group>,
    socket: i32,
    lock: Option<i32>,
}

/// What came, with the groups that were made for it.
pub(crate) struct Passed {
    pub(crate) received: Received,
    pub(crate) group: Option<cgroup::Group>,
    pub(crate) socket: OwnedFd,
}

/// Lets the small program do a job that has just come; returns only if that fails, with the
/// connection that should be told.
pub(crate) fn pass_on(passed: Passed) -> Result<Infallible, (Error, OwnedFd)> {
    let Passed { received: Received { job, lock, decoder }, group, socket } = passed;
    let mut kept = Kept::default();
    let (number, lock) = (kept.keep(&socket), lock.as_ref().map(|lock| kept.keep(lock)));
    let order = Order { job, rest: decoder.into_rest(), group, socket: number, lock };
    let error = match KeeperProgram::find() {
        Ok(program) => pass(&program, "job", order.job.spec.id, &order, kept),
        Err(error) => error,
    };
    if let Some(group) = &order.group {
        // The failure of the start is the one to tell.
        let _ = group.end();
    }
    Err((error, socket))
}

/// The other side of [`pass_on`].
pub(crate) fn take_on(number: i32) -> Result<Passed> {
    let order: Order = read(number)?;
    let mut decoder = Decoder::default();
    decoder.push(&order.rest);
    let lock = order.lock.map(take).transpose()?;
    let received = Received { job: order.job, lock, decoder };
    Ok(Passed { received, group: order.group, socket: take(order.socket)? })
}

fn pass(program: &KeeperProgram, word: &str, id: Id, content: &impl Serialize, kept: Kept<'_>) -> Error {
    match write(content) {
        Ok(file) => {
            // The id is for those who look at a list of processes.
            let words = [word.to_owned(), file.as_raw_fd().to_string(), id.to_string()];
            program.execute(&words, &[&kept.0[..], &[file.as_fd()]].concat())
        }
        Err(error) => error,
    }
}

fn write(content: &impl Serialize) -> Result<OwnedFd> {
    let bytes = postcard::to_stdvec(content);
    let bytes = bytes.map_err(|cause| Error::internal("writing what is known").because(cause))?;
    let file = rustix::fs::memfd_create(c"tsubo-keeper", MemfdFlags::CLOEXEC).map_err(std::io::Error::from);
    let mut file = File::from(file.doing(|| "making a file in memory")?);
    file.write_all(&bytes).and_then(|()| file.rewind()).doing(|| "writing what is known")?;
    Ok(file.into())
}

fn read<T: DeserializeOwned>(number: i32) -> Result<T> {
    let mut bytes = Vec::new();
    File::from(take(number)?).read_to_end(&mut bytes).doing(|| "reading what was known")?;
    postcard::from_bytes(&bytes).map_err(|cause| Error::internal("reading what was known").because(cause))
}

/// Which form the program understands: it may come from another version than we do.
fn next_form(program: &KeeperProgram) -> Option<String> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).ok()?;
    let child = || {
        if sys::process::dup_onto(theirs.as_fd(), 1).is_ok() {
            let _ = program.execute(&["form".to_owned()], &[]);
        }
        127
    };
    let (pid, _pidfd) = sys::process::clone_child(0, None, child).ok()?;
    drop(theirs);
    let mut form = String::new();
    let read = File::from(ours).take(64).read_to_string(&mut form);
    let ended = rustix::io::retry_on_intr(|| sys::process::reap(pid, true));
    (read.is_ok() && matches!(ended, Ok(Some((_, 0))))).then_some(form)
}
