//! A network namespace that is made while its container is prepared.
//!
//! It takes the kernel longer than all other namespaces together.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::{Builder, JoinHandle};

use rustix::fs::{CWD, Mode, OFlags};

/// As much stack as a few calls need.
const STACK: usize = 64 << 10;

/// One on its way; used if the plan makes one with its process.
#[derive(Debug)]
pub struct EarlyNetwork(JoinHandle<io::Result<OwnedFd>>);

impl EarlyNetwork {
    /// Begins to make one that belongs to the caller's users, its loopback device up. None where that
    /// cannot be: then it is made with the process.
    pub fn begin() -> Option<Self> {
        Builder::new().stack_size(STACK).spawn(make).ok().map(Self)
    }

    /// Waits for it; the thread that made it has ended.
    pub(crate) fn end(self) -> Option<OwnedFd> {
        self.0.join().ok()?.ok()
    }
}

fn make() -> io::Result<OwnedFd> {
    sys::namespace::unshare(sys::namespace::NET)?;
    sys::loopback::bring_up()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", flags, Mode::empty())?)
}
