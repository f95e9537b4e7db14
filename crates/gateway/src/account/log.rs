//! The access log: lines are gathered in memory and written together.
//!
//! Who serves requests does not wait for a disk. What cannot be written is kept for a while, then lost line by
//! line, and counted; a line that was begun is always finished, so that no two become one.

use std::fs::{File, OpenOptions, rename};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use spec::{Error, Result};

use super::line::{Entry, Format};

/// So much is written at once.
const ENOUGH: usize = 64 << 10;

/// And so much is kept while nothing can be written.
const MOST: usize = 1 << 20;

/// A log and its file.
#[derive(Debug)]
pub struct AccessLog {
    path: PathBuf,
    format: Format,
    bound: Option<u64>,
    file: File,
    size: u64,
    lines: Vec<u8>,
    /// The beginning of the first line is in the file already.
    torn: bool,
    /// The file took less than it was given.
    stuck: bool,
    lost: u64,
}

impl AccessLog {
    /// Opens it, and makes it where there is none. A file that has reached `bound` bytes becomes `PATH.1`, in the
    /// place of the one that was; none: it grows, and others see to that.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path, format: Format, bound: Option<u64>) -> Result<Self> {
        let (file, size) = open(path)?;
        let path = path.to_owned();
        Ok(Self { path, format, bound, file, size, lines: Vec::new(), torn: false, stuck: false, lost: 0 })
    }

    /// One more line.
    pub fn note(&mut self, entry: &Entry<'_>) {
        if self.lines.len() >= MOST {
            self.lost += 1;
            return;
        }
        entry.write(self.format, &mut self.lines);
        if self.lines.len() >= ENOUGH && !self.stuck {
            self.flush();
        }
    }

    /// Writes what there is: to be called a few times each second. What the file does not take waits for the
    /// next time.
    pub fn flush(&mut self) {
        if self.lines.is_empty() || !self.has_room() {
            return;
        }
        let mut written = 0;
        while written < self.lines.len() {
            match self.file.write(&self.lines[written..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(count) => written += count,
            }
        }
        self.size += written as u64;
        self.stuck = written < self.lines.len();
        if written > 0 {
            self.torn = self.lines[written - 1] != b'\n';
        }
        self.lines.drain(..written);
        self.lines.shrink_to(ENOUGH * 2);
    }

    /// Begins the file of this name anew: whoever rotates logs has renamed the one that was.
    ///
    /// # Errors
    /// Where it cannot be opened: the one that was is written on.
    pub fn reopen(&mut self) -> Result<()> {
        self.flush();
        (self.file, self.size) = open(&self.path)?;
        if self.torn {
            let end = self.lines.iter().position(|byte| *byte == b'\n').map_or(self.lines.len(), |at| at + 1);
            self.lines.drain(..end);
            (self.torn, self.lost) = (false, self.lost + 1);
        }
        self.stuck = false;
        Ok(())
    }

    /// How many lines could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether the file takes what there is without growing beyond its bound; where not, it becomes the old one. What
    /// cannot become that does not grow either.
    fn has_room(&mut self) -> bool {
        let full = |bound: u64| self.size > 0 && self.size + self.lines.len() as u64 > bound;
        if self.torn || !self.bound.is_some_and(full) {
            return true;
        }
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        let turned = rename(&self.path, old).map_err(|_| ()).and_then(|()| open(&self.path).map_err(|_| ()));
        self.stuck = turned.is_err();
        if let Ok((file, size)) = turned {
            (self.file, self.size) = (file, size);
        }
        !self.stuck
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A pipe that nobody empties is not waited for either.
fn open(path: &Path) -> Result<(File, u64)> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o640).custom_flags(flags).open(path);
    let file = file.map_err(|cause| {
        Error::io(format!("opening the access log {}", path.display()), cause)
            .hint("name a file in a directory that exists, as in access_log = \"/var/log/tsubo-access.log\"")
    })?;
    let size = file.metadata().map(|data| data.len()).unwrap_or(0);
    Ok((file, size))
}

#[cfg(test)]
mod tests;
