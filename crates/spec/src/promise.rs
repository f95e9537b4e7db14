//! What a running container may rely on: its host gives it to nobody else.

use serde::{Deserialize, Serialize};

use crate::container::Spec;
use crate::limits::{Limits, MARGIN};
use crate::observation::Used;
use crate::resources::{Limit, Resources};

/// So much of the host; 0 of what nothing was said or seen of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Bytes of the disk that the state directory is on.
    pub disk: u64,
    /// Thousandths of a processor, on average. It is counted and never refused: a processor is shared.
    pub cpu: u64,
}

impl Promise {
    /// What follows from what the tests of a service used: that, without any margin.
    pub fn foreseen(used: Option<&Used>, forecast: &Limits) -> Self {
        let of_limit = |limit: Option<Limit>| limit.and_then(Limit::number).map_or(0, |most| most / MARGIN);
        // Who seems to have used more than its limit has a limit nevertheless.
        let least = |seen: u64, limit: u64| if seen == 0 { limit } else { seen.min(limit.max(1) * MARGIN) };
        let used = used.copied().unwrap_or_default();
        Self {
            memory: least(used.peak.memory, of_limit(forecast.memory.map(|size| size.0))),
            tasks: least(used.peak.tasks, of_limit(forecast.pids.map(|count| count.0))),
            disk: 0,
            cpu: used.cpu_average(),
        }
    }

    /// Whether nobody could be refused for it.
    pub fn is_empty(self) -> bool {
        (self.memory, self.tasks, self.disk) == (0, 0, 0)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_add(other.memory),
            tasks: self.tasks.saturating_add(other.tasks),
            disk: self.disk.saturating_add(other.disk),
            cpu: self.cpu.saturating_add(other.cpu),
        }
    }
}

impl Promise {
    /// With what is said of control groups over it.
    #[must_use]
    pub fn with(self, said: &Resources) -> Self {
        let number = |limit: Option<Limit>| limit.and_then(Limit::number);
        let memory = &said.memory;
        let kept = [number(memory.min), number(memory.low), Some(self.memory)];
        Self {
            memory: number(memory.max).or(kept.into_iter().flatten().max()).unwrap_or(0),
            tasks: number(said.pids).unwrap_or(self.tasks),
            ..self
        }
    }
}

impl Spec {
    /// What it is promised while it runs: what was said in full, else what its tests used.
    pub fn promised(&self) -> Promise {
        self.promise.with(&self.resources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Process, Root};
    use crate::observation::Peak;

    #[test]
    fn what_tests_used_is_promised_without_the_margin() {
        let peak = Peak { memory: 50 << 20, tasks: 7, files: 9 };
        let used = Used { peak, cpu: 500, millis: 2000, ..Used::default() };
        let forecast = Limits::forecast(&peak);
        let exact = Promise::foreseen(Some(&used), &forecast);
        assert_eq!(exact, Promise { memory: 50 << 20, tasks: 7, disk: 0, cpu: 250 });
        // A package of before has only its limits.
        let rough = Promise::foreseen(None, &forecast);
        assert_eq!((rough.memory, rough.tasks, rough.cpu), (50 << 20, 16, 0));
        assert!(Promise::foreseen(None, &Limits::default()).is_empty());
    }

    #[test]
    fn no_package_is_promised_more_than_its_limit() {
        let peak = Peak { memory: 1 << 60, tasks: 1 << 60, files: 0 };
        let forecast = Limits::forecast(&Peak { memory: 32 << 20, tasks: 16, files: 0 });
        let promise = Promise::foreseen(Some(&Used { peak, ..Used::default() }), &forecast);
        assert_eq!((promise.memory, promise.tasks), (128 << 20, 64));
        let nothing = Promise::foreseen(Some(&Used { peak, ..Used::default() }), &Limits::default());
        assert!(nothing.memory <= MARGIN && nothing.tasks <= MARGIN);
    }

    #[test]
    fn what_was_said_is_promised_in_full() {
        let name = "web".parse().expect("name");
        let root = Root::Tree { path: "/".into() };
        let mut spec = Spec::new(crate::Id::from_bytes([1; 6]), name, root, Process::new(vec!["x".into()]));
        assert!(spec.promised().is_empty());
        spec.promise = Promise { memory: 5, tasks: 6, disk: 7, cpu: 8 };
        assert_eq!(spec.promised(), spec.promise);
        spec.resources.memory.low = Some(Limit::At(9));
        spec.resources.pids = Some(Limit::At(1));
        assert_eq!((spec.promised().memory, spec.promised().tasks), (9, 1));
        spec.resources.memory.max = Some(Limit::At(4096));
        assert_eq!(spec.promised().memory, 4096);
        spec.resources.memory.max = Some(Limit::Max);
        assert_eq!(spec.promised().memory, 9);
    }
}
