//! What is asked of the keeper of a running container.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use spec::protocol::{Reply, Request};
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::client::Client;
use crate::container::Container;
use crate::events::What;
use crate::pinned::ends_within;
use crate::rootless;

/// How long a keeper may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one may take to end when it has closed its connections.
const MOMENT: Duration = Duration::from_millis(200);

impl Container {
    /// Holds all its processes until [`unpause`](Self::unpause).
    ///
    /// # Errors
    /// Conflict if it does not run, or is held already.
    pub fn pause(&self) -> Result<()> {
        if self.running()?.group.is_none() {
            let why = "the container has no control groups, so its processes cannot be held";
            return Err(Error::unsupported(why)
                .hint("tsubo stop ends it; an ordinary user has groups where the host delegates some to him, or with sudo"));
        }
        self.order(&Request::Pause)
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// Conflict if they do.
    pub fn unpause(&self) -> Result<()> {
        // Somebody may be waiting for it: why it does not answer is looked at where it does not.
        self.order(&Request::Unpause).or_else(|error| self.running().and(Err(error)))
    }

    /// Has its keeper do the hooks of a signal.
    ///
    /// # Errors
    /// Conflict if it does not run; not found if it has none for this signal.
    pub fn fire(&self, signal: i32) -> Result<()> {
        self.running()?;
        self.order(&Request::Fire { signal })
    }

    /// Signals its first process. Each command of an ordinary user has a user namespace of its own, from
    /// which one who is not root in the container's is a stranger: to that its keeper passes it on.
    pub(crate) fn signal(&self, first: impl AsFd, signo: i32) -> Result<()> {
        let doing = || format!("sending signal {signo} to container {}", self.name());
        match sys::process::send_signal(first.as_fd(), signo) {
            Err(Errno::PERM) if rootless::inside() => self.signal_by_keeper(signo).doing(doing),
            sent => sent.map_err(std::io::Error::from).doing(doing),
        }
    }

    fn signal_by_keeper(&self, signo: i32) -> Result<()> {
        let mut client = Client::connect_within(self.run_dir(), Some(PATIENCE))?;
        client.send(&Request::Attach)?;
        client.send(&Request::Signal { number: signo })?;
        // It closes when it has read all of that.
        client.shut()?;
        while let Some(reply) = client.receive()? {
            match reply {
                Reply::Failed(failure) => return Err(failure.into()),
                Reply::Exit { .. } => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes an event about it.
    pub(crate) fn tell(&self, what: What) {
        self.subject().tell(what);
    }

    /// Sends one request to its keeper, and waits for that to be done.
    pub(crate) fn order(&self, request: &Request) -> Result<()> {
        let ask = || {
            let mut client = Client::ask_within(self.run_dir(), request, PATIENCE)?;
            client.receive()
        };
        match ask().map_err(|error| self.unless_ended(error))? {
            Some(Reply::Done) => Ok(()),
            Some(Reply::Failed(failure)) => Err(failure.into()),
            Some(Reply::Exit { .. }) => Err(self.just_ended()),
            Some(other) => Err(Error::internal(format!("the container's keeper answers {other:?}"))),
            None => Err(self.unanswered()),
        }
    }

    /// What is told when its keeper has closed instead of answering: the container has ended, and
    /// the keeper with it, or that does not know the question.
    pub(crate) fn unanswered(&self) -> Error {
        let error = Error::conflict("its keeper does not know what it is asked for");
        self.unless_ended(error.hint(
            "it may be of an older version: use the tsubo that started the container, or start it anew",
        ))
    }

    /// What is told when its keeper could not be reached: mostly that has ended just then.
    pub(crate) fn unless_ended(&self, error: Error) -> Error {
        let name = self.name();
        // One that speaks another language is there.
        let moment = if error.kind() == ErrorKind::Unsupported { Duration::ZERO } else { MOMENT };
        match self.keeper() {
            Some(keeper) if !ends_within(&keeper, moment) => error.context(format!("container {name}")),
            _ => self.just_ended(),
        }
    }

    pub(crate) fn just_ended(&self) -> Error {
        Error::conflict(format!("container {} has just ended", self.name()))
    }
}
