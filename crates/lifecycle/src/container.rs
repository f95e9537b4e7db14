//! One container: where it stands, and everything that is done to it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spec::hooks::Event;
use spec::life::Restart;
use spec::protocol::Request;
use spec::{Error, Id, Name, Result, ResultExt};

use crate::disk::{self, Durable, remove_tree};
use crate::events::{Subject, What};
use crate::hooks::{self, Detail, Owner};
use crate::ledger::Ledger;
use crate::lock::Lock;
use crate::log;
use crate::networks::{self, Networks};
use crate::pinned::{boot_id, ends_within};
use crate::record::{self, Ended, Record, Running, Status};
use crate::resolve::Reason;
use crate::state::STATE;

/// SIGKILL.
const KILL: i32 = 9;

/// How long a keeper may take to clean up after its container.
pub(crate) const CLEANUP: Duration = Duration::from_secs(15);

/// A container of this host.
#[derive(Debug)]
pub struct Container {
    record: Record,
    dir: PathBuf,
    run: PathBuf,
    /// Held from its creation until it is started.
    pub(crate) lock: Option<Lock>,
    /// What should be said about its isolation, if it has just been made.
    pub(crate) notes: Vec<Reason>,
    /// Its volumes, if they were made with it: they are nobody's if it never starts.
    pub(crate) new_volumes: Option<PathBuf>,
}

impl Container {
    pub(crate) fn new(record: Record, dir: PathBuf, run: PathBuf, lock: Option<Lock>) -> Self {
        Self { record, dir, run, lock, notes: Vec::new(), new_volumes: None }
    }

    /// What a careful person would want to know of its isolation, if it has just been made.
    pub fn notes(&self) -> &[Reason] {
        &self.notes
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.record.spec.name
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.record.spec.id
    }

    /// What was written when it was created.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its directory: record and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Whom events of it are about.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { run: &self.run, id: self.id(), name: self.name(), image: &self.record.image }
    }

    /// Whose hooks are done.
    pub(crate) fn owner<'a>(&'a self, status: &'a str, pid: Option<i32>) -> Owner<'a> {
        let (spec, image) = (&self.record.spec, &self.record.image);
        Owner { spec, dir: &self.dir, run: &self.run, image, status, pid }
    }

    /// Where it stands. A container whose keeper was lost is ended first.
    pub fn status(&self) -> Result<Status> {
        match self.written_status()? {
            Some(status) => Ok(status),
            None => self.without_state(),
        }
    }

    /// Where it stands as its keeper has written; None if that has written nothing.
    fn written_status(&self) -> Result<Option<Status>> {
        if let Some(ended) = self.ended()? {
            return Ok(Some(Status::Exited(ended)));
        }
        let Some(mut state) = disk::read_json::<Running>(&self.run.join(STATE))? else {
            return Ok(None);
        };
        if let Some(connected) = &mut state.network {
            networks::dhcp::refresh(connected, &self.run);
        }
        let this_boot = state.boot == boot_id()?;
        // What cannot be looked at is not dead: it would be ended for that.
        if this_boot && state.keeper.find()?.is_some() {
            return Ok(Some(Status::Running(state)));
        }
        match self.ended()? {
            Some(ended) => Ok(Some(Status::Exited(ended))),
            // Its keeper has finished while we looked, and everything went with it.
            None if !self.run.join(STATE).exists() => Ok(Some(Status::Created)),
            None => self.end_lost(&state, this_boot).map(Status::Exited).map(Some),
        }
    }

    /// Where it stands if no keeper says so. The keeper begins a log before anything else: with one
    /// it has run, and what was in the run directory went with the last boot.
    fn without_state(&self) -> Result<Status> {
        if self.lock.is_some() || !self.has_run() {
            return Ok(Status::Created);
        }
        let Some(_lock) = Lock::try_take(&self.dir)? else { return Ok(Status::Created) };
        // Whoever had the lock until now may have started it since we looked. From here on nobody
        // can: what is not there now is lost.
        if let Some(status) = self.written_status()? {
            return Ok(status);
        }
        if !self.is_current()? {
            return Ok(Status::Created);
        }
        // A keeper that was killed before it had written its state has left these.
        let group = cgroup::Group::of(self.id())?;
        group.kill().and_then(|()| group.remove())?;
        let _ = networks::forget(&self.record.spec, &self.dir, &self.run);
        self.record_loss("the machine was restarted, or its keeper lost").map(Status::Exited)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.dir.join("exit.json").exists()
    }

    fn has_run(&self) -> bool {
        self.dir.join("log").exists()
    }

    /// Whether its name is still its own: it may have been removed, and another made, since we read
    /// its record.
    pub(crate) fn is_current(&self) -> Result<bool> {
        self.current().map(|record| record.is_some())
    }

    /// What is written of it now, unless its name is not its own any more. Only under its lock does
    /// that stay so.
    pub(crate) fn current(&self) -> Result<Option<Record>> {
        let record = disk::read_json::<Record>(&self.dir.join("container.json"))?;
        Ok(record.filter(|record| record.spec.id == self.id()))
    }

    fn ended(&self) -> Result<Option<Ended>> {
        disk::read_json(&self.dir.join("exit.json"))
    }

    /// Ends what a killed keeper left behind, as far as the kernel has not done it already.
    fn end_lost(&self, state: &Running, this_boot: bool) -> Result<Ended> {
        let mut note = "the machine was restarted";
        if this_boot {
            note = "its keeper was lost";
            kill_and_wait(state.first.open(), Duration::from_secs(5));
            if let Some(group) = &state.group {
                group
                    .kill()
                    .and_then(|()| group.remove())
                    .doing(|| format!("ending container {}", self.name()))?;
            }
            if let Some(connected) = &state.network {
                // What stays bears its id: `tsubo gc` finds it.
                let _ = networks::disconnect(connected);
            }
            networks::pasta::disconnect(&self.run)?;
        }
        // What stays is noted: `tsubo gc` tries again, and says what is in the way.
        let _ = self.take_back_from_others();
        let ended = self.record_loss(note)?;
        self.forgive();
        remove_tree(&self.run)?;
        Ok(ended)
    }

    /// What it was promised is anybody's again.
    fn forgive(&self) {
        if !self.record.spec.promised().is_empty() {
            // What stays is found by whoever would be refused because of it.
            let _ = Ledger::beside(&self.run).release(self.id());
        }
    }

    fn record_loss(&self, note: &str) -> Result<Ended> {
        let ended = Ended { code: 137, note: Some(note.to_owned()), ..Ended::default() };
        // On a disk that is full it cannot be written: the next look finds the same once more.
        let _ = disk::write_json(&self.dir.join("exit.json"), &ended, Durable::No);
        Ok(ended)
    }

    /// Puts right what killed commands and keepers left; false if nothing of it remains.
    pub(crate) fn mend(&self) -> Result<bool> {
        match self.status()? {
            Status::Running(_) => Ok(true),
            Status::Created if self.record.life.standing => Ok(true),
            Status::Exited(_) if !self.record.remove => Ok(true),
            // Ended but still there: its keeper was to remove it, and may be about to. Created but
            // not started: whoever was at it holds the lock.
            _ => {
                let Some(lock) = Lock::try_take(&self.dir)? else { return Ok(self.dir.is_dir()) };
                if !self.is_current()? {
                    return Ok(false);
                }
                // It may have been started, and even have ended, before we had the lock.
                if self.keeper().is_some() || self.has_run() && !self.record.remove {
                    return Ok(true);
                }
                self.remove_all()?;
                lock.discard();
                Ok(false)
            }
        }
    }

    pub(crate) fn keeper(&self) -> Option<OwnedFd> {
        disk::read_json::<Running>(&self.run.join(STATE)).ok()??.keeper.open()
    }

    pub(crate) fn running(&self) -> Result<Running> {
        match self.status()? {
            Status::Running(state) => Ok(state),
            other => {
                let error =
                    Error::conflict(format!("container {} is not running: {}", self.name(), other.word()));
                Err(error.hint(format!("start it: tsubo start {}", self.name())))
            }
        }
    }

    /// Sends a signal to its first process. What ends it by force ends it for good, whatever its
    /// restart policy says.
    pub fn kill(&self, signo: i32) -> Result<()> {
        let state = self.running()?;
        let ends = signo == KILL || signo == self.record.spec.stop_signal;
        if ends {
            self.quit()?;
        }
        let first = match state.first.open() {
            Some(first) => first,
            None if ends && state.resting => return Ok(()),
            None => return Err(Error::conflict(format!("container {} has just ended", self.name()))),
        };
        self.signal(&first, signo)?;
        self.tell(What::Kill { signal: signo });
        match &state.group {
            // Only then does one that is held on version 1 hear of it.
            Some(group) if signo == KILL => group.thaw(),
            _ => Ok(()),
        }
    }

    /// Its keeper shall not start it again.
    fn quit(&self) -> Result<()> {
        // Its policy may have been changed since it was found. Where nothing is written here, as
        // after a renaming, its keeper knows.
        match self.current() {
            // With hooks it matters whether it was asked to end.
            Ok(Some(record)) if record.life.restart == Restart::No && record.spec.hooks.is_none() => Ok(()),
            _ => self.order(&Request::Quit).or_else(|error| match self.keeper() {
                // It has ended by itself meanwhile.
                None => Ok(()),
                Some(_) => Err(error),
            }),
        }
    }

    /// Asks it to stop, kills it after `timeout`, and returns when it has ended and is cleaned up.
    pub fn stop(&self, timeout: Duration) -> Result<()> {
        let first = self.running()?.first.pid;
        // Before it is locked: what they do to it would wait for that.
        hooks::before(&self.owner("running", Some(first)), Event::Stop, &Detail::new())?;
        let _lock = Lock::take(&self.dir, self.name())?;
        let state = self.running()?;
        self.quit()?;
        if let Some(group) = &state.group {
            group.thaw()?;
        }
        if let Some(first) = state.first.open() {
            let asks = listens_to(state.first.pid, self.record.spec.stop_signal);
            if asks && self.signal(&first, self.record.spec.stop_signal).is_ok() {
                ends_within(&first, timeout);
            }
        }
        self.end(&state)?;
        self.tell(What::Stop);
        Ok(())
    }

    fn end(&self, state: &Running) -> Result<()> {
        let keeper = state.keeper.find()?;
        if let (Some(first), Some(group)) = (state.first.find()?, &state.group) {
            // It may be held, and on version 1 hears of nothing then.
            let _ = self.signal(&first, KILL).map(|()| group.thaw());
        }
        if let Some(first) = state.first.find()? {
            // It may have ended by itself; whether it has is seen by waiting.
            let _ = self.signal(&first, KILL);
            ends_within(&first, CLEANUP);
        }
        match keeper {
            Some(keeper) if !ends_within(&keeper, CLEANUP) => Err(Error::internal(format!(
                "the keeper of container {} (process {}) does not finish",
                self.name(),
                state.keeper.pid
            ))),
            _ => Ok(()),
        }
    }

    /// Removes it with its logs, not with its volumes; with `force` a running one is killed first.
    pub fn remove(&self, force: bool) -> Result<()> {
        if !force {
            hooks::before(&self.owner("stopped", None), Event::Cleanup, &Detail::new())?;
        }
        let lock = match &self.lock {
            Some(_) => None,
            None => Some(Lock::take(&self.dir, self.name())?),
        };
        if !self.is_current()? {
            return Ok(());
        }
        match self.status()? {
            Status::Running(state) if force => {
                if self.quit().is_err() {
                    // With a keeper that does not answer its container goes too.
                    kill_and_wait(state.keeper.open(), CLEANUP);
                }
                self.end(&state)?;
            }
            Status::Running(_) => {
                return Err(Error::conflict(format!("container {} is running", self.name()))
                    .hint(format!("stop it first, or use tsubo rm -f {}", self.name())));
            }
            _ => {}
        }
        self.remove_all()?;
        lock.into_iter().for_each(Lock::discard);
        hooks::after(&self.owner("removed", None), Event::Cleanup, &Detail::new());
        Ok(())
    }

    fn remove_all(&self) -> Result<()> {
        let group = cgroup::Group::of(self.id())?;
        group.kill().and_then(|()| group.remove())?;
        networks::pasta::disconnect(&self.run)?;
        let others = self.take_back_from_others();
        remove_tree(&self.run)?;
        disk::retire(&self.dir)?;
        Networks::around(&self.dir, &self.run).release(&self.record.spec);
        self.tell(What::Destroy);
        others
    }

    fn take_back_from_others(&self) -> Result<()> {
        networks::foreign::disconnect(&Networks::around(&self.dir, &self.run), self.id(), None)
    }

    /// Its log from the oldest line on.
    pub fn logs(&self) -> log::Reader {
        log::Reader::new(&self.dir)
    }

    /// What comes into its log from now on.
    ///
    /// # Errors
    /// When the log that there is cannot be opened.
    pub fn logs_from_now(&self) -> Result<log::Reader> {
        log::Reader::from_now(&self.dir)
    }

    /// Follows its log: calls `each` for every line until it has ended or `each` says false.
    pub fn follow(&self, each: &mut dyn FnMut(&log::Line) -> bool) -> Result<()> {
        let mut reader = self.logs();
        let mut last_look = false;
        loop {
            while let Some(line) = reader.next_line()? {
                if !each(&line) {
                    return Ok(());
                }
            }
            if last_look {
                return Ok(());
            }
            last_look = !self.dir.is_dir() || !self.status()?.is_running();
            if !last_look {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Waits for its end; returns its exit code.
    pub fn wait(&self) -> Result<i32> {
        match self.status()? {
            Status::Exited(ended) => Ok(ended.code),
            Status::Created if self.record.life.standing => {
                Err(Error::conflict(format!("container {} was never started", self.name()))
                    .hint(format!("start it: tsubo start {}", self.name())))
            }
            _ => crate::client::wait(&self.run).or_else(|error| match self.ended()? {
                Some(ended) => Ok(ended.code),
                None => Err(self.unless_ended(error)),
            }),
        }
    }

    /// Waits a moment for the state that a keeper writes.
    pub(crate) fn await_running(&self, patience: Duration) -> Result<Running> {
        let deadline = Instant::now() + patience;
        loop {
            match self.status()? {
                Status::Created if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                _ => return self.running(),
            }
        }
    }
}

pub(crate) fn kill_and_wait(process: Option<OwnedFd>, patience: Duration) {
    let Some(process) = process else { return };
    // It may have ended by itself; whether it has is seen by waiting.
    let _ = sys::process::send_signal(process.as_fd(), 9);
    ends_within(&process, patience);
}

/// Whether a signal does anything: the kernel does not deliver to a process 1 what it neither
/// catches nor blocks, so there would be nothing to wait for.
pub fn listens_to(pid: i32, signo: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let bit = 1_u64.checked_shl(signo.unsigned_abs().saturating_sub(1)).unwrap_or(0);
    match (set("SigCgt:"), set("SigBlk:")) {
        (Some(caught), Some(blocked)) => (caught | blocked) & bit != 0,
        _ => true,
    }
}

/// What `tsubo ps` and `inspect` show besides the record, in milliseconds since 1970.
impl Running {
    /// How long it has been running.
    pub fn age(&self) -> Duration {
        Duration::from_millis(record::now().saturating_sub(self.started))
    }
}
