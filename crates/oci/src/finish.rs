//! The end of a container: nothing of it is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use spec::{Error, ErrorKind, Result};

use crate::cli::Context;
use crate::container::Container;
use crate::groups::Groups;
use crate::home::Id;
use crate::record::{Claim, LATCH, Record};
use crate::{hooks, rootless};

/// How long the kernel may take to end a process that was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends a container: its processes, its groups, its directory; then its last hooks run. Goes on
/// after a failure, and tells the first.
///
/// # Errors
/// What does not go.
pub(crate) fn destroy(context: &Context, id: &Id, record: &Record) -> Result<()> {
    rootless::join(record)?;
    let killed = match record.init.and_then(lifecycle::Pinned::open) {
        Some(process) => end(&process),
        None => Ok(()),
    };
    let ended = record.groups.end(id.as_str());
    // While something of it is left its name is, so that it can be tried again.
    killed.and(ended)?;
    context.home.retire(id)?;
    hooks::after_the_end(record, &context.log);
    Ok(())
}

/// Ends whatever a killed `create` has left of a container that never was one.
///
/// # Errors
/// What does not go.
pub(crate) fn sweep(context: &Context, id: &Id) -> Result<()> {
    let place = context.home.place(id);
    for process in holders(&place.join(LATCH)) {
        end(&process)?;
    }
    match Claim::read(&place) {
        Ok(Some(claim)) => Groups::of(&claim, id.as_str())?.end(id.as_str())?,
        // It was killed before it made any. One without a directory may still have groups of its name.
        Ok(None) => {
            let claim = Claim { cgroups_path: None, systemd: false, missing: Vec::new() };
            Groups::of(&claim, id.as_str())?.end(id.as_str())?;
        }
        Err(error) if error.kind() == ErrorKind::Internal => {}
        Err(error) => return Err(error),
    }
    context.home.retire(id)
}

/// Kills the first process and waits until it has ended.
fn end(process: &OwnedFd) -> Result<()> {
    use std::os::fd::AsFd;
    // One that has ended needs no signal.
    let _ = sys::process::send_signal(process.as_fd(), 9);
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let poll = || rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout));
    match rustix::io::retry_on_intr(poll) {
        Ok(1..) => Ok(()),
        _ => Err(Error::internal("the container's first process does not die")
            .hint("it may be held by the kernel, or frozen: resume it and try again")),
    }
}

/// Processes that have a file open, as only one that waits for its start has the latch.
fn holders(latch: &Path) -> Vec<OwnedFd> {
    let Ok(about) = fs::metadata(latch) else { return Vec::new() };
    let wanted = (about.dev(), about.ino());
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let holds = |pid: i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::metadata(file.path()).ok()).any(|file| (file.dev(), file.ino()) == wanted)
    };
    let own = std::process::id() as i32;
    let found = numbers.filter(|pid| *pid != own).filter_map(|pid| {
        let process = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Looked at while the descriptor is held, so that it is this one.
        holds(pid).then_some(process)
    });
    found.collect()
}

/// A container that runs is ended by force only.
///
/// # Errors
/// In runc's words.
pub(crate) fn refuse(container: &Container, status: &str) -> Error {
    let id = container.id.as_str();
    Error::conflict(format!("cannot delete container {id} that is not stopped: {status}"))
        .hint("kill it first, or delete it with --force")
}
