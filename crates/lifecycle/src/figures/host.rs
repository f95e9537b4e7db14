//! The host, as it counts itself.

use std::fs;
use std::path::Path;

use cgroup::figures::Pressures;
use serde::Serialize;

use super::network;
use super::room::{self, Room};
use super::survey::Nic;

/// /proc/stat counts in these.
const TICK: u64 = 1_000_000_000 / 100;

/// What the host uses, of what it has.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Host {
    /// Processors that are on.
    pub processors: u32,
    /// Time that processors were busy since the boot.
    #[serde(rename = "cpu_busy_ns")]
    pub cpu_busy: Option<u64>,
    /// Of one processor, since the look before.
    pub cpu_percent: Option<f64>,
    /// Memory.
    pub memory: HostMemory,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Tasks that want a processor.
    pub runnable: Option<u64>,
    /// Tasks that wait for a device.
    pub blocked: Option<u64>,
    /// How long somebody waited.
    pub pressure: Pressures,
    /// All network devices but the loopback.
    pub network: Option<Nic>,
    /// The file system that the state directory is on.
    pub disk: Option<Room>,
}

/// The host's memory, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct HostMemory {
    /// All there is.
    #[serde(rename = "total_bytes")]
    pub total: Option<u64>,
    /// What could be had without swapping.
    #[serde(rename = "available_bytes")]
    pub available: Option<u64>,
    /// Used by nobody, for nothing.
    #[serde(rename = "free_bytes")]
    pub free: Option<u64>,
    /// Page cache.
    #[serde(rename = "cache_bytes")]
    pub cache: Option<u64>,
    /// Of the kernel: caches of objects.
    #[serde(rename = "slab_bytes")]
    pub slab: Option<u64>,
    /// Swap.
    #[serde(rename = "swap_total_bytes")]
    pub swap_total: Option<u64>,
    /// Swap in use.
    #[serde(rename = "swap_used_bytes")]
    pub swap_used: Option<u64>,
}

impl HostMemory {
    /// What is not available.
    pub fn used(&self) -> Option<u64> {
        self.total?.checked_sub(self.available?)
    }
}

impl Host {
    /// Now; `state` is a directory of the file system to tell of.
    pub fn now(state: &Path) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let after = |key: &str| stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        Self {
            processors: processors(&stat),
            cpu_busy: busy(&stat),
            cpu_percent: None,
            memory: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            load: load(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
            runnable: after("procs_running "),
            blocked: after("procs_blocked "),
            pressure: cgroup::figures::host_pressure(),
            network: network::of(Path::new("/proc/self/net/dev")).map(|now| Nic::of(now, None, 0.0)),
            disk: room::of_state(state),
        }
    }
}

fn processors(stat: &str) -> u32 {
    let numbered = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| !rest.starts_with(' '));
    stat.lines().filter(numbered).count() as u32
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`: the guests are in user and
/// nice, and what was stolen was used by somebody else.
fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else { return None };
    Some((user + nice + system + irq + softirq) * TICK)
}

fn memory(text: &str) -> HostMemory {
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    };
    let swap_total = bytes("SwapTotal");
    HostMemory {
        total: bytes("MemTotal"),
        available: bytes("MemAvailable"),
        free: bytes("MemFree"),
        cache: bytes("Cached"),
        slab: bytes("Slab"),
        swap_total,
        swap_used: swap_total.zip(bytes("SwapFree")).map(|(total, free)| total.saturating_sub(free)),
    }
}

fn load(text: &str) -> Option<[f64; 3]> {
    let mut words = text.split(' ').map_while(|word| word.parse().ok());
    Some([words.next()?, words.next()?, words.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_waiting_and_stolen() {
        let stat =
            "cpu  1 2 3 400 500 6 7 800 1 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\nctxt 5\n";
        assert_eq!((busy(stat), processors(stat)), (Some(19 * TICK), 2));
        assert_eq!(busy("cpu  1 2"), None);
    }

    #[test]
    fn this_host() {
        let host = Host::now(Path::new("/"));
        assert!(host.processors > 0 && host.cpu_busy > Some(0) && host.load.is_some(), "{host:?}");
        assert!(host.memory.used() > Some(0) && host.memory.used() < host.memory.total, "{host:?}");
        assert!(host.disk.as_ref().is_some_and(|disk| Some(disk.used) < disk.size), "{host:?}");
    }
}
