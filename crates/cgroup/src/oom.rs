//! Being told when a group runs out of memory.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::EventfdFlags;
use rustix::fs::inotify;
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

use crate::group::Group;

/// Becomes readable when something has happened; then ask [`read`](Self::read).
#[derive(Debug)]
pub struct OomWatch {
    events: OwnedFd,
    how: How,
}

#[derive(Debug)]
enum How {
    /// An event counter of version 1, which ends with the group.
    One { control: PathBuf },
    /// A notice of changes of version 2's files, and how often it had been so far.
    Two { directory: PathBuf, kills: u64 },
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing to speak of.
    Nothing,
    /// It ran out of memory. On version 1 that is told before somebody is killed, and also where
    /// nobody is because the killer is off.
    OutOfMemory,
    /// The group is gone, or on version 2 nobody is in it any more.
    Ended,
}

impl Group {
    /// From now on.
    ///
    /// # Errors
    /// Unsupported where the group has no memory controller.
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let find =
            |file: &str| self.directories.iter().map(|(_, dir)| dir).find(|dir| dir.join(file).exists());
        if let Some(directory) = find("memory.oom_control") {
            return watch_one(directory);
        }
        if let Some(directory) = find("memory.events") {
            return watch_two(directory);
        }
        Err(Error::unsupported(
            "nothing tells when the container runs out of memory: it has no group of memory",
        )
        .hint("the controller memory must be there, and on version 2 the group above must pass it on"))
    }
}

fn watch_one(directory: &Path) -> Result<OomWatch> {
    let doing = || format!("watching the memory of {}", directory.display());
    let control = directory.join("memory.oom_control");
    let file = File::open(&control).doing(doing)?;
    let events = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(std::io::Error::from)
        .doing(doing)?;
    let order = format!("{} {}", events.as_raw_fd(), file.as_raw_fd());
    fs::write(directory.join("cgroup.event_control"), order).doing(doing)?;
    Ok(OomWatch { events, how: How::One { control } })
}

fn watch_two(directory: &Path) -> Result<OomWatch> {
    let doing = || format!("watching the memory of {}", directory.display());
    let watch = || -> rustix::io::Result<OwnedFd> {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        for file in ["memory.events", "cgroup.events"] {
            inotify::add_watch(&events, directory.join(file), inotify::WatchFlags::MODIFY)?;
        }
        Ok(events)
    };
    let events = watch().map_err(std::io::Error::from).doing(doing)?;
    let kills = kills(directory).unwrap_or(0);
    Ok(OomWatch { events, how: How::Two { directory: directory.to_owned(), kills } })
}

impl OomWatch {
    /// Takes what has happened; never waits.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&mut self) -> Result<Told> {
        let happened = drain(&self.events).map_err(std::io::Error::from).doing(|| "reading of memory")?;
        match &mut self.how {
            How::One { control } if !control.exists() => Ok(Told::Ended),
            How::One { .. } if happened => Ok(Told::OutOfMemory),
            How::One { .. } => Ok(Told::Nothing),
            How::Two { directory, kills: before } => match kills(directory) {
                Some(now) if now > *before => {
                    *before = now;
                    Ok(Told::OutOfMemory)
                }
                // It was somebody who left that told us, not a group that is still to be entered.
                Some(_) if !happened || populated(directory) => Ok(Told::Nothing),
                _ => Ok(Told::Ended),
            },
        }
    }
}

/// Whether anything was there.
fn drain(events: &OwnedFd) -> rustix::io::Result<bool> {
    let mut buffer = [0u8; 4096];
    let mut happened = false;
    loop {
        match rustix::io::read(events, &mut buffer) {
            Ok(0) => return Ok(happened),
            Ok(_) => happened = true,
            Err(Errno::AGAIN) => return Ok(happened),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// How many were killed, here and below; None if the group is gone.
fn kills(directory: &Path) -> Option<u64> {
    let text = fs::read_to_string(directory.join("memory.events")).ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    Some(count.unwrap_or(0))
}

fn populated(directory: &Path) -> bool {
    fs::read_to_string(directory.join("cgroup.events"))
        .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}
