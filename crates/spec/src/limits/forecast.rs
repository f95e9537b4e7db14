//! From what was observed to the limits that production needs.

use super::{Count, Limits, Size};
use crate::observation::Peak;
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

#[cfg(test)]
mod tests {
    use super::*;

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
