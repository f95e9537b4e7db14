//! A network namespace that is made while its container is prepared.
//!
//! It takes the kernel longer than all other namespaces together.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{Builder, JoinHandle};

use rustix::fs::{CWD, Mode, OFlags};

/// As much stack as a few calls need.
const STACK: usize = 64 << 10;

/// One on its way, or there; used if the plan makes one with its process.
#[derive(Debug)]
pub struct EarlyNetwork(Stage);

#[derive(Debug)]
enum Stage {
    Making(JoinHandle<io::Result<OwnedFd>>),
    Made(OwnedFd),
}

impl EarlyNetwork {
    /// Begins to make one that belongs to the caller's users, its loopback device up. None where that
    /// cannot be: then it is made with the process.
    pub fn begin() -> Option<Self> {
        Builder::new().stack_size(STACK).spawn(make).ok().map(|thread| Self(Stage::Making(thread)))
    }

    /// One that is there, and belongs to the caller's users; its loopback device is up.
    ///
    /// # Errors
    /// Where the kernel makes none.
    pub fn make() -> io::Result<Self> {
        let thread = Builder::new().stack_size(STACK).spawn(make)?;
        thread
            .join()
            .map_err(|_| io::Error::other("the thread has died"))?
            .map(|file| Self(Stage::Made(file)))
    }

    /// The one that is there.
    pub fn made(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Stage::Made(file) => Some(file.as_fd()),
            Stage::Making(_) => None,
        }
    }

    /// Waits for it; the thread that made it has ended.
    pub(crate) fn end(self) -> Option<OwnedFd> {
        match self.0 {
            Stage::Making(thread) => thread.join().ok()?.ok(),
            Stage::Made(file) => Some(file),
        }
    }
}

fn make() -> io::Result<OwnedFd> {
    sys::namespace::unshare(sys::namespace::NET)?;
    sys::loopback::bring_up()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", flags, Mode::empty())?)
}
