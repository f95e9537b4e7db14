//! More processes in a running container, with choices that its first has not.

use std::collections::BTreeSet;
use std::time::Duration;

use spec::container::Namespace;
use spec::protocol::{Reply, Request};
use spec::{Error, Result};

use crate::client::Client;
use crate::container::Container;
use crate::launch::Exec;
use crate::session::Session;
use crate::update::Limit;

/// Namespaces of the container that a process does not enter.
pub type Without = BTreeSet<Namespace>;

impl Container {
    /// Executes one more process in it, but not in the namespaces `without`, with limits of its own.
    ///
    /// # Errors
    /// Conflict if it does not run, or is paused; whatever keeps the command from being executed.
    pub fn exec_with(&self, exec: Exec, without: Without, limits: &[Limit]) -> Result<Session> {
        let (terminal, input) = (exec.terminal, exec.input);
        let (client, pid) = self.enter(exec, without, limits, false)?;
        Ok(Session::new(client, pid, terminal, input, None))
    }

    /// Likewise, for a process that nobody stays with; returns its number on the host.
    ///
    /// # Errors
    /// As [`exec_with`](Self::exec_with).
    pub fn exec_alone(&self, exec: Exec, without: Without, limits: &[Limit]) -> Result<i32> {
        Ok(self.enter(exec, without, limits, true)?.1)
    }

    fn enter(&self, exec: Exec, without: Without, limits: &[Limit], alone: bool) -> Result<(Client, i32)> {
        self.await_running(Duration::from_secs(5))?;
        let (terminal, input) = (exec.terminal, exec.input);
        let mut process = self.process(exec);
        for limit in limits {
            process.rlimits.retain(|(resource, ..)| *resource != limit.0);
            process.rlimits.push(*limit);
        }
        let size = crate::terminal::size().filter(|_| terminal);
        let ask = || {
            let mut client = Client::connect(self.run_dir())?;
            client.send(&Request::ExecWith { process, input, without, alone })?;
            if let Some((rows, columns)) = size {
                client.send(&Request::Resize { rows, columns })?;
            }
            client.receive().map(|reply| (client, reply))
        };
        let (client, reply) = ask().map_err(|error| self.unless_ended(error))?;
        match reply {
            Some(Reply::Started { pid }) => Ok((client, pid)),
            Some(Reply::Failed(failure)) => Err(failure.into()),
            Some(Reply::Exit { .. }) => Err(self.just_ended()),
            Some(other) => Err(Error::internal(format!("the container's keeper answers {other:?}"))),
            None => Err(self.unanswered()),
        }
    }
}
