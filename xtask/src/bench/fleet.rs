//! Containers that are left running for a while, and removed whatever happens.

use std::time::{Duration, Instant};

use super::runtimes::{Runtime, Words};
use super::timer::{Timer, Until};
use crate::shell::{self, Result};

/// How many are started between two looks at the clock.
const BLOCK: u32 = 10;

/// However many are wanted: longer nobody waits.
const LIMIT: Duration = Duration::from_secs(180);

/// Numbers that the containers of one fleet have, apart from those that are timed beside it.
const FIRST: u32 = 100_000;

/// Running containers of one runtime.
pub(crate) struct Fleet<'a> {
    runtime: &'a Runtime,
    starter: Timer,
    first: u32,
    count: u32,
}

impl<'a> Fleet<'a> {
    /// None yet; `detach` is the command that leaves one running.
    pub(crate) fn new(runtime: &'a Runtime, detach: &Words) -> Result<Self> {
        Self::numbered(runtime, detach, FIRST)
    }

    /// The same, numbered from `first`: two may run beside each other.
    pub(crate) fn numbered(runtime: &'a Runtime, detach: &Words, first: u32) -> Result<Self> {
        let starter = Timer::start(&runtime.wrapper, &[detach], Until::Success)?;
        Ok(Self { runtime, starter, first, count: 0 })
    }

    /// Starts more, until `count` are running; what that took in milliseconds each.
    pub(crate) fn grow(&mut self, count: u32) -> Result<Vec<f64>> {
        let began = Instant::now();
        let mut times = Vec::new();
        while self.count < count {
            shell::unless_interrupted()?;
            if began.elapsed() > LIMIT {
                let (name, running) = (&self.runtime.name, self.count);
                return Err(format!("{name}: only {running} of {count} containers after {LIMIT:?}").into());
            }
            let (first, more) = (self.first + self.count, BLOCK.min(count - self.count));
            // Counted before: also a block that fails in the middle is removed.
            self.count += more;
            times.extend(self.starter.laps(first, more, 0)?.concat());
        }
        Ok(times)
    }

    /// What `{}` stands for in the name of the first.
    pub(crate) fn first() -> u32 {
        FIRST
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        let Some(remove) = &self.runtime.remove else { return };
        if let Err(error) = remove_all(self.runtime, remove, self.first, self.count) {
            eprintln!("containers of {} may be left: {error}", self.runtime.name);
        }
    }
}

/// Removes containers by number, whether they are there or not.
pub(crate) fn remove_all(runtime: &Runtime, remove: &Words, first: u32, count: u32) -> Result {
    Timer::start(&runtime.wrapper, &[remove], Until::End)?.laps(first, count, 0).map(drop)
}
