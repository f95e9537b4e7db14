//! One command at a time on one container.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
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
    file: File,
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
        let file = open(&path).doing(doing)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result.map_err(std::io::Error::from).doing(doing)?,
        }
        // Whoever had it may have removed the file with the container, and there is a new one by now.
        let held = file.metadata().doing(doing)?.ino();
        if std::fs::metadata(&path).map_or(0, |meta| meta.ino()) != held {
            return Ok(None);
        }
        Ok(Some(Self { file, path }))
    }

    /// Gives it back with its file: there is no container of this name any more.
    pub(crate) fn discard(self) {
        // A file that stays is found again, and costs nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
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

/// Keeps two commands from changing one file of the state directory at once.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for it; `what` is the file's name without its kind.
    pub(crate) fn take(lib: &Path, what: &str) -> Result<Self> {
        Self::with(lib, what, FlockOperation::LockExclusive)
    }

    /// With others who only read.
    pub(crate) fn shared(lib: &Path, what: &str) -> Result<Self> {
        Self::with(lib, what, FlockOperation::LockShared)
    }

    fn with(lib: &Path, what: &str, how: FlockOperation) -> Result<Self> {
        let doing = || format!("locking the {what} of {}", lib.display());
        let file = open(&lib.join("locks").join(format!(".{what}"))).doing(doing)?;
        let lock = || rustix::fs::flock(&file, how);
        rustix::io::retry_on_intr(lock).map_err(std::io::Error::from).doing(doing)?;
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
    let by = holder(&file_of(dir)).map_or_else(String::new, |pid| format!(" (process {pid})"));
    Error::conflict(format!("another command is working on container {name}{by}"))
        .hint("try again when it has finished")
}

/// Who took the lock on a file, as the kernel lists it: a pid written into the file would cost
/// every start a write that a journal has to follow.
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let meta = std::fs::metadata(path).ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let inode = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    holder_in(&std::fs::read_to_string("/proc/locks").ok()?, &inode)
}

/// A line of /proc/locks: `1: FLOCK  ADVISORY  WRITE 4321 fe:00:1234 0 EOF`; those who wait have an
/// arrow in the second field.
fn holder_in(locks: &str, inode: &str) -> Option<u32> {
    let mut lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line.get(1) == Some(&"FLOCK") && line.get(5) == Some(&inode))?;
    line.get(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_who_has_a_lock() {
        let dir = scratch();
        let container = dir.join("containers/web");
        let lock = Lock::try_take(&container).expect("a lock").expect("nobody has it");
        assert_eq!(holder(&file_of(&container)), Some(std::process::id()));
        let error = busy(&container, &"web".parse().expect("name")).chain();
        lock.discard();
        assert_eq!(holder(&file_of(&container)), None);
        std::fs::remove_dir_all(dir).expect("clean");
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    }

    #[test]
    fn who_waits_has_no_lock() {
        let locks =
            "1: -> FLOCK  ADVISORY  WRITE 7 fe:00:12 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fe:00:12 0 EOF";
        assert_eq!(holder_in(locks, "fe:00:12"), Some(8));
        assert_eq!(holder_in(locks, "fe:00:1"), None);
    }

    fn scratch() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tsubo-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("dir");
        dir
    }
}
