//! From people's words to resources of control groups.

use super::{Cpus, Limits};
use crate::resources::{Cpu, DeviceNumber, DeviceRate, HugePages, Io, Limit, Memory, Rate, Rdma, Resources};
use crate::{Error, Result};

/// Microseconds, where nothing is said.
const PERIOD: u64 = 100_000;

/// What a program takes before it has begun, and some more.
const LEAST_MEMORY: u64 = 1 << 20;

/// Microseconds of real-time scheduling are counted in each second.
const REALTIME_PERIOD: u64 = 1_000_000;

impl Limits {
    /// What is to be said to control groups. `disk` finds the disk that a path is on.
    ///
    /// # Errors
    /// Values out of range, words that contradict each other, and what `disk` does not find.
    pub fn resources(&self, disk: impl Fn(&str) -> Result<DeviceNumber>) -> Result<Resources> {
        if let Some(size) = self.memory.filter(|size| size.0 < Limit::At(LEAST_MEMORY)) {
            return Err(Error::user(format!("memory = {size} is too little to start anything"))
                .hint(format!("the least is {}; max is no limit", super::Size(Limit::At(LEAST_MEMORY)))));
        }
        let resources = Resources {
            memory: self.memory(),
            cpu: self.cpu()?,
            pids: self.pids.map(|count| count.0),
            io: self.io(disk)?,
            hugepages: self.hugepages.iter().map(|(size, most)| (size.clone(), pages(most.0))).collect(),
            rdma: self
                .rdma
                .iter()
                .map(|(name, text)| Ok((name.clone(), rdma(text)?)))
                .collect::<Result<_>>()?,
            misc: self.misc.iter().map(|(name, count)| (name.clone(), count.0)).collect(),
            unified: self.unified.clone(),
            ..Resources::default()
        };
        resources.check().map(|()| resources)
    }

    fn memory(&self) -> Memory {
        Memory {
            max: self.memory.map(|size| size.0),
            high: self.memory_high.map(|size| size.0),
            low: self.memory_low.map(|size| size.0),
            min: self.memory_min.map(|size| size.0),
            swap: self.swap.map(|size| size.0),
            oom_group: self.oom_group,
            tcp: self.tcp_memory.map(|size| size.0),
            ..Memory::default()
        }
    }

    fn cpu(&self) -> Result<Cpu> {
        let period = self.cpu_period.unwrap_or(PERIOD);
        let part = |cpus: Cpus| cpus.0.number().map(|thousandths| thousandths.saturating_mul(period) / 1000);
        let quota = self.cpus.map(|cpus| part(cpus).map_or(Limit::Max, Limit::At));
        if let Some(Limit::At(micros @ ..1000)) = quota {
            return Err(Error::user(format!(
                "cpus = {} of a period of {period} µs are {micros} µs, and the kernel counts from 1000 on",
                self.cpus.map(|cpus| cpus.to_string()).unwrap_or_default()
            ))
            .hint("give a longer cpu_period, 1000000 at most"));
        }
        if self.cpu_burst.is_some() && quota.is_none_or(|quota| quota == Limit::Max) {
            return Err(Error::user("cpu_burst has nothing to save from where cpus are not limited")
                .hint("give cpus too"));
        }
        Ok(Cpu {
            weight: self.cpu_weight,
            shares: self.cpu_shares,
            quota,
            period: quota.is_some().then_some(period).or(self.cpu_period),
            burst: self.cpu_burst.and_then(part),
            realtime_runtime: self.cpu_realtime,
            realtime_period: self.cpu_realtime.map(|_| REALTIME_PERIOD),
            cpus: self.cpuset.clone(),
            mems: self.memory_nodes.clone(),
            idle: self.cpu_idle,
        })
    }

    fn io(&self, disk: impl Fn(&str) -> Result<DeviceNumber>) -> Result<Io> {
        let bytes = [(&self.io_read, Rate::ReadBytes), (&self.io_write, Rate::WriteBytes)];
        let counts = [(&self.io_reads, Rate::Reads), (&self.io_writes, Rate::Writes)];
        let bytes = bytes
            .iter()
            .flat_map(|(table, rate)| table.iter().map(move |(path, size)| (path, *rate, size.0)));
        let counts = counts
            .iter()
            .flat_map(|(table, rate)| table.iter().map(move |(path, count)| (path, *rate, count.0)));
        let rates = bytes
            .chain(counts)
            .map(|(path, rate, limit)| Ok(DeviceRate { device: disk(path)?, rate, limit }));
        let rates = rates.collect::<Result<_>>()?;
        Ok(Io { weight: self.io_weight, rates: least_of_each(rates), ..Io::default() })
    }
}

/// Several paths may be on one disk: the least holds.
fn least_of_each(mut rates: Vec<DeviceRate>) -> Vec<DeviceRate> {
    rates.sort_by_key(|rate| (rate.device, rate.rate, rate.limit));
    rates.dedup_by_key(|rate| (rate.device, rate.rate));
    rates
}

fn pages(most: Limit) -> HugePages {
    HugePages { max: Some(most), reserved: None }
}

/// `HANDLES:OBJECTS`; either may be `max`.
fn rdma(text: &str) -> Result<Rdma> {
    let one = |word: &str| word.parse::<super::Count>().map(|count| Some(count.0));
    let (handles, objects) = text.split_once(':').ok_or_else(|| {
        Error::user(format!("{text:?} is no limit of an RDMA device")).hint("as in 2:2000 or max:2000")
    })?;
    Ok(Rdma { handles: one(handles)?, objects: one(objects)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Result<Resources> {
        let limits: Limits = toml::from_str(text).expect("limits");
        limits.resources(|path| match path {
            "/" | "/srv" => Ok(DeviceNumber { major: 8, minor: 0 }),
            other => Err(Error::not_found(format!("no disk is below {other}"))),
        })
    }

    #[test]
    fn processors_become_quota_and_period() {
        let cpu = resources("cpus = 1.5\ncpu_burst = 0.5").expect("resources").cpu;
        assert_eq!(
            (cpu.quota, cpu.period, cpu.burst),
            (Some(Limit::At(150_000)), Some(PERIOD), Some(50_000))
        );
        let cpu = resources("cpus = \"max\"").expect("resources").cpu;
        assert_eq!(cpu.quota, Some(Limit::Max));
        assert!(resources("cpus = 0.001").expect_err("too little").hints()[0].contains("cpu_period"));
        assert!(resources("cpus = 0.001\ncpu_period = 1000000").is_ok());
        assert!(resources("cpu_burst = 1").is_err());
        assert!(
            resources("cpus = 1\ncpu_burst = 2").expect_err("more than the quota").chain().contains("burst")
        );
    }

    #[test]
    fn disks_are_found_by_paths() {
        let io =
            resources("io_read = { \"/\" = \"1M\" }\nio_writes = { \"/\" = 100 }").expect("resources").io;
        assert_eq!(io.rates.len(), 2);
        assert_eq!((io.rates[0].rate, io.rates[0].limit), (Rate::ReadBytes, Limit::At(1 << 20)));
        assert!(resources("io_read = { \"/proc\" = \"1M\" }").is_err());
        let io = resources("io_read = { \"/\" = \"9M\", \"/srv\" = \"1M\" }").expect("resources").io;
        assert_eq!((io.rates.len(), io.rates[0].limit), (1, Limit::At(1 << 20)));
    }

    #[test]
    fn contradictions_and_ranges() {
        assert!(resources("cpu_weight = 1\ncpu_shares = 2").is_err());
        assert!(resources("memory = \"4K\"").expect_err("too little").hints()[0].contains("1M"));
        assert!(resources("cpu_weight = 0").is_err() && resources("io_weight = 10001").is_err());
        assert!(resources("hugepages = { x = 1 }").is_err() && resources("rdma = { a = \"1\" }").is_err());
        assert!(resources("").expect("nothing") == Resources::default());
    }
}
