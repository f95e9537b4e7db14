//! One command at a time on one container.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use spec::{Error, Name, Result, ResultExt};

/// How long a command waits for another to finish before it gives up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Held while a command changes a container; ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the container in `dir`, waiting a moment for whoever has it.
    pub(crate) fn take(dir: &Path, name: &Name) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Self::try_take(dir)? {
                return Ok(lock);
            }
            if Instant::now() > deadline {
                return Err(busy(dir, name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes it if nobody has it.
    pub(crate) fn try_take(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("lock");
        let doing = || format!("locking {}", dir.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).doing(doing)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result.map_err(std::io::Error::from).doing(doing)?,
        }
        // Whoever had it may have removed the container, and a new one has this name by now.
        let held = file.metadata().doing(doing)?.ino();
        if std::fs::metadata(&path).map_or(0, |meta| meta.ino()) != held {
            return Ok(None);
        }
        // For the message to whoever comes second; not worth failing for on a full disk.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Some(Self { _file: file }))
    }
}

fn busy(dir: &Path, name: &Name) -> Error {
    let mut holder = String::new();
    let _ = File::open(dir.join("lock")).and_then(|file| file.take(20).read_to_string(&mut holder));
    let by = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
    Error::conflict(format!("another command is working on container {name}{by}"))
        .hint("try again when it has finished")
}
