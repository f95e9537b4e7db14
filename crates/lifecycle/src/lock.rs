//! One command at a time on one container.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
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
    path: PathBuf,
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
        let path = file_of(dir);
        let doing = || format!("locking {}", dir.display());
        let mut file = open(&path).doing(doing)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result.map_err(std::io::Error::from).doing(doing)?,
        }
        // Whoever had it may have removed the file with the container, and there is a new one by now.
        let held = file.metadata().doing(doing)?.ino();
        if std::fs::metadata(&path).map_or(0, |meta| meta.ino()) != held {
            return Ok(None);
        }
        // For the message to whoever comes second; not worth failing for on a full disk.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Some(Self { _file: file, path }))
    }

    /// Gives it back with its file: there is no container of this name any more.
    pub(crate) fn discard(self) {
        // A file that stays is found again, and costs nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Keeps images from being removed while containers are made on them.
#[derive(Debug)]
pub struct ImagesLock {
    _file: File,
}

impl ImagesLock {
    /// For making a container: any number may at once.
    pub(crate) fn shared(lib: &Path) -> Result<Self> {
        Self::take(lib, FlockOperation::LockShared)
    }

    /// For removing an image: waits until all that are being made have their record.
    pub(crate) fn exclusive(lib: &Path) -> Result<Self> {
        Self::take(lib, FlockOperation::LockExclusive)
    }

    fn take(lib: &Path, how: FlockOperation) -> Result<Self> {
        let doing = || format!("locking the images of {}", lib.display());
        let file = open(&lib.join("locks/.images")).doing(doing)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, how))
            .map_err(std::io::Error::from)
            .doing(doing)?;
        Ok(Self { _file: file })
    }
}

/// Beside the containers: a lock in a container's own directory could only be taken after that is
/// made, and would have to go before it is removed. No name begins with a dot, so that the locks of
/// development containers, which are in the same place, are others.
fn file_of(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let lib = dir.parent().and_then(Path::parent).unwrap_or(dir);
    lib.join("locks").join(format!(".container-{name}"))
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = path.parent().unwrap_or(path);
            DirBuilder::new().recursive(true).mode(0o700).create(above)?;
            options.open(path)
        }
        opened => opened,
    }
}

fn busy(dir: &Path, name: &Name) -> Error {
    let mut holder = String::new();
    let _ = File::open(file_of(dir)).and_then(|file| file.take(20).read_to_string(&mut holder));
    let by = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
    Error::conflict(format!("another command is working on container {name}{by}"))
        .hint("try again when it has finished")
}
