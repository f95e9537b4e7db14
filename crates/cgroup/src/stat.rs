//! The figures of a group, in the shape that `runc events --stats` prints and engines read.
//!
//! The names of the fields are that shape; times are nanoseconds, sizes bytes. What the host does
//! not tell is left out or 0.

mod block;
mod cpu;
mod memory;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::group::Group;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors and memory nodes.
    pub cpuset: CpuSet,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by size.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Of processors that divide their caches: not asked for.
    pub intel_rdt: BTreeMap<String, String>,
    /// Not the control group's to know.
    pub network_interfaces: Option<Vec<String>>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// What was used.
    pub usage: CpuUsage,
    /// How often the quota was used up.
    pub throttling: Throttling,
    /// How much of the time somebody waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// Altogether.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor; version 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel by processor; version 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In programs by processor; version 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// The quota at work.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which somebody ran.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which they were stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// For how many nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Processors and memory nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuSet {
    /// Processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// Version 1's flag of that name, as all that follow.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// Flag.
    pub mem_hardwall: u64,
    /// Flag.
    pub mem_exclusive: u64,
    /// Flag.
    pub memory_migrate: u64,
    /// Flag.
    pub memory_spread_page: u64,
    /// Flag.
    pub memory_spread_slab: u64,
    /// How hard it is to find memory.
    pub memory_pressure: u64,
    /// Flag.
    pub sched_load_balance: u64,
    /// How far the scheduler looks.
    pub sched_relax_domain_level: i64,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Of files.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// All of it.
    pub usage: MemoryEntry,
    /// Memory and swap together, as version 1 counts.
    pub swap: MemoryEntry,
    /// The kernel's.
    pub kernel: MemoryEntry,
    /// Buffers of TCP.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// How much of the time somebody waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
    /// How often what happened; version 2's memory.events.
    pub event_count: EventCount,
}

/// One count of memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// The most there may be; the largest number is none.
    pub limit: u64,
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// At most so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was reached.
    pub failcnt: u64,
}

/// How often what happened to memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EventCount {
    /// Taken in spite of `memory.low`.
    #[serde(skip_serializing_if = "is_zero")]
    pub low: u64,
    /// Slowed down at `memory.high`.
    #[serde(skip_serializing_if = "is_zero")]
    pub high: u64,
    /// At `memory.max`.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// There was none to be had.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom: u64,
    /// Processes killed.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kill: u64,
}

/// Tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pids {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// The most there may be; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Transfers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// How much of the time somebody waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// One count of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// The device.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// How much.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// At most so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was reached.
    pub failcnt: u64,
}

/// Pressure stall information.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Psi {
    /// Somebody waited.
    pub some: PsiData,
    /// All waited.
    pub full: PsiData,
}

/// Per cent of the last 10, 60 and 300 seconds, and microseconds altogether.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PsiData {
    /// 10 seconds.
    pub avg10: f64,
    /// 60 seconds.
    pub avg60: f64,
    /// 300 seconds.
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Group {
    /// The figures of now.
    pub fn stats(&self) -> Stats {
        let files = read::Files::new(self.directories.iter().map(|(_, directory)| directory.clone()));
        Stats {
            cpu: cpu::cpu(&files),
            cpuset: cpu::set(&files),
            memory: memory::memory(&files),
            pids: pids(&files),
            blkio: block::block(&files),
            hugetlb: hugetlb(&files),
            ..Stats::default()
        }
    }
}

fn pids(files: &read::Files) -> Pids {
    Pids { current: files.number("pids.current"), limit: files.number("pids.max") }
}

fn hugetlb(files: &read::Files) -> BTreeMap<String, Hugetlb> {
    let sizes: Vec<(String, PathBuf)> = files.named("hugetlb.", &[".usage_in_bytes", ".current"]);
    let rsvd = |(size, _): &(String, PathBuf)| !size.ends_with(".rsvd");
    let sizes = sizes.into_iter().filter(rsvd).map(|(size, _)| {
        let file = |end: &str| format!("hugetlb.{size}.{end}");
        let pages = Hugetlb {
            usage: files.first(&[&file("usage_in_bytes"), &file("current")]),
            max: files.number(&file("max_usage_in_bytes")),
            failcnt: files.first_or(&file("failcnt"), || files.key(&file("events"), "max")),
        };
        (size, pages)
    });
    sizes.collect()
}

#[cfg(test)]
mod tests;
