//! The test stage: the service runs for real in a throw-away copy of its development container,
//! is exercised, and everything that it uses is recorded.

pub mod drive;
pub mod setup;
pub mod stamps;

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use observe::{Seen, Watch};
use spec::observation::{Observation, Run, Used, Written};
use spec::{Error, ErrorKind, Id, Result, ResultExt};

use self::drive::{Drive, Held};
use self::setup::Setup;
use crate::dev::stack::{Stack, mount_copy};
use crate::dev::{Development, enter, record, remove_tree};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::service::readiness;

/// How a test is to be run, beside its setup.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The command, its environment, its exercises.
    pub setup: &'a Setup,
    /// Host directories shown in the container.
    pub binds: &'a [lifecycle::Bind],
    /// Names what it leaves in the kernel.
    pub id: Id,
    /// Forget what earlier tests saw.
    pub fresh: bool,
}

/// Runs a test and adds what it saw to the container's observation, which is returned whole.
///
/// The caller has entered a private mount namespace and mounted `stack` in it.
///
/// # Errors
/// Failed, with the service's last lines, when the service or an exercise fails; the observation
/// is then left as it was.
pub fn run(
    development: &Development,
    stack: &Stack,
    trial: &Trial<'_>,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Observation> {
    readiness::check_free(trial.setup.ready.as_ref())?;
    let dir = development.dir.join("test");
    remove_tree(&dir)?;
    let copy = mount_copy(stack, &dir)?;
    let outcome = watched_run(development, stack, &copy, trial, interrupt, progress);
    // The copy's mounts go with this process's mount namespace; its files must not wait for that.
    let removed = unmount_and_remove(&copy, &dir);
    let new = outcome?;
    removed?;
    keep(development, trial, new)
}

fn watched_run(
    development: &Development,
    stack: &Stack,
    copy: &Stack,
    trial: &Trial<'_>,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Observation> {
    let setup = trial.setup;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let clock = Instant::now();
    let process = enter::process(setup.command.clone(), &setup.env, setup.cwd.clone(), setup.user.clone());
    let mut spec = enter::spec_over(copy, &development.record.name, trial.id, process, trial.binds);
    spec.stop_signal = setup.stop_signal;
    let settings = observe::best().0;
    let instruments = || Watch::prepare(&copy.root, &copy.mount_points(), settings);
    let log = development.dir.join("test.log");
    let drive =
        Drive { spec: &spec, setup, settings, instruments: &instruments, log: &log, interrupt, progress };
    let outcome = drive.run()?;
    let (held, seen) = (outcome.held?, outcome.seen?);
    progress.stage("reading what was written");
    let run = Run {
        started,
        millis: clock.elapsed().as_millis() as u64,
        command: setup.command.clone(),
        exercises: setup.exercises.iter().map(ToString::to_string).collect(),
        instruments: seen.instruments.clone(),
        used: held.used,
        curve: held.curve.clone(),
    };
    assemble(development, stack, copy, run, seen, held)
}

/// Puts together what the instruments saw, what was written, and what the files were before.
fn assemble(
    development: &Development,
    stack: &Stack,
    copy: &Stack,
    run: Run,
    seen: Seen,
    held: Held,
) -> Result<Observation> {
    let mut observation = Observation::empty(development.record.name.clone());
    observation.paths = seen.paths;
    observation.warnings = seen.warnings;
    observation.syscalls = seen.syscalls;
    observation.capabilities = seen.capabilities;
    observation.groups = seen.groups;
    observation.gained_privilege = seen.gained_privilege;
    observation.ports = held.ports;
    observation.peak = held.used.peak;
    for ((at, upper), lower) in copy.layers.iter().zip(stack.mount_points()) {
        observation.written.extend(observe::written(upper, &lower, at)?);
    }
    // Much of it never gets as far as a disk, where groups count.
    let left = observation.written.values().map(Written::bytes).sum();
    let used = Used { written: run.used.written.max(left), ..run.used };
    observation.runs.push(Run { used, ..run });
    stamps::fill(&stack.root, &mut observation)?;
    Ok(observation)
}

/// Adds `new` to what is known and keeps it.
fn keep(development: &Development, trial: &Trial<'_>, new: Observation) -> Result<Observation> {
    let mut all = match read_observation(&development.observation_file()) {
        Ok(known) if !trial.fresh => known,
        Err(error) if !trial.fresh && error.kind() != ErrorKind::NotFound => {
            return Err(error.hint("start over with --fresh"));
        }
        _ => Observation::empty(development.record.name.clone()),
    };
    all.merge(new);
    let text = serde_json::to_vec(&all)
        .map_err(|cause| Error::internal("writing the observation").because(cause))?;
    // In this order: a setup whose observation was lost would be replayed on too small a cut.
    record::write_durably(&development.observation_file(), &text)?;
    setup::add(&development.dir, trial.setup, trial.fresh)?;
    Ok(all)
}

/// Reads an observation from a file.
///
/// # Errors
/// Not found; not an observation; made by a newer version.
pub fn read_observation(path: &Path) -> Result<Observation> {
    let text = std::fs::read(path).doing(|| format!("reading {}", path.display()))?;
    let observation: Observation = serde_json::from_slice(&text)
        .map_err(|cause| Error::user(format!("{} is not an observation", path.display())).because(cause))?;
    if observation.version != spec::observation::VERSION {
        return Err(Error::unsupported(format!("{} was made by another version of tsubo", path.display())));
    }
    Ok(observation)
}

fn unmount_and_remove(copy: &Stack, dir: &Path) -> Result<()> {
    for point in copy.mount_points().iter().rev() {
        // Lazily: a process that is just ending may still hold it.
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
    remove_tree(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_observation() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x");
        std::fs::write(&path, "{}").expect("write");
        assert_eq!(read_observation(&path).expect_err("garbage").kind(), spec::ErrorKind::User);
    }
}
