//! What a group uses now, for people who watch many: the few files that are worth watching, each read
//! once. What the kernel does not tell is None, never 0.
//!
//! Descriptors are not kept open, but for one ([`Clock`]): to open a file of a control group takes a
//! microsecond or two, and a thousand groups would take all the descriptors that a process may have.

mod files;
mod memory;
mod tasks;

use serde::Serialize;

use crate::group::Group;
use files::Place;

/// One reading of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Tasks: processes and threads.
    pub pids: Pids,
    /// Transfers of block devices, by device.
    pub io: Option<Vec<Io>>,
    /// How long somebody waited.
    pub pressure: Pressures,
    /// How many tasks want a processor, or wait for a device.
    pub tasks: Option<Tasks>,
}

/// Processor time since the group was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Nanoseconds.
    #[serde(rename = "usage_ns")]
    pub usage: Option<u64>,
    /// Of it, in programs.
    #[serde(rename = "user_ns")]
    pub user: Option<u64>,
    /// Of it, in the kernel.
    #[serde(rename = "system_ns")]
    pub system: Option<u64>,
    /// Periods in which somebody ran, where there is a quota.
    pub periods: Option<u64>,
    /// Periods in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Nanoseconds for which tasks were held because of that.
    #[serde(rename = "throttled_ns")]
    pub throttled: Option<u64>,
    /// The quota, in processors; None without one.
    #[serde(rename = "limit_processors")]
    pub limit: Option<f64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All that is charged to it.
    #[serde(rename = "usage_bytes")]
    pub usage: Option<u64>,
    /// What it cannot do without: all but the page cache that was not used lately.
    #[serde(rename = "working_set_bytes")]
    pub working_set: Option<u64>,
    /// Of programs.
    #[serde(rename = "anonymous_bytes")]
    pub anonymous: Option<u64>,
    /// Page cache, with shared memory.
    #[serde(rename = "cache_bytes")]
    pub cache: Option<u64>,
    /// Of the kernel, for it.
    #[serde(rename = "kernel_bytes")]
    pub kernel: Option<u64>,
    /// Of that: caches of objects. Version 1 does not tell.
    #[serde(rename = "slab_bytes")]
    pub slab: Option<u64>,
    /// Of that: stacks. Version 1 does not tell.
    #[serde(rename = "stacks_bytes")]
    pub stacks: Option<u64>,
    /// Of that: page tables. Version 1 does not tell.
    #[serde(rename = "page_tables_bytes")]
    pub page_tables: Option<u64>,
    /// Buffers of TCP (version 1) or of all sockets (version 2).
    #[serde(rename = "tcp_bytes")]
    pub tcp: Option<u64>,
    /// In swap.
    #[serde(rename = "swap_bytes")]
    pub swap: Option<u64>,
    /// The most there may be, with what the groups above allow on version 1; None without a limit.
    #[serde(rename = "limit_bytes")]
    pub limit: Option<u64>,
    /// Processes that were killed for lack of it.
    pub oom_kills: Option<u64>,
}

/// Tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// Now.
    pub current: Option<u64>,
    /// The most there may be; None without a limit.
    pub limit: Option<u64>,
}

/// Transfers of one block device since the group was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Io {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// Bytes.
    pub read_bytes: u64,
    /// Bytes.
    pub written_bytes: u64,
    /// Transfers.
    pub reads: u64,
    /// Transfers.
    pub writes: u64,
}

/// Pressure on each resource, where the kernel tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressures {
    /// Somebody waited for a processor.
    pub cpu: Option<Pressure>,
    /// Somebody waited for memory.
    pub memory: Option<Pressure>,
    /// Somebody waited for a device.
    pub io: Option<Pressure>,
}

/// Pressure stall information of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited; None where that means nothing.
    pub full: Option<Stall>,
}

/// For how much of the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Per cent of the last 10 seconds.
    #[serde(rename = "avg10_percent")]
    pub avg10: f64,
    /// Per cent of the last minute.
    #[serde(rename = "avg60_percent")]
    pub avg60: f64,
    /// Per cent of the last 5 minutes.
    #[serde(rename = "avg300_percent")]
    pub avg300: f64,
    /// Microseconds since the group was made.
    #[serde(rename = "total_us")]
    pub total: u64,
}

/// What the kernel counts for a load average.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tasks {
    /// They run, or could.
    pub runnable: u32,
    /// They wait and cannot be interrupted.
    pub blocked: u32,
}

impl Tasks {
    /// What goes into a load average.
    pub fn active(self) -> u32 {
        self.runnable + self.blocked
    }
}

/// What there are figures of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Tasks.
    Pids,
    /// Block devices.
    Io,
}

/// Knows in which hierarchy each file of a group is.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// Version 1's time, in nanoseconds.
    cpuacct: Option<Place>,
    /// Version 1's quota.
    cpu: Option<Place>,
    memory: Option<Place>,
    pids: Option<Place>,
    blkio: Option<Place>,
    unified: Option<Place>,
    members: Option<Place>,
}

impl Meter {
    /// Looks once which files there are.
    pub fn of(group: &Group) -> Self {
        let all = || group.directories.iter().map(|(version, directory)| Place::new(*version, directory));
        let with = |file: &str| all().find(|place| place.has(file));
        Self {
            cpuacct: with("cpuacct.usage"),
            cpu: with("cpu.cfs_quota_us"),
            memory: with("memory.usage_in_bytes").or_else(|| with("memory.current")),
            pids: with("pids.current"),
            blkio: with("blkio.throttle.io_service_bytes_recursive"),
            unified: all().find(Place::is_two),
            members: with("pids.current").or_else(|| all().next()),
        }
    }

    /// For whoever wants one kind of figures: the files of others are not looked for.
    pub fn of_one(group: &Group, kind: Kind) -> Self {
        let all = || group.directories.iter().map(|(version, directory)| Place::new(*version, directory));
        let with = |file: &str| all().find(|place| place.has(file));
        let own = Self { unified: all().find(Place::is_two), ..Self::default() };
        match kind {
            Kind::Cpu => Self { cpuacct: with("cpuacct.usage"), cpu: with("cpu.cfs_quota_us"), ..own },
            Kind::Memory => {
                Self { memory: with("memory.usage_in_bytes").or_else(|| with("memory.current")), ..own }
            }
            Kind::Pids => Self { pids: with("pids.current"), ..own },
            Kind::Io => Self { blkio: with("blkio.throttle.io_service_bytes_recursive"), ..own },
        }
    }

    /// Processor time in nanoseconds: one small file, which tells whether anybody did anything at all.
    pub fn cpu_time(&self) -> Option<u64> {
        match &self.cpuacct {
            Some(place) => place.number("cpuacct.usage"),
            None => Some(self.unified.as_ref()?.text("cpu.stat")?.key("usage_usec")? * MICRO),
        }
    }

    /// The same file, kept open for whoever asks often.
    pub fn clock(&self) -> Option<Clock> {
        let (place, file) = match &self.cpuacct {
            Some(place) => (place, "cpuacct.usage"),
            None => (self.unified.as_ref()?, "cpu.stat"),
        };
        Some(Clock(place.open(file)?))
    }

    /// All figures of now.
    pub fn read(&self) -> Figures {
        Figures {
            cpu: self.cpu(),
            memory: self.memory(),
            pids: self.pids(),
            io: self.io(),
            pressure: Pressures {
                cpu: self.pressure(Kind::Cpu),
                memory: self.pressure(Kind::Memory),
                io: self.pressure(Kind::Io),
            },
            tasks: self.tasks(),
        }
    }

    /// The tasks that count for a load average; None where nobody can be seen.
    pub fn tasks(&self) -> Option<Tasks> {
        self.members.as_ref().and_then(tasks::count)
    }

    /// Whether the group is still there.
    pub fn is_there(&self) -> bool {
        self.members.as_ref().is_some_and(|place| place.has("cgroup.procs"))
    }

    /// Memory by kind.
    pub fn memory(&self) -> Memory {
        self.memory.as_ref().map(memory::memory).unwrap_or_default()
    }

    /// Processor time, and how much of it there may be.
    pub fn cpu(&self) -> Cpu {
        let two = self.unified.as_ref().and_then(|place| place.text("cpu.stat"));
        let micros = |key: &str| Some(two.as_ref()?.key(key)? * MICRO);
        let one = self.cpuacct.as_ref().and_then(|place| place.number("cpuacct.usage"));
        let quota = self.cpu.as_ref().and_then(|place| place.text("cpu.stat"));
        let (periods, throttled_periods, throttled) = match (&quota, &two) {
            (Some(text), _) => (text.key("nr_periods"), text.key("nr_throttled"), text.key("throttled_time")),
            (None, Some(text)) => {
                (text.key("nr_periods"), text.key("nr_throttled"), micros("throttled_usec"))
            }
            (None, None) => (None, None, None),
        };
        Cpu {
            usage: one.or_else(|| micros("usage_usec")),
            user: micros("user_usec").or_else(|| self.cpuacct.as_ref()?.number("cpuacct.usage_user")),
            system: micros("system_usec").or_else(|| self.cpuacct.as_ref()?.number("cpuacct.usage_sys")),
            periods,
            throttled_periods,
            throttled,
            limit: self.quota(),
        }
    }

    /// In processors.
    fn quota(&self) -> Option<f64> {
        let (quota, period) = match &self.cpu {
            // No quota is -1, which is no number here.
            Some(place) => (place.number("cpu.cfs_quota_us")?, place.number("cpu.cfs_period_us")?),
            None => {
                let text = self.unified.as_ref()?.text("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            }
        };
        (period > 0).then(|| quota as f64 / period as f64)
    }

    /// Tasks.
    pub fn pids(&self) -> Pids {
        let number = |file: &str| self.pids.as_ref()?.number(file);
        Pids { current: number("pids.current"), limit: number("pids.max") }
    }

    /// How long somebody waited for something; None where the kernel does not tell.
    pub fn pressure(&self, kind: Kind) -> Option<Pressure> {
        let file = match kind {
            Kind::Cpu => "cpu.pressure",
            Kind::Memory => "memory.pressure",
            Kind::Io => "io.pressure",
            Kind::Pids => return None,
        };
        self.unified.as_ref()?.text(file)?.pressure()
    }

    /// Transfers by device; None where nobody counts them.
    pub fn io(&self) -> Option<Vec<Io>> {
        if let Some(text) = self.unified.as_ref().and_then(|place| place.text("io.stat")) {
            return Some(files::io_two(&text));
        }
        let place = self.blkio.as_ref()?;
        let bytes = place.text("blkio.throttle.io_service_bytes_recursive")?;
        let transfers = place.text("blkio.throttle.io_serviced_recursive")?;
        let devices = files::io_one(&bytes, &transfers);
        // A kernel that has never had a limit to keep may not count at all: then no group has a line.
        (!devices.is_empty() || place.counts_above("blkio.throttle.io_service_bytes_recursive"))
            .then_some(devices)
    }
}

/// The processor time of a group, by one call each time.
#[derive(Debug)]
pub struct Clock(std::fs::File);

impl Clock {
    /// Nanoseconds; None when the group is gone.
    pub fn read(&self) -> Option<u64> {
        let text = files::again(&self.0)?;
        text.trim().parse().ok().or_else(|| Some(text.key("usage_usec")? * MICRO))
    }
}

impl Group {
    /// What it uses now.
    pub fn figures(&self) -> Figures {
        Meter::of(self).read()
    }
}

/// Nanoseconds.
const MICRO: u64 = 1000;

/// The pressure of the whole host, from /proc/pressure.
pub fn host_pressure() -> Pressures {
    let proc = Place::new(crate::Version::Two, std::path::Path::new("/proc/pressure"));
    let read = |file: &str| proc.text(file)?.pressure();
    Pressures { cpu: read("cpu"), memory: read("memory"), io: read("io") }
}

#[cfg(test)]
mod check;
