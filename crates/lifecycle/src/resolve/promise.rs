//! What the container is promised beyond what its control groups are told.

use spec::Promise;
use spec::limits::Limits;
use spec::resources::{Limit, Resources};

use super::Resolving;

impl Resolving<'_> {
    /// What its tests used, within what one container gets of this host at most; what was said counts
    /// also where it is not enforced.
    pub(super) fn promise(&self, said: &Limits, room: &Resources) -> Promise {
        let number = |limit: Option<Limit>| limit.and_then(Limit::number);
        let most = |limit: Option<Limit>| number(limit).unwrap_or(u64::MAX);
        let seen = Promise::foreseen(self.portable.used.as_ref(), &self.portable.forecast);
        Promise {
            memory: number(said.memory.map(|size| size.0)).unwrap_or(seen.memory.min(most(room.memory.max))),
            tasks: number(said.pids.map(|count| count.0)).unwrap_or(seen.tasks.min(most(room.pids))),
            disk: number(said.disk.map(|size| size.0)).unwrap_or(0),
            cpu: seen.cpu,
        }
    }
}
