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
use std::path::PathBuf;
use std::time::Duration;

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
use crate::hooks::{Hooks, HooksAtRest};
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
    loose: Vec<TaskAtRest>,
    log: (i32, u64, [Vec<u8>; 2]),
    connections: Vec<ConnectionAtRest>,
    restarts: RestartsAtRest,
    checks: Option<ChecksAtRest>,
    hooks: Option<HooksAtRest>,
    paused: bool,
    claim: Option<(u32, i32)>,
    ports: Vec<i32>,
    sockets: Vec<i32>,
}

impl Keeper {
    /// Goes on as the small program if there is one and nothing is under way. Returns where it
    /// does not, and then goes on as it is.
    pub(crate) fn hand_over(&self) {
        let path = self.next.borrow().clone();
        let mut kept = Kept::default();
        let Some((path, rest)) = path.and_then(|path| Some((path, self.at_rest(&mut kept)?))) else { return };
        let next = KeeperProgram::at(&path).ok();
        match next.as_ref().map(next_form) {
            Some(Some(form)) if form == FORM => {
                // It may be possible another time.
                let _ = next.map(|next| pass(&next, "rest", &[], self.job.spec.id, &rest, kept));
            }
            // No process could be made; another time one may be.
            Some(None) => {}
            // There is none that understands us. We keep it as well, with a little more memory.
            _ => *self.next.borrow_mut() = None,
        }
    }

    fn at_rest<'a>(&'a self, kept: &mut Kept<'a>) -> Option<AtRest> {
        if self.kill_at.is_some() {
            return None;
        }
        let connections = self.connections.iter().map(|connection| connection.at_rest(kept)).collect();
        let loose = self.loose.iter().map(|task| task.at_rest(kept)).collect();
        let (connections, loose): (Option<Vec<_>>, Option<Vec<_>>) = (connections, loose);
        let (log, written, unfinished) = self.log.at_rest();
        Some(AtRest {
            connections: connections?,
            task: self.task.at_rest(kept)?,
            restarts: self.restarts.at_rest()?,
            checks: match &self.checks {
                Some(checks) => Some(checks.at_rest()?),
                None => None,
            },
            hooks: match &self.hooks {
                Some(hooks) => Some(hooks.at_rest()?),
                None => None,
            },
            job: self.job.clone(),
            group: self.group.clone(),
            listener: kept.keep(&self.listener),
            signals: kept.keep(&self.signals),
            loose: loose?,
            log: (kept.keep_borrowed(log), written, unfinished),
            paused: self.paused,
            claim: self.claim.as_ref().map(|claim| (claim.base(), kept.keep_borrowed(claim.as_fd()))),
            ports: self.ports.iter().map(|port| kept.keep(port)).collect(),
            sockets: self.sockets.iter().map(|socket| kept.keep(socket)).collect(),
        })
    }
}

/// The other side: the keeper that was handed over in descriptor `number`.
#[inline(never)]
pub(crate) fn resume(number: i32) -> Result<Box<Keeper>> {
    let rest: AtRest = read(number)?;
    let task = Task::adopt(rest.task)?;
    let (log, written, unfinished) = rest.log;
    let log = Writer::adopt(&rest.job.dir, rest.job.spec.logs, take(log)?, written, unfinished);
    let (listener, signals) = (take(rest.listener)?, take(rest.signals)?);
    let mut keeper = Box::new(Keeper::new(rest.job, task, rest.group, listener, signals, log));
    keeper.connections = rest.connections.iter().map(Connection::adopt).collect::<Result<_>>()?;
    keeper.restarts = Restarts::adopt(&rest.restarts);
    keeper.checks = rest.checks.map(Checks::adopt);
    keeper.hooks = rest.hooks.and_then(|hooks| Hooks::adopt(hooks, &keeper.job.spec));
    keeper.paused = rest.paused;
    keeper.loose = rest.loose.into_iter().map(Task::adopt).collect::<Result<_>>()?;
    let claim = rest.claim.map(|(base, fd)| runtime::ids::Claim::adopt(base, take(fd)?));
    keeper.claim = claim.transpose()?;
    keeper.ports = rest.ports.into_iter().map(take).collect::<Result<_>>()?;
    keeper.sockets = rest.sockets.into_iter().map(take).collect::<Result<_>>()?;
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
    sockets: Vec<i32>,
}

/// What came, with the groups that were made for it.
pub(crate) struct Passed {
    pub(crate) received: Received,
    pub(crate) group: Option<cgroup::Group>,
    pub(crate) socket: OwnedFd,
}

/// Lets the small program do a job that has just come; returns only if that fails, with the
/// connection that should be told.
pub(crate) fn pass_on(path: Option<PathBuf>, passed: Passed) -> Result<Infallible, (Error, OwnedFd)> {
    let Passed { received: Received { job, lock, sockets, decoder }, group, socket } = passed;
    let mut kept = Kept::default();
    let (number, lock) = (kept.keep(&socket), lock.as_ref().map(|lock| kept.keep(lock)));
    let sockets = sockets.iter().map(|socket| kept.keep(socket)).collect();
    let order = Order { job, rest: decoder.into_rest(), group, socket: number, lock, sockets };
    let program = path.ok_or_else(|| Error::not_found("tsubo-keeper is not there"));
    let error = match program.and_then(|path| KeeperProgram::at(&path)) {
        // Nothing runs yet that could be lost: it need not be asked beforehand whether it understands.
        Ok(program) => {
            let told = [number.to_string(), FORM.to_owned()];
            pass(&program, "job", &told, order.job.spec.id, &order, kept)
        }
        Err(error) => error.hint("tsubo-keeper must lie beside tsubo"),
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
    let sockets = order.sockets.into_iter().map(take).collect::<Result<_>>()?;
    let received = Received { job: order.job, lock, sockets, decoder };
    Ok(Passed { received, group: order.group, socket: take(order.socket)? })
}

fn pass(
    program: &KeeperProgram,
    word: &str,
    told: &[String],
    id: Id,
    content: &impl Serialize,
    kept: Kept<'_>,
) -> Error {
    match write(content) {
        Ok(file) => {
            // The id is for those who look at a list of processes.
            let (file_word, id) = (file.as_raw_fd().to_string(), id.to_string());
            let words = [&[word.to_owned(), file_word], told, &[id]].concat();
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

/// How long a program may take to say which form it understands.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which form the program understands: it may come from another version than we do. None where it
/// could not be asked.
fn next_form(program: &KeeperProgram) -> Option<String> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).ok()?;
    let child = || {
        if sys::process::dup_onto(theirs.as_fd(), 1).is_ok() {
            let _ = program.execute(&["form".to_owned()], &[]);
        }
        127
    };
    let (pid, pidfd) = sys::process::clone_child(0, None, child).ok()?;
    drop(theirs);
    if !runtime::comes_within(pidfd.as_fd(), PATIENCE).unwrap_or(false) {
        // Its file system may not answer. It is not asked again: who hangs there could not be ended.
        let _ = sys::process::send_signal(pidfd.as_fd(), 9);
        let _ = sys::process::reap(pid, false);
        return Some(String::new());
    }
    let ended = rustix::io::retry_on_intr(|| sys::process::reap(pid, true));
    let mut form = String::new();
    let read = File::from(ours).take(64).read_to_string(&mut form);
    read.ok().filter(|_| ended.is_ok()).map(|_| form)
}
