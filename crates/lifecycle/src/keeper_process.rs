//! The keeper of a container that this process has started: a child of ours, which somebody must reap.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use spec::{Result, ResultExt};

/// A keeper. It goes on when this is dropped, and is the child of whoever began it for as long as that
/// lives: one who begins many, and lives long, reaps each of them.
#[derive(Debug)]
pub struct KeeperProcess {
    pid: i32,
    pidfd: OwnedFd,
}

impl KeeperProcess {
    pub(crate) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd }
    }

    /// Its number on the host.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Reaps it if it has ended, and waits for nothing; whether it has. By then its container is
    /// cleaned up, and its record says how that ended.
    ///
    /// # Errors
    /// What the kernel says: somebody else may have reaped it.
    pub fn reap(&self) -> Result<bool> {
        let reaped = sys::process::reap(self.pid, false).map_err(std::io::Error::from);
        Ok(reaped.doing(|| "reaping the container's keeper")?.is_some())
    }

    pub(crate) fn kill(&self) {
        // Whether it had ended already is seen by waiting.
        let _ = sys::process::send_signal(self.pidfd.as_fd(), 9);
    }

    /// Waits for its end; returns its exit code.
    pub(crate) fn wait(&self) -> Result<i32> {
        let reap = || sys::process::reap(self.pid, true);
        let ended = rustix::io::retry_on_intr(reap).map_err(std::io::Error::from);
        let ended = ended.doing(|| "waiting for the container's keeper")?;
        Ok(ended.map_or(0, |(_, code)| code))
    }
}

/// Its pidfd, which can be read from (poll) once it has ended.
impl AsFd for KeeperProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
