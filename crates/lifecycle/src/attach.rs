//! Looking on from a terminal, and typing.

use std::time::Duration;

use spec::Result;
use spec::protocol::Request;

use crate::client::Client;
use crate::container::Container;
use crate::session::Session;

impl Container {
    /// Takes part in what it says from now on, and with `input` in what it is told. Closing the
    /// session does not end it, and the end of our input is not the end of its own.
    ///
    /// # Errors
    /// Conflict if it does not run.
    pub fn take_part(&self, input: bool) -> Result<Session> {
        let state = self.await_running(Duration::from_secs(5))?;
        let connected = Client::connect(self.run_dir()).and_then(|client| {
            client.send(&Request::Attach)?;
            Ok(client)
        });
        let client = connected.map_err(|error| self.unless_ended(error))?;
        let terminal = self.record().spec.process.terminal;
        if let (true, true, Some((rows, columns))) = (terminal, input, crate::terminal::size()) {
            // A size that changes makes programs draw anew.
            client.send(&Request::Resize { rows: rows.saturating_add(1), columns })?;
            client.send(&Request::Resize { rows, columns })?;
        }
        let input = input && self.record().life.input;
        Ok(Session::new(client, state.first.pid, terminal, input, None).keeps_input_open())
    }
}
