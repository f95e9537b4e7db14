//! Values that no kernel takes: refused before anything is done.

use std::ops::RangeInclusive;

use super::{Cpu, Io, Limit, Memory, Resources};
use crate::{Error, Result};

/// Tasks: PID_MAX_LIMIT of the kernel.
const MAX_TASKS: u64 = 4 << 20;

/// Files of a version 2 group that are no resource: they move or end processes, or take the
/// group's shape from whoever made it.
const NO_RESOURCES: [&str; 6] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.kill",
    "cgroup.freeze",
    "cgroup.type",
    "cgroup.subtree_control",
];

impl Resources {
    /// Refuses values out of range and words that contradict each other.
    ///
    /// # Errors
    /// The first of them, by its name.
    pub fn check(&self) -> Result<()> {
        check_memory(&self.memory)?;
        check_cpu(&self.cpu)?;
        within("pids", self.pids.and_then(Limit::number), 0..=MAX_TASKS)?;
        check_io(&self.io)?;
        self.hugepages.keys().try_for_each(|size| check_page_size(size))?;
        self.rdma.keys().chain(self.misc.keys()).try_for_each(|name| check_word("resource", name))?;
        self.network.priorities.keys().try_for_each(|name| check_word("interface", name))?;
        self.unified.iter().try_for_each(|(file, value)| check_unified(file, value))?;
        self.devices.iter().flatten().try_for_each(super::DeviceRule::check)
    }
}

fn check_memory(memory: &Memory) -> Result<()> {
    if let Some(Limit::At(_)) = memory.kernel {
        return Err(Error::unsupported(
            "a limit of kernel memory alone: kernels since Linux 5.16 take the number and ignore it",
        )
        .hint("leave it out: memory.max counts the kernel's memory too"));
    }
    within("memory.swappiness", memory.swappiness, 0..=100)?;
    let bytes = [
        ("memory.max", memory.max),
        ("memory.high", memory.high),
        ("memory.low", memory.low),
        ("memory.min", memory.min),
        ("memory.swap", memory.swap),
        ("memory.tcp", memory.tcp),
    ];
    // The kernel counts pages in a signed number of bytes.
    bytes
        .iter()
        .try_for_each(|(name, limit)| within(name, limit.and_then(Limit::number), 0..=i64::MAX as u64))
}

fn check_cpu(cpu: &Cpu) -> Result<()> {
    if cpu.weight.is_some() && cpu.shares.is_some() {
        return Err(Error::user(
            "cpu.weight and cpu.shares say the same thing in two units; give one of them",
        ));
    }
    within("cpu.weight", cpu.weight, 1..=10_000)?;
    within("cpu.shares", cpu.shares, 2..=262_144)?;
    // More than this the kernel cannot count in nanoseconds.
    let longest = (1 << 44) / 1000;
    let quota = cpu.quota.and_then(Limit::number);
    within("cpu.quota", quota, 1000..=longest)?;
    within("cpu.period", cpu.period, 1000..=1_000_000)?;
    within("cpu.burst", cpu.burst, 0..=longest)?;
    if let (Some(quota), Some(burst)) = (quota, cpu.burst) {
        within("cpu.burst", Some(burst), 0..=quota)?;
    }
    within("cpu.realtime-period", cpu.realtime_period, 1..=u64::from(u32::MAX))?;
    let most = cpu.realtime_period.unwrap_or(u64::from(u32::MAX));
    within("cpu.realtime-runtime", cpu.realtime_runtime, 0..=most)?;
    check_list("cpu.cpus", cpu.cpus.as_deref())?;
    check_list("cpu.mems", cpu.mems.as_deref())
}

fn check_io(io: &Io) -> Result<()> {
    let weights = io.device_weights.iter().map(|device| device.weight).chain(io.weight);
    weights.map(Some).try_for_each(|weight| within("io.weight", weight, 1..=10_000))?;
    let rates = io.rates.iter().map(|rate| rate.limit.number());
    rates.into_iter().try_for_each(|rate| within("io.rates", rate, 1..=u64::MAX))
}

fn within(name: &str, value: Option<u64>, range: RangeInclusive<u64>) -> Result<()> {
    match value {
        Some(value) if !range.contains(&value) => Err(Error::user(format!(
            "{name} = {value} is out of range: {} to {}",
            range.start(),
            range.end()
        ))),
        _ => Ok(()),
    }
}

/// The kernel's lists: `0-3,8`, `0-10:2/4` (groups in a range), `all`.
fn check_list(name: &str, list: Option<&str>) -> Result<()> {
    let fine = |letter: char| letter.is_ascii_digit() || ",-:/".contains(letter);
    match list {
        Some(list) if list != "all" && !list.trim().chars().all(fine) => {
            Err(Error::user(format!("{name} = {list:?} is no list of numbers")).hint("for example 0-3,8"))
        }
        _ => Ok(()),
    }
}

/// `2MB`, `1GB`: part of a file name.
fn check_page_size(size: &str) -> Result<()> {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(number) if number.is_power_of_two() => Ok(()),
        _ => Err(Error::user(format!("{size:?} is no size of huge pages")).hint("for example 2MB or 1GB")),
    }
}

/// A word that is written before a value, in one line.
fn check_word(what: &str, name: &str) -> Result<()> {
    let fine = !name.is_empty() && name.len() < 256 && name.chars().all(|letter| letter.is_ascii_graphic());
    if fine { Ok(()) } else { Err(Error::user(format!("{name:?} is no name of a {what}"))) }
}

fn check_unified(file: &str, value: &str) -> Result<()> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !file.chars().all(fine) || file.starts_with('.') || !file.contains('.') || file.len() > 255 {
        return Err(Error::user(format!("{file:?} is no name of a file in a control group"))
            .hint("for example memory.high; without a directory"));
    }
    if NO_RESOURCES.contains(&file) {
        return Err(Error::user(format!("{file} is no resource: it moves or ends processes")));
    }
    if value.contains('\0') || value.len() > 4096 {
        return Err(Error::user(format!("what is to be written to {file} is too long or not text")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{DeviceNumber, DeviceRate, HugePages, Rate};
    use super::*;

    fn refused(change: impl FnOnce(&mut Resources)) -> String {
        let mut resources = Resources::default();
        change(&mut resources);
        resources.check().expect_err("refused").chain()
    }

    #[test]
    fn ranges() {
        assert!(refused(|r| r.cpu.weight = Some(0)).contains("cpu.weight = 0"));
        assert!(refused(|r| r.cpu.shares = Some(1)).contains("2 to 262144"));
        assert!(refused(|r| r.cpu.period = Some(999)).contains("1000 to 1000000"));
        assert!(refused(|r| r.cpu.quota = Some(Limit::At(999))).contains("cpu.quota"));
        assert!(refused(|r| r.pids = Some(Limit::At(u64::MAX))).contains("pids"));
        assert!(refused(|r| r.memory.max = Some(Limit::At(u64::MAX))).contains("memory.max"));
        assert!(refused(|r| r.memory.swappiness = Some(101)).contains("0 to 100"));
        assert!(refused(|r| r.io.weight = Some(10_001)).contains("io.weight"));
        let device = DeviceNumber { major: 8, minor: 0 };
        let rate = DeviceRate { device, rate: Rate::Reads, limit: Limit::At(0) };
        assert!(refused(|r| r.io.rates.push(rate)).contains("io.rates"));
    }

    #[test]
    fn contradictions() {
        assert!(refused(|r| (r.cpu.weight, r.cpu.shares) = (Some(1), Some(2))).contains("two units"));
        let burst = |r: &mut Resources| (r.cpu.quota, r.cpu.burst) = (Some(Limit::At(2000)), Some(3000));
        assert!(refused(burst).contains("0 to 2000"));
        assert!(refused(|r| r.memory.kernel = Some(Limit::At(1))).contains("ignore it"));
    }

    #[test]
    fn names_that_are_paths() {
        for file in
            ["../memory.max", "a/memory.max", "", ".", "..", "cgroup.procs", "memory", "cgroup.kill", "a\n.b"]
        {
            let write = |r: &mut Resources| r.unified = [(file.to_owned(), "1".to_owned())].into();
            assert!(!refused(write).is_empty(), "{file}");
        }
        for size in ["", "2M", "3MB", "../2MB", "0MB", "-2MB"] {
            let pages = |r: &mut Resources| r.hugepages = [(size.to_owned(), HugePages::default())].into();
            assert!(!refused(pages).is_empty(), "{size}");
        }
        assert!(!refused(|r| r.network.priorities = [("eth 0".to_owned(), 1)].into()).is_empty());
        assert!(!refused(|r| r.cpu.cpus = Some("0;1".to_owned())).is_empty());
    }
}
