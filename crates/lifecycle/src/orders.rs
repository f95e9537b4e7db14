//! What is asked of the keeper of a running container.

use std::time::Duration;

use spec::protocol::{Reply, Request};
use spec::{Error, Result};

use crate::client::Client;
use crate::container::Container;
use crate::events::What;

/// How long a keeper may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Holds all its processes until [`unpause`](Self::unpause).
    ///
    /// # Errors
    /// Conflict if it does not run, or is held already.
    pub fn pause(&self) -> Result<()> {
        self.running()?;
        self.order(&Request::Pause)
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// Conflict if they do.
    pub fn unpause(&self) -> Result<()> {
        self.running()?;
        self.order(&Request::Unpause)
    }

    /// Writes an event about it.
    pub(crate) fn tell(&self, what: What) {
        self.subject().tell(what);
    }

    /// Sends one request to its keeper, and waits for that to be done.
    pub(crate) fn order(&self, request: &Request) -> Result<()> {
        let mut client = Client::connect_within(self.run_dir(), Some(PATIENCE))?;
        client.send(request)?;
        match client.receive()? {
            Some(Reply::Done) => Ok(()),
            Some(Reply::Failed(failure)) => Err(failure.into()),
            Some(other) => Err(Error::internal(format!("the container's keeper answers {other:?}"))),
            None => Err(Error::conflict(format!("container {} has just ended", self.name()))
                .hint("a keeper of an older version answers nothing: start the container anew")),
        }
    }
}
