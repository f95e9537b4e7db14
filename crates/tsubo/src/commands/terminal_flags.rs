//! Flags of the verbs that keep a person's terminal for a process in a container.

use lifecycle::{Keys, Session};
use spec::Result;

/// How the terminal is left, and where signals go.
#[derive(Debug, Clone, clap::Args)]
pub struct TerminalFlags {
    /// Keys that leave it running and give the terminal back; empty for none [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<Keys>,

    /// Pass the signals that this command gets on to it
    #[arg(long, value_name = "true|false", default_value_t = true, num_args = 0..=1, default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    pub sig_proxy: bool,
}

impl Default for TerminalFlags {
    fn default() -> Self {
        Self { detach_keys: None, sig_proxy: true }
    }
}

impl TerminalFlags {
    /// A session as these flags want it.
    ///
    /// # Errors
    /// When the keeper has gone.
    pub fn apply(self, session: Session) -> Result<Session> {
        let session = session.detached_by(self.detach_keys.unwrap_or_default());
        if self.sig_proxy { Ok(session) } else { session.without_signals() }
    }
}
