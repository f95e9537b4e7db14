//! What timed commands say on stderr: told when one fails, else kept from the terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek};
use std::process::Stdio;

use crate::shell::Result;

/// How much of it is told.
const ENOUGH: u64 = 2000;

/// A file without a name. No pipe: what a command leaves running would hold it open.
pub(super) struct Complaints(File);

impl Complaints {
    pub(super) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("x-timer-{}", std::process::id()));
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self(file))
    }

    /// For the next command; what others said is forgotten.
    pub(super) fn fresh(&self) -> Result<Stdio> {
        self.0.set_len(0)?;
        self.more()
    }

    /// For one more beside others.
    pub(super) fn more(&self) -> Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// The beginning of what was said.
    pub(super) fn told(&self) -> String {
        let mut bytes = Vec::new();
        let mut file = &self.0;
        let read = file.rewind().and_then(|()| file.take(ENOUGH).read_to_end(&mut bytes));
        read.map_or_else(|e| e.to_string(), |_| String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }
}
