//! A group with those below it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use spec::{Error, Result, ResultExt};

use super::Placed;
use super::make::{is_gone, is_marked};

/// How long the kernel may take until nobody is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pids in these groups and all below.
pub(super) fn processes<'a>(directories: impl Iterator<Item = &'a Path>) -> Vec<i32> {
    let mut pids = Vec::new();
    directories.for_each(|directory| collect(directory, &mut pids));
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn collect(directory: &Path, pids: &mut Vec<i32>) {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    // Processes of another pid namespace have no number here: they read as 0.
    pids.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    below(directory).iter().for_each(|child| collect(child, pids));
}

fn below(directory: &Path) -> Vec<PathBuf> {
    // A directory of a group has as many links as it has groups below, and two.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Kills everybody and waits until they are gone.
pub(super) fn kill(placed: &Placed) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Version 2, since Linux 5.14: all at once, also those that are being born.
        placed.directories().for_each(|directory| drop(fs::write(directory.join("cgroup.kill"), "1")));
        let pids = placed.processes();
        if pids.is_empty() {
            return Ok(());
        }
        pids.iter().for_each(|pid| kill_member(placed, *pid));
        // The freezer of version 1 keeps what it holds from dying.
        placed.group().thaw()?;
        if Instant::now() > deadline {
            return Err(Error::internal(format!("processes {:?} do not die", placed.processes())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// By pidfd, after another look: the number may be somebody else's by now.
fn kill_member(placed: &Placed, pid: i32) {
    let Some(process) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return;
    };
    if placed.processes().contains(&pid) {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

/// Removes a group if it is ours, and those above it that are ours and empty; whether it is gone.
pub(super) fn remove(directory: &Path, base: &Path) -> Result<bool> {
    let doing = || format!("removing the control group {}", directory.display());
    let ours = is_marked(directory);
    if ours {
        remove_tree(directory).doing(doing)?;
    }
    if let Some(above) = directory.parent() {
        remove_empty(above, base);
    }
    Ok(ours || !directory.exists())
}

/// Removes a directory and those above it as long as they are ours and empty.
pub(super) fn remove_empty(directory: &Path, base: &Path) {
    for directory in directory.ancestors().take_while(|directory| *directory != base) {
        // One that cannot be asked for is there.
        let exists = !matches!(fs::symlink_metadata(directory), Err(error) if is_gone(&error));
        if exists && (!is_marked(directory) || fs::remove_dir(directory).is_err()) {
            return;
        }
    }
}

/// Removes a directory with all below. One whose last process has just gone can be busy for a
/// moment.
pub(super) fn remove_tree(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                below(directory).iter().try_for_each(|child| remove_tree(child))?;
                if !processes([directory].into_iter()).is_empty() {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}
