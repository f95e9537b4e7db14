//! Processor time.

use super::read::{Files, number_of};
use super::{Cpu, CpuSet, CpuUsage, Throttling};

/// Version 1's cpuacct.stat counts in these, whatever the kernel ticks.
const TICK: u64 = 1_000_000_000 / 100;
const MICRO: u64 = 1000;

pub(super) fn cpu(files: &Files) -> Cpu {
    // On a hybrid host both versions have a file of this name, with different lines in it.
    let stat = files.texts("cpu.stat").join("\n");
    let number = |key: &str| number_of(&stat, key);
    let throttled = number("throttled_time").or_else(|| Some(number("throttled_usec")? * MICRO));
    Cpu {
        usage: usage_one(files).unwrap_or_else(|| CpuUsage {
            total: number("usage_usec").unwrap_or(0) * MICRO,
            kernel: number("system_usec").unwrap_or(0) * MICRO,
            user: number("user_usec").unwrap_or(0) * MICRO,
            ..CpuUsage::default()
        }),
        throttling: Throttling {
            periods: number("nr_periods").unwrap_or(0),
            throttled_periods: number("nr_throttled").unwrap_or(0),
            throttled_time: throttled.unwrap_or(0),
        },
        psi: files.pressure("cpu.pressure"),
    }
}

fn usage_one(files: &Files) -> Option<CpuUsage> {
    let total = files.maybe("cpuacct.usage")?;
    let numbers = |file: &str| -> Vec<u64> {
        let text = files.text(file).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let ticks = |key: &str| files.key("cpuacct.stat", key) * TICK;
    let exact = |file: &str, key: &str| files.first_or(file, || ticks(key));
    Some(CpuUsage {
        total,
        percpu: numbers("cpuacct.usage_percpu"),
        percpu_kernel: numbers("cpuacct.usage_percpu_sys"),
        percpu_user: numbers("cpuacct.usage_percpu_user"),
        kernel: exact("cpuacct.usage_sys", "system"),
        user: exact("cpuacct.usage_user", "user"),
    })
}

pub(super) fn set(files: &Files) -> CpuSet {
    let list = |names: [&str; 3]| {
        let texts = names.iter().filter_map(|file| files.text(file));
        let text = texts.into_iter().find(|text| !text.trim().is_empty());
        text.map(|text| numbers(text.trim())).unwrap_or_default()
    };
    let flag = |name: &str| files.number(&format!("cpuset.{name}"));
    CpuSet {
        cpus: list(["cpuset.cpus", "cpuset.effective_cpus", "cpuset.cpus.effective"]),
        cpu_exclusive: flag("cpu_exclusive"),
        mems: list(["cpuset.mems", "cpuset.effective_mems", "cpuset.mems.effective"]),
        mem_hardwall: flag("mem_hardwall"),
        mem_exclusive: flag("mem_exclusive"),
        memory_migrate: flag("memory_migrate"),
        memory_spread_page: flag("memory_spread_page"),
        memory_spread_slab: flag("memory_spread_slab"),
        memory_pressure: flag("memory_pressure"),
        sched_load_balance: flag("sched_load_balance"),
        sched_relax_domain_level: files
            .text("cpuset.sched_relax_domain_level")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0),
    }
}

/// `0-2,5`
pub(super) fn numbers(list: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}
