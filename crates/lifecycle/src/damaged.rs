//! Containers whose record cannot be read: nothing says any more what belongs to them.

use std::fs;
use std::path::{Path, PathBuf};

use spec::{Error, Id, Name, Result};

use crate::container::{CLEANUP, kill_and_wait};
use crate::disk;
use crate::lock::Lock;
use crate::pinned::ends_within;
use crate::record::Running;

/// Ends it if it runs, and removes what is left of it.
pub(crate) fn remove(containers: &Path, runs: &Path, name: &Name) -> Result<()> {
    let dir = containers.join(name);
    let lock = Lock::take(&dir, name)?;
    if let Some((run, state)) = kept(runs, &dir) {
        let keeper = state.keeper.open();
        kill_and_wait(state.first.open(), CLEANUP);
        if keeper.is_some_and(|keeper| !ends_within(&keeper, CLEANUP)) {
            return Err(Error::internal(format!("the keeper of container {name} does not finish")));
        }
        if let Some(id) = run.file_name().and_then(|id| id.to_str()?.parse::<Id>().ok()) {
            let group = cgroup::Group::of(id)?;
            group.kill().and_then(|()| group.remove())?;
        }
        disk::remove_tree(&run)?;
    }
    disk::retire(&dir)?;
    lock.discard();
    Ok(())
}

/// The run directory, with the state, of a keeper that has files open in `dir`: that is the log,
/// and the one trace that leads from a container to its keeper without the record.
fn kept(runs: &Path, dir: &Path) -> Option<(PathBuf, Running)> {
    let entries = fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path());
    let mut states = entries.filter_map(|run| {
        let state = disk::read_json::<Running>(&run.join(crate::state::STATE)).ok()??;
        state.keeper.open().map(|_| (run, state))
    });
    states.find(|(_, state)| has_open(state.keeper.pid, dir))
}

fn has_open(pid: i32, dir: &Path) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|path| path.starts_with(dir))
}
