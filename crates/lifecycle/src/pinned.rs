//! Process ids that cannot be mistaken: a number with its start time, or a pidfd.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use spec::{Error, Result, ResultExt};

/// A process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Its number on the host.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Pinned {
    /// The process with this number now.
    pub fn of(pid: i32) -> Result<Self> {
        let gone = || Error::not_found(format!("process {pid} is gone"));
        let start = start_time(pid).doing(|| format!("looking at process {pid}"))?;
        Ok(Self { pid, start: start.ok_or_else(gone)? })
    }

    /// A descriptor for it if it still runs (a zombie does not) and can be looked at.
    pub fn open(self) -> Option<OwnedFd> {
        self.find().ok().flatten()
    }

    /// The same; what keeps it from being looked at (no more descriptors, no memory) is an error.
    /// Whoever took a living process for a dead one would end what it keeps.
    pub fn find(self) -> Result<Option<OwnedFd>> {
        let doing = || format!("looking at process {}", self.pid);
        let Some(number) = Pid::from_raw(self.pid) else { return Ok(None) };
        let process = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            opened => opened.map_err(std::io::Error::from).doing(doing)?,
        };
        // Looked at after opening: the number cannot change hands while the descriptor is held.
        let same = start_time(self.pid).doing(doing)? == Some(self.start);
        Ok((same && !ends_within(&process, Duration::ZERO)).then_some(process))
    }
}

/// Field 22 of /proc/PID/stat; the name in field 2 may hold anything, so count from its end.
/// None where there is no such process.
fn start_time(pid: i32) -> std::io::Result<Option<u64>> {
    let stat = match fs::read(format!("/proc/{pid}/stat")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // It ended while it was read.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
        stat => stat?,
    };
    let after = stat.iter().rposition(|byte| *byte == b')');
    let field = |after: usize| String::from_utf8_lossy(&stat[after..]).split(' ').nth(20)?.parse().ok();
    Ok(after.and_then(field))
}

/// Waits until the process behind a pidfd has ended; false if it has not in time.
pub(crate) fn ends_within(process: &OwnedFd, time: Duration) -> bool {
    let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let wait = || rustix::event::poll(&mut polled, Some(&timeout));
    rustix::io::retry_on_intr(wait).is_ok_and(|count| count > 0)
}

/// Names this boot of the machine.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).doing(|| format!("reading {path}"))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_nobody_else() {
        let own = Pinned::of(std::process::id() as i32).expect("self");
        assert!(own.open().is_some());
        assert!(Pinned { start: own.start + 1, ..own }.open().is_none());
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let pinned = Pinned::of(child.id() as i32).expect("child");
        child.wait().expect("wait");
        assert!(pinned.open().is_none() && matches!(pinned.find(), Ok(None)));
    }
}
