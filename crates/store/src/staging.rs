//! Directories for what is not finished. Each is locked by its owner for as long as it lives, so
//! that what a killed process left is told apart from what is being written.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::objects::Objects;

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

impl Staging {
    /// Removes the image in it and the objects that only this one used; gives their number and
    /// bytes. The directory itself goes last: as long as it is there, the next process knows that
    /// there may be objects to collect.
    pub(crate) fn discard(&self, objects: &Objects) -> io::Result<(u64, u64)> {
        empty(&self.path)?;
        objects.collect()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is collected by the next process that opens the store.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes what dead processes left in `tmp`, and the objects that nobody uses any more.
pub(crate) fn collect(tmp: &Path, objects: &Objects) -> io::Result<()> {
    if std::fs::read_dir(tmp)?.next().is_none() {
        return Ok(());
    }
    let _guard = guard(tmp)?;
    let mut dead = Vec::new();
    for entry in std::fs::read_dir(tmp)? {
        let path = entry?.path();
        // One that cannot be opened was finished between the listing and now.
        let Ok(fd) = directory(&path) else { continue };
        if rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
            empty(&path)?;
            dead.push((path, fd));
        }
    }
    if !dead.is_empty() {
        objects.collect()?;
    }
    dead.iter().try_for_each(|(path, _)| unless_gone(std::fs::remove_dir(path)))
}

/// Removes everything in a directory of ours. Its owner may be just removing it too: a lock can be
/// had also on a directory that has no name any more.
fn empty(dir: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let directory = entry.file_type()?.is_dir();
        let remove = if directory { std::fs::remove_dir_all } else { std::fs::remove_file };
        unless_gone(remove(entry.path()))?;
    }
    Ok(())
}

/// What another process removed first is as good as removed.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
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
