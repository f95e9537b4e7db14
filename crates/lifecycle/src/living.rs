//! What a keeper writes about its container while that lives on.

use spec::Result;

use crate::disk::{self, Durable};
use crate::events::Subject;
use crate::job::Job;
use crate::networks::Connected;
use crate::pinned::Pinned;
use crate::record::{HealthState, Running, now};

/// It has ended, and will be started again.
pub fn rests(job: &Job) -> Result<()> {
    amend(job, |state| state.resting = true)
}

/// It was started again; this is its first process now.
pub fn runs_again(
    job: &Job,
    first: i32,
    group: Option<&cgroup::Group>,
    restarts: u32,
    network: Option<Connected>,
) -> Result<()> {
    let first = Pinned::of(first)?;
    amend(job, |state| {
        // It may be in more hierarchies than before.
        state.group = group.cloned();
        (state.first, state.started, state.restarts) = (first, now(), restarts);
        (state.resting, state.health, state.network) = (false, None, network);
    })
}

/// What its health checks tell.
pub fn health(job: &Job, health: Option<HealthState>) -> Result<()> {
    amend(job, |state| state.health = health)
}

/// Milliseconds since 1970.
pub fn clock() -> u64 {
    now()
}

/// Whom events of this container are about.
pub fn subject(job: &Job) -> Subject<'_> {
    Subject { run: &job.run, id: job.spec.id, name: &job.spec.name, image: &job.image }
}

/// Rare, so that nothing of it is kept in memory.
fn amend(job: &Job, change: impl FnOnce(&mut Running)) -> Result<()> {
    let path = job.run.join(crate::state::STATE);
    let Some(mut state) = disk::read_json::<Running>(&path)? else { return Ok(()) };
    change(&mut state);
    disk::write_json(&path, &state, Durable::No)
}
