//! Starting a container that was created before, or has ended: the same spec, the same name; its
//! log goes on.

use spec::hooks::Event;
use spec::life::Restart;
use spec::{Error, Result};

use crate::container::Container;
use crate::disk::{self, Durable};
use crate::events::What;
use crate::hooks::{self, Detail};
use crate::launch::{Launch, give_up};
use crate::lock::Lock;
use crate::record::{Ended, Record, Status, VERSION, now};
use crate::session::Session;
use crate::spare::Spare;

impl Container {
    /// Starts it once more. Whatever fails, it stays, and [`Ended::note`] tells why.
    ///
    /// # Errors
    /// Conflict if it runs; whatever keeps it from starting.
    pub fn start_again(&self, launch: Launch) -> Result<Session> {
        self.start_once_more(launch, None)
    }

    /// With a keeper that has made all that it takes, if there is one.
    pub(crate) fn start_once_more(&self, launch: Launch, spare: Option<Spare>) -> Result<Session> {
        match self.may_start(spare.is_none()) {
            Ok((current, lock)) => self.noted(current.start_keeper(launch, spare, Some(&lock))),
            Err(refused) => {
                spare.into_iter().for_each(give_up);
                Err(refused)
            }
        }
    }

    /// It as it is written now, under its lock, if nothing keeps it from starting; with `anew`, what a
    /// keeper that was killed has left goes.
    fn may_start(&self, anew: bool) -> Result<(Self, Lock)> {
        if !self.status()?.is_running() {
            // Before it is locked: what they do to it would wait for that.
            self.ask_start()?;
        }
        let lock = Lock::take(self.dir(), self.name())?;
        let current = self.as_written()?;
        if let Status::Running(_) = current.status()? {
            return Err(Error::conflict(format!("container {} is running already", self.name())));
        }
        if anew {
            // It would be in the way.
            cgroup::Group::of(self.id())?.end()?;
        }
        Ok((current, lock))
    }

    /// Somebody may have changed it since it was found.
    pub(crate) fn as_written(&self) -> Result<Self> {
        let mut record = self.must_be_current()?;
        record.spec.name = self.name().clone();
        Ok(Self::new(record, self.dir().to_owned(), self.run_dir().to_owned(), None))
    }

    /// A failure is its end.
    fn noted(&self, started: Result<Session>) -> Result<Session> {
        if let Err(error) = &started {
            let code = i32::from(error.kind().exit_code());
            let ended = Ended { code, finished: now(), note: Some(error.chain()), ..Ended::default() };
            // The failure of the start is the one to tell.
            let _ = disk::write_json(&self.dir().join("exit.json"), &ended, Durable::No);
        }
        started
    }

    /// Ends it, if it runs, as [`stop`](Self::stop) does, and starts it again.
    ///
    /// # Errors
    /// As both of these.
    pub fn restart(&self, timeout: std::time::Duration, launch: Launch) -> Result<Session> {
        hooks::before(&self.owner("running", None), Event::Restart, &Detail::new())?;
        match self.stop(timeout) {
            Err(_) if !self.status()?.is_running() => {}
            stopped => stopped?,
        }
        self.tell(What::Restart { times: None });
        let session = self.start_again(launch)?;
        hooks::after(&self.owner("running", Some(session.pid())), Event::Restart, &Detail::new());
        Ok(session)
    }

    /// Whether its policy asks for it to be started now that the machine, or its keeper, was lost.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_due(&self) -> Result<bool> {
        let policy: Restart = self.record().life.restart;
        Ok(match self.status()? {
            Status::Exited(ended) => policy.after_reboot(ended.code, ended.stopped),
            Status::Created | Status::Running(_) => false,
        })
    }

    /// What is written of it now, for those who start it or write it anew.
    ///
    /// # Errors
    /// Not found if it has gone; unsupported if there is more to it than we know: what we leave out
    /// may be what confines it.
    pub(crate) fn must_be_current(&self) -> Result<Record> {
        let name = self.name();
        let gone = || Error::not_found(format!("container {name} has just been removed or renamed"));
        let record = self.current()?.ok_or_else(gone)?;
        if record.version > VERSION {
            let error = format!("container {name} was made by a later version of tsubo");
            return Err(Error::unsupported(error)
                .hint(format!("use that one; this one can stop it, and remove it: tsubo rm -f {name}")));
        }
        Ok(record)
    }
}
