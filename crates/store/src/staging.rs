//! Directories for what is not finished. Each is locked by its owner for as long as it lives, so
//! that what a killed process left is told apart from what is being written.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// A directory of our own, removed when dropped.
pub(crate) struct Staging {
    pub(crate) path: PathBuf,
    pub(crate) fd: OwnedFd,
}

impl Staging {
    /// A new one in `tmp`.
    pub(crate) fn new(tmp: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let _guard = guard(tmp)?;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = tmp.join(format!("{}-{count}", std::process::id()));
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => {
                    let fd = directory(&path)?;
                    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
                    return Ok(Self { path, fd });
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is collected by the next process that opens the store.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes what dead processes left in `tmp`; true if there was anything.
pub(crate) fn collect(tmp: &Path) -> io::Result<bool> {
    let mut found = false;
    if std::fs::read_dir(tmp)?.next().is_none() {
        return Ok(false);
    }
    let _guard = guard(tmp)?;
    for entry in std::fs::read_dir(tmp)? {
        let path = entry?.path();
        let dead = match directory(&path) {
            Ok(fd) => rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok(),
            // Finished between the listing and now.
            Err(_) => false,
        };
        if dead {
            std::fs::remove_dir_all(&path)?;
            found = true;
        }
    }
    Ok(found)
}

/// Between making a directory and locking it nobody may look.
fn guard(tmp: &Path) -> io::Result<OwnedFd> {
    let fd = directory(tmp)?;
    rustix::fs::flock(&fd, FlockOperation::LockExclusive)?;
    Ok(fd)
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Writes a file so that it is either there as a whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let spare = path.with_extension(format!("{}-{count}.new", std::process::id()));
    let written = File::create(&spare).and_then(|mut file| io::Write::write_all(&mut file, bytes));
    written.and_then(|()| std::fs::rename(&spare, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&spare);
    })
}
