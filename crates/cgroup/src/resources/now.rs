//! What is set already, as far as the order of writes depends on it.

use std::fs;
use std::path::Path;

use spec::resources::{Limit, Memory};

use crate::devices::List;
use crate::layout::Version;

/// The values of a group; by default those of a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// The limit of memory.
    pub memory: Limit,
    /// The limit of memory and swap together; version 1.
    pub memory_and_swap: Limit,
    /// Bytes of memory in use.
    pub memory_usage: u64,
    /// Whether processes wait instead of being killed; version 1.
    pub oom_killer_disabled: bool,
    /// Microseconds of processor time per period.
    pub quota: Limit,
    /// That period.
    pub period: u64,
    /// What may be saved.
    pub burst: u64,
    /// The period of real-time scheduling; version 1.
    pub realtime_period: u64,
    /// Whether it only gets time that nobody else wants.
    pub idle: bool,
    /// The devices that are allowed; version 1.
    pub devices: List,
}

impl Default for Now {
    fn default() -> Self {
        Self {
            memory: Limit::Max,
            memory_and_swap: Limit::Max,
            memory_usage: 0,
            oom_killer_disabled: false,
            quota: Limit::Max,
            period: 100_000,
            burst: 0,
            realtime_period: 1_000_000,
            idle: false,
            devices: List::All,
        }
    }
}

impl Now {
    /// A new group to which this was said; what it cannot enforce of that makes no difference to
    /// what is written after it.
    pub(crate) fn after(memory: &Memory) -> Self {
        let max = memory.max.unwrap_or(Limit::Max);
        let sum = match (max, memory.swap) {
            (Limit::At(max), Some(Limit::At(swap))) => Limit::At(max.saturating_add(swap)),
            _ => Limit::Max,
        };
        Self { memory: max, memory_and_swap: sum, ..Self::default() }
    }

    /// Takes over what a directory of a group tells; what it does not have stays.
    pub fn read(&mut self, version: Version, directory: &Path) {
        let text = |file: &str| fs::read_to_string(directory.join(file)).ok();
        let limit = |file: &str| text(file).map(|text| parse_limit(&text));
        let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
        let set = |to: &mut u64, files: &[&str]| {
            *to = files.iter().find_map(|file| number(file)).unwrap_or(*to);
        };
        match version {
            Version::One => {
                self.memory = limit("memory.limit_in_bytes").unwrap_or(self.memory);
                self.memory_and_swap = limit("memory.memsw.limit_in_bytes").unwrap_or(self.memory_and_swap);
                self.quota = limit("cpu.cfs_quota_us").unwrap_or(self.quota);
                if let Some(told) = text("memory.oom_control") {
                    self.oom_killer_disabled = told.lines().any(|line| line == "oom_kill_disable 1");
                }
                if let Some(list) = text("devices.list") {
                    self.devices = List::parse(&list);
                }
            }
            Version::Two => {
                self.memory = limit("memory.max").unwrap_or(self.memory);
                if let Some((quota, period)) =
                    text("cpu.max").as_deref().and_then(|max| max.trim().split_once(' '))
                {
                    self.quota = parse_limit(quota);
                    self.period = period.parse().unwrap_or(self.period);
                }
            }
        }
        set(&mut self.memory_usage, &["memory.usage_in_bytes", "memory.current"]);
        set(&mut self.period, &["cpu.cfs_period_us"]);
        set(&mut self.burst, &["cpu.cfs_burst_us", "cpu.max.burst"]);
        set(&mut self.realtime_period, &["cpu.rt_period_us"]);
        self.idle = number("cpu.idle").map_or(self.idle, |idle| idle == 1);
    }
}

/// `max`, -1, or version 1's largest number of whole pages are none.
fn parse_limit(text: &str) -> Limit {
    const UNLIMITED: u64 = i64::MAX as u64 - (1 << 17);
    match text.trim().parse::<u64>() {
        Ok(number) if number < UNLIMITED => Limit::At(number),
        _ => Limit::Max,
    }
}
