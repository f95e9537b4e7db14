//! A container that is there.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lifecycle::Pinned;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use spec::oci::Status;
use spec::{Error, Result, ResultExt};

use crate::home::{Home, Id};
use crate::record::Record;

/// How long a command waits for another one on the same container.
const PATIENCE: Duration = Duration::from_secs(10);

/// PF_FORKNOEXEC: it has not executed a program since it was made.
const BEFORE_EXEC: u64 = 0x40;

/// It, and what is kept of it.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its id.
    pub(crate) id: Id,
    /// Its directory.
    pub(crate) place: PathBuf,
    /// What is kept.
    pub(crate) record: Record,
}

/// What engines look for.
pub(crate) fn missing(id: &Id) -> Error {
    Error::not_found(format!("container does not exist: {}", id.as_str())).hint("list tells which there are")
}

/// Likewise.
pub(crate) fn not_running() -> Error {
    Error::conflict("container not running")
}

impl Container {
    /// By its id.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn open(home: &Home, id: &str) -> Result<Self> {
        let id = Id::parse(id)?;
        Self::find(home, &id)?.ok_or_else(|| missing(&id))
    }

    /// None where there is none, or half of one.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn find(home: &Home, id: &Id) -> Result<Option<Self>> {
        let place = home.place(id);
        let record = Record::read(&place)?;
        Ok(record.map(|record| Self { id: id.clone(), place, record }))
    }

    /// Its first process, if that runs: it cannot be another one by then.
    pub(crate) fn init(&self) -> Option<OwnedFd> {
        self.record.init.and_then(Pinned::open)
    }

    /// How it is, as the kernel knows it.
    ///
    /// # Errors
    /// Where it cannot be looked at, for lack of descriptors or memory: that is no end.
    pub(crate) fn status(&self) -> Result<Status> {
        let about = self.record.init.map(look).transpose()?.flatten();
        Ok(match about {
            None => Status::Stopped,
            Some(About { before_exec: true }) if !self.record.restored => Status::Created,
            Some(_) if self.record.groups.is_frozen() => Status::Paused,
            Some(_) => Status::Running,
        })
    }

    /// Its first process, which has to run.
    ///
    /// # Errors
    /// Where it does not.
    pub(crate) fn running(&self) -> Result<OwnedFd> {
        self.record.init.map(Pinned::find).transpose()?.flatten().ok_or_else(not_running)
    }
}

/// In the words of the specification.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Stopped => "stopped",
        Status::Paused => "paused",
    }
}

struct About {
    before_exec: bool,
}

/// None for one that has ended, or is another.
fn look(process: Pinned) -> Result<Option<About>> {
    match std::fs::read(format!("/proc/{}/stat", process.pid)) {
        Ok(stat) => Ok(about(process, &stat)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // It ended while it was read.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error).doing(|| format!("looking at process {}", process.pid)),
    }
}

fn about(process: Pinned, stat: &[u8]) -> Option<About> {
    // The name in field 2 may hold anything.
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let text = String::from_utf8_lossy(&stat[after..]);
    let field = |number: usize| text.split(' ').nth(number - 2);
    let lives = !matches!(field(3)?, "Z" | "X");
    let same = field(22)?.parse() == Ok(process.start);
    let flags: u64 = field(9)?.parse().ok()?;
    (lives && same).then_some(About { before_exec: flags & BEFORE_EXEC != 0 })
}

/// Held while a command changes a container; ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _directory: File,
}

impl Lock {
    /// Takes that of the container in `place`; None where there is none any more.
    ///
    /// # Errors
    /// Where another command has it for long.
    pub(crate) fn take(place: &Path) -> Result<Option<Self>> {
        let deadline = Instant::now() + PATIENCE;
        let doing = || format!("locking {}", place.display());
        loop {
            let directory = match File::open(place) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                opened => opened.doing(doing)?,
            };
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if Instant::now() > deadline => {
                    return Err(Error::conflict("another command is working on this container")
                        .hint("try again when it has finished"));
                }
                Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
                taken => {
                    taken.map_err(std::io::Error::from).doing(doing)?;
                    // Whoever had it may have removed the directory, and there is a new one by now.
                    let number = |meta: std::io::Result<std::fs::Metadata>| meta.map(|meta| meta.ino()).ok();
                    if number(directory.metadata()) == number(std::fs::metadata(place)) {
                        return Ok(Some(Self { _directory: directory }));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_executed_a_program_is_told_from_one_that_has_not() {
        let own = Pinned::of(std::process::id() as i32).expect("self");
        let look = |process| look(process).expect("it can be looked at");
        assert!(!look(own).expect("it lives").before_exec);
        assert!(look(Pinned { start: own.start + 1, ..own }).is_none());
        let child = sys::process::fork_child(|| {
            std::thread::sleep(Duration::from_secs(20));
            0
        });
        let child = child.expect("a child");
        let about = look(Pinned::of(child).expect("child"));
        sys::process::kill(child, 9).expect("kill");
        sys::process::reap(child, true).expect("reap");
        assert!(about.expect("it lives").before_exec);
        assert!(Pinned::of(child).is_err());
    }
}
