//! The keeper's side of the state: it writes while the container runs, and when it has ended.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use spec::{Result, ResultExt};

use crate::disk::{self, Durable};
use crate::job::{Job, SOCKET};
use crate::ledger::Ledger;
use crate::lock::Lock;
use crate::log;
use crate::networks::{Connected, Networks};
use crate::pinned::{Pinned, boot_id};
use crate::record::{Ended, Record, Running, now};

/// The file of a run directory that says what runs.
pub(crate) const STATE: &str = "state.json";

/// How long others, who only look, may have the lock of a container that is to be removed.
const LOOKERS: Duration = Duration::from_millis(50);

/// Makes the run directory.
pub fn prepare(job: &Job) -> Result<()> {
    disk::remove_tree(&job.run)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&job.run);
    made.doing(|| format!("making {}", job.run.display()))
}

/// Writes that the container runs.
pub fn started(
    job: &Job,
    first: i32,
    group: Option<&cgroup::Group>,
    network: Option<Connected>,
) -> Result<()> {
    let running = Running {
        boot: boot_id()?,
        keeper: Pinned::of(std::process::id() as i32)?,
        first: Pinned::of(first)?,
        group: group.cloned(),
        started: now(),
        restarts: 0,
        resting: false,
        health: None,
        network,
    };
    disk::write_json(&job.run.join(STATE), &running, Durable::No)?;
    if job.again {
        // From here on the state is what counts.
        disk::remove_file(&job.dir.join("exit.json"))?;
    }
    Ok(())
}

/// Removes a container that was to be removed when it ended, and what was true while it ran.
pub fn vanish(job: &Job, log: &log::Writer) -> Result<()> {
    let lock = lock(job);
    // Its name goes last: who does not find it can rely on nothing being left on any disk.
    let removed = disk::remove_few(&job.run, &[STATE, SOCKET]).and_then(|()| retire(job, log));
    if removed.is_ok() && job.spec.network.is_some() {
        Networks::beside(job).release(&job.spec);
    }
    lock.into_iter().for_each(Lock::discard);
    removed
}

/// Its lock: without it another command that looks, when the state is gone, could remove it too, and
/// a new one of the name be begun between our look at whose it is and its removal. Our caller may be
/// about to give it back. Who keeps it for longer waits for us, as `stop` does, and lets nobody in.
fn lock(job: &Job) -> Option<Lock> {
    let end = Instant::now() + LOOKERS;
    loop {
        match Lock::try_take(&job.dir) {
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_micros(200)),
            taken => return taken.unwrap_or(None),
        }
    }
}

/// Another command may have found that nobody keeps the container any more, removed it, and begun
/// another of the name: that one is not ours to remove.
fn retire(job: &Job, log: &log::Writer) -> Result<()> {
    if log.is_in_place() {
        return disk::retire(&job.dir);
    }
    let record = disk::read_json::<Record>(&job.dir.join("container.json"))?;
    match record.is_some_and(|record| record.spec.id == job.spec.id) {
        true => disk::retire(&job.dir),
        false => Ok(()),
    }
}

/// What it was promised is anybody's again.
pub fn forgive(job: &Job) {
    if !job.spec.promised().is_empty() {
        // What stays is found by whoever would be refused because of it.
        let _ = Ledger::beside(&job.run).release(job.spec.id);
    }
}

/// Writes how the container ended, and removes what was true while it ran. If the end cannot be
/// written, the state stays: the next command that looks finds a keeper that is gone, and knows from
/// that.
pub fn ended(job: &Job, ended: &Ended) -> Result<()> {
    let write = || disk::write_json(&job.dir.join("exit.json"), ended, Durable::No);
    // How it ended is worth more than the last lines of a log that has filled the disk.
    write().or_else(|error| if log::give_room(&job.dir) { write() } else { Err(error) })?;
    disk::remove_tree(&job.run)
}
