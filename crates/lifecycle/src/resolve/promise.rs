//! What the container is promised beyond what its control groups are told.

use cgroup::Room;
use spec::limits::Limits;
use spec::portable::Portable;
use spec::resources::{Limit, Resources};
use spec::{Promise, Result};

use super::Resolving;
use crate::disk_of;

impl Resolving<'_> {
    pub(super) fn promise(&self, said: &Limits, room: &Resources) -> Promise {
        promise(self.portable, said, room)
    }
}

/// What its tests used, within what one container gets of this host at most; what was said counts
/// also where it is not enforced.
fn promise(portable: &Portable, said: &Limits, room: &Resources) -> Promise {
    let number = |limit: Option<Limit>| limit.and_then(Limit::number);
    let most = |limit: Option<Limit>| number(limit).unwrap_or(u64::MAX);
    let seen = Promise::foreseen(portable.used.as_ref(), &portable.forecast);
    Promise {
        memory: number(said.memory.map(|size| size.0)).unwrap_or(seen.memory.min(most(room.memory.max))),
        tasks: number(said.pids.map(|count| count.0)).unwrap_or(seen.tasks.min(most(room.pids))),
        disk: if portable.volumes.is_empty() { 0 } else { number(said.disk.map(|size| size.0)).unwrap_or(0) },
        cpu: seen.cpu,
    }
}

/// What a container of a package would be promised, with what is said of its limits besides.
///
/// # Errors
/// Limits that mean nothing.
pub fn promised(portable: &Portable, limits: &Limits) -> Result<Promise> {
    let said = portable.limits.clone().merged(limits.clone());
    let resources = said.resources(disk_of::path)?;
    Ok(promise(portable, &said, &Room::of_host().one()).with(&resources))
}
