//! From what was observed to the limits that production needs.

use serde::Serialize;

use super::{Count, Limits, Size};
use crate::observation::{Peak, Used};
use crate::resources::Limit;

/// So many times the most that was seen: an exercise is not the worst day.
pub const MARGIN: u64 = 4;

/// No service is given less memory: a shell and what it starts need as much.
const LEAST_MEMORY: u64 = 64 << 20;

/// No service is given fewer tasks.
const LEAST_TASKS: u64 = 64;

/// What no machine has.
const MOST: u64 = 1 << 60;

/// Memory counts in steps of this.
const STEP: u64 = 1 << 20;

impl Limits {
    /// What a service that used so much at most should have: [`MARGIN`] times that, and not too
    /// little. Of what was not counted nothing is said.
    pub fn forecast(peak: &Peak) -> Self {
        let memory = peak.memory.saturating_mul(MARGIN).clamp(LEAST_MEMORY, MOST).next_multiple_of(STEP);
        let tasks = peak.tasks.saturating_mul(MARGIN).max(LEAST_TASKS);
        Self {
            memory: (peak.memory > 0).then_some(Size(Limit::At(memory))),
            pids: (peak.tasks > 0).then_some(Count(Limit::At(tasks))),
            ..Self::default()
        }
    }
}

/// How one limit follows from what was seen, or why none does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reasoning {
    /// `memory`, `processes`, `processor`, `files`, `written`.
    pub resource: &'static str,
    /// What `observed`, `steady`, `least` and `limit` count.
    pub unit: &'static str,
    /// The most that was seen; of the processor, the average.
    pub observed: u64,
    /// At rest; of the processor, in the busiest second.
    pub steady: Option<u64>,
    /// How many times that it gets.
    pub margin: Option<u64>,
    /// No less than that.
    pub least: Option<u64>,
    /// The limit that follows.
    pub limit: Option<u64>,
    /// Why none does.
    pub why_none: Option<&'static str>,
}

/// What follows from what was used, resource by resource. Of what is not known nothing is said.
pub fn reasoning(used: &Used) -> Vec<Reasoning> {
    let Limits { memory, pids, .. } = Limits::forecast(&used.peak);
    let known = |number: u64| (number > 0).then_some(number);
    let none = |resource, unit, observed, why| Reasoning {
        resource,
        unit,
        observed,
        steady: None,
        margin: None,
        least: None,
        limit: None,
        why_none: Some(why),
    };
    let limited = |resource, unit, observed, steady, least, limit: Option<Limit>| Reasoning {
        steady,
        margin: Some(MARGIN),
        least: Some(least),
        limit: limit.and_then(Limit::number),
        why_none: None,
        ..none(resource, unit, observed, "")
    };
    let Peak { memory: most, tasks, files } = used.peak;
    let memory =
        limited("memory", "bytes", most, known(used.steady), LEAST_MEMORY, memory.map(|size| size.0));
    let pids = limited("processes", "tasks", tasks, None, LEAST_TASKS, pids.map(|count| count.0));
    let shared = "a processor is shared: who waits is not ended";
    let cpu = none("processor", "thousandths", used.cpu_average(), shared);
    let cpu = Reasoning { steady: known(used.busiest), ..cpu };
    let all = [
        (most, memory),
        (tasks, pids),
        (used.millis, cpu),
        (files, none("files", "descriptors", files, "every process may open 1024, and raise that itself")),
        (used.written, none("written", "bytes", used.written, "fresh directories have a size of their own")),
    ];
    all.into_iter().filter(|(number, _)| *number > 0).map(|(_, reasoning)| reasoning).collect()
}

/// A size as limits are written, to three figures.
pub fn rounded(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let Some((shift, unit)) = units.iter().find(|(shift, _)| bytes >> shift > 0) else {
        return bytes.to_string();
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if tenth > 0 && whole < 100 => format!("{whole}.{tenth}{unit}"),
        (whole, _) => format!("{whole}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_as_they_are_typed() {
        for (bytes, told) in [
            (0, "0"),
            (1023, "1023"),
            (64 << 20, "64M"),
            ((22 << 30) + (1 << 29), "22.5G"),
            ((300 << 20) + (1 << 19), "300M"),
            (u64::MAX, "16777215T"),
        ] {
            assert_eq!(rounded(bytes), told);
        }
    }

    #[test]
    fn the_reasoning_leads_to_the_forecast() {
        let peak = Peak { memory: 50 << 20, tasks: 3, files: 0 };
        let used = Used { peak, steady: 40 << 20, cpu: 100, busiest: 90, millis: 1000, written: 0 };
        let all = reasoning(&used);
        let resources: Vec<_> = all.iter().map(|one| one.resource).collect();
        assert_eq!(resources, ["memory", "processes", "processor"]);
        assert_eq!((all[0].limit, all[0].steady), (Some(200 << 20), Some(40 << 20)));
        assert_eq!((all[1].limit, all[1].least), (Some(64), Some(64)));
        assert_eq!((all[2].observed, all[2].limit), (100, None));
        assert!(reasoning(&Used::default()).is_empty());
    }

    #[test]
    fn four_times_the_most_and_never_too_little() {
        let forecast = |memory, tasks| Limits::forecast(&Peak { memory, tasks, ..Peak::default() });
        let limits = forecast(50 << 20, 30);
        assert_eq!(limits.memory.expect("memory").to_string(), "200M");
        assert_eq!(limits.pids.expect("tasks").to_string(), "120");
        let small = forecast(1000, 1);
        assert_eq!(small.memory.expect("memory").to_string(), "64M");
        assert_eq!(small.pids.expect("tasks").to_string(), "64");
        assert!(forecast(0, 0).is_empty());
        forecast(u64::MAX - (1 << 30), u64::MAX);
    }
}
