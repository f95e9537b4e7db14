//! Memory.

use spec::resources::{Limit, Memory};
use spec::{Error, ErrorKind, Result};

use super::{Plan, only};
use crate::layout::Version;

const CONTROLLER: &str = "memory";

impl Plan<'_> {
    pub(super) fn memory(&mut self, memory: &Memory) -> Result<()> {
        if *memory == (Memory { check_before_update: memory.check_before_update, ..Memory::default() }) {
            return Ok(());
        }
        let version = self.version(CONTROLLER, CONTROLLER, "memory")?;
        if let (true, Some(Limit::At(max))) = (memory.check_before_update, memory.max) {
            if max < self.now.memory_usage {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "{} bytes of memory are in use, more than the {max} asked for",
                        self.now.memory_usage
                    ),
                ));
            }
        }
        match version {
            Version::One => self.memory_one(memory),
            Version::Two => self.memory_two(memory),
        }
    }

    fn memory_one(&mut self, memory: &Memory) -> Result<()> {
        let two = |wanted: &str| only("2", wanted, "memory.max and memory.low there are on version 1 too");
        if memory.high.is_some() {
            return Err(two("memory.high"));
        }
        if memory.min.is_some() {
            return Err(two("memory.min"));
        }
        if memory.oom_group == Some(true) {
            return Err(two("memory.oom_group"));
        }
        let put = |plan: &mut Self, file: &str, limit: Option<Limit>| {
            if let Some(limit) = limit {
                plan.put(Version::One, CONTROLLER, file, limit.signed());
            }
        };
        put(self, "memory.soft_limit_in_bytes", memory.low);
        let sum = self.sum_with_swap(memory)?;
        let rises = sum.is_some_and(|sum| sum > self.now.memory_and_swap);
        // The sum may at no time be less than the memory alone.
        put(self, "memory.memsw.limit_in_bytes", sum.filter(|_| rises));
        put(self, "memory.limit_in_bytes", memory.max);
        put(self, "memory.memsw.limit_in_bytes", sum.filter(|_| !rises));
        put(self, "memory.kmem.tcp.limit_in_bytes", memory.tcp);
        if let Some(swappiness) = memory.swappiness {
            self.put(Version::One, CONTROLLER, "memory.swappiness", swappiness);
        }
        match memory.disable_oom_killer {
            Some(disabled) if disabled != self.now.oom_killer_disabled => {
                self.put(Version::One, CONTROLLER, "memory.oom_control", u8::from(disabled));
            }
            _ => {}
        }
        Ok(())
    }

    /// Version 1 limits memory and swap together: what that must become, None if it may stay. The
    /// part of swap stays as it was where only memory changes.
    fn sum_with_swap(&self, memory: &Memory) -> Result<Option<Limit>> {
        let max = memory.max.unwrap_or(self.now.memory);
        let swap = match (memory.swap, self.now.memory, self.now.memory_and_swap) {
            (Some(swap), ..) => swap,
            (None, Limit::At(now), Limit::At(sum)) if memory.max.is_some() => {
                Limit::At(sum.saturating_sub(now))
            }
            _ => return Ok(None),
        };
        let sum = match (max, swap) {
            (_, Limit::Max) => Limit::Max,
            (Limit::At(max), Limit::At(swap)) => Limit::At(max.saturating_add(swap)),
            (Limit::Max, Limit::At(_)) if memory.swap.is_none() => Limit::Max,
            (Limit::Max, Limit::At(_)) => {
                return Err(Error::unsupported(
                    "version 1 of control groups limits swap only together with memory",
                )
                .hint("give memory.max too"));
            }
        };
        Ok(Some(sum).filter(|sum| *sum != self.now.memory_and_swap))
    }

    fn memory_two(&mut self, memory: &Memory) -> Result<()> {
        let one = |wanted: &str, instead: &str| Err(only("1", wanted, instead));
        if memory.tcp.is_some() {
            return one("memory.tcp", "version 2 counts the buffers of sockets to memory.max");
        }
        if memory.disable_oom_killer == Some(true) {
            return one(
                "memory.disable_oom_killer",
                "memory.high slows processes down instead of killing them",
            );
        }
        if memory.swappiness.is_some() {
            return one("memory.swappiness", "memory.swap = 0 keeps a group from swapping");
        }
        let files = [
            ("memory.min", memory.min),
            ("memory.low", memory.low),
            ("memory.high", memory.high),
            ("memory.max", memory.max),
            ("memory.swap.max", memory.swap),
        ];
        for (file, limit) in files {
            if let Some(limit) = limit {
                self.put(Version::Two, CONTROLLER, file, limit);
            }
        }
        if let Some(group) = memory.oom_group {
            self.put(Version::Two, CONTROLLER, "memory.oom.group", u8::from(group));
        }
        Ok(())
    }
}
