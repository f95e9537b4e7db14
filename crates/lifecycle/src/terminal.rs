//! The caller's terminal.

use std::io::{IsTerminal, stdin};

use rustix::termios::{OptionalActions, Termios};
use spec::{Result, ResultExt};

/// Its rows and columns, if there is one.
pub fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// In raw mode for as long as this lives: every key goes to the container.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// None where input is no terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn enter() -> Result<Option<Self>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(stdin()).map_err(std::io::Error::from);
        let before = before.doing(|| "reading the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        let set =
            rustix::termios::tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(std::io::Error::from);
        set.doing(|| "setting the terminal's mode")?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = rustix::termios::tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
