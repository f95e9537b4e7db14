//! Processors and their time.

use spec::Result;
use spec::resources::{Cpu, Limit, shares_to_weight, weight_to_shares};

use super::{Plan, only};
use crate::layout::Version;

const CPU: &str = "cpu";
const CPUSET: &str = "cpuset";

impl Plan<'_> {
    /// Memory nodes first: version 1 lets nobody in before both are there, and what is moved goes
    /// to nodes near the processors.
    pub(super) fn cpuset(&mut self, cpu: &Cpu) -> Result<()> {
        for (file, wanted, list) in [
            ("cpuset.mems", "memory nodes", &cpu.mems),
            ("cpuset.cpus", "the choice of processors", &cpu.cpus),
        ] {
            let Some(list) = list else { continue };
            let version = self.version(CPUSET, CPUSET, wanted)?;
            if list.trim().is_empty() && version == Version::One {
                return Err(only("2", &format!("an empty {file}"), "name those of the group above"));
            }
            self.put(version, CPUSET, file, list.trim());
        }
        Ok(())
    }

    pub(super) fn cpu(&mut self, cpu: &Cpu) -> Result<()> {
        if *cpu == (Cpu { cpus: cpu.cpus.clone(), mems: cpu.mems.clone(), ..Cpu::default() }) {
            return Ok(());
        }
        let version = self.version(CPU, CPU, "processor time")?;
        let idle = cpu.idle.filter(|idle| *idle != self.now.idle);
        // An idle group takes no share; nobody idle is given one.
        self.idle(version, idle.filter(|idle| !idle));
        match version {
            Version::One => {
                let shares = cpu.shares.or(cpu.weight.map(weight_to_shares));
                self.number(version, "cpu.shares", shares);
                self.real_time(cpu);
            }
            Version::Two => {
                if cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some() {
                    return Err(only(
                        "1",
                        "a budget of real-time scheduling",
                        "leave it out, and give the process \
                         a scheduler of its own: version 2 does not limit those",
                    ));
                }
                let weight = cpu.weight.or(cpu.shares.map(shares_to_weight));
                self.number(version, "cpu.weight", weight);
            }
        }
        self.bandwidth(version, cpu);
        self.idle(version, idle.filter(|idle| *idle));
        Ok(())
    }

    /// The kernel wants the burst within the quota at any time.
    fn bandwidth(&mut self, version: Version, cpu: &Cpu) {
        let burst_file = match version {
            Version::One => "cpu.cfs_burst_us",
            Version::Two => "cpu.max.burst",
        };
        let falls = |burst: &u64| *burst < self.now.burst;
        let (first, last) = (cpu.burst.filter(falls), cpu.burst.filter(|burst| !falls(burst)));
        self.number(version, burst_file, first);
        match version {
            Version::One => self.quota_one(cpu),
            Version::Two if cpu.quota.is_some() || cpu.period.is_some() => {
                let quota = cpu.quota.unwrap_or(self.now.quota);
                let period = cpu.period.unwrap_or(self.now.period);
                self.put(version, CPU, "cpu.max", format_args!("{quota} {period}"));
            }
            Version::Two => {}
        }
        self.number(version, burst_file, last);
    }

    /// Two files for one fraction, which may at no time be more than that of the group above: what
    /// makes it less comes first.
    fn quota_one(&mut self, cpu: &Cpu) {
        let longer = cpu.period.filter(|period| *period > self.now.period);
        self.number(Version::One, "cpu.cfs_period_us", longer);
        if let Some(quota) = cpu.quota {
            self.put(Version::One, CPU, "cpu.cfs_quota_us", Limit::signed(quota));
        }
        self.number(Version::One, "cpu.cfs_period_us", cpu.period.filter(|_| longer.is_none()));
    }

    /// The same with the budget of real-time scheduling, which is at most its period.
    fn real_time(&mut self, cpu: &Cpu) {
        let longer = cpu.realtime_period.filter(|period| *period > self.now.realtime_period);
        self.number(Version::One, "cpu.rt_period_us", longer);
        self.number(Version::One, "cpu.rt_runtime_us", cpu.realtime_runtime);
        self.number(Version::One, "cpu.rt_period_us", cpu.realtime_period.filter(|_| longer.is_none()));
    }

    fn idle(&mut self, version: Version, idle: Option<bool>) {
        self.number(version, "cpu.idle", idle.map(u64::from));
    }

    fn number(&mut self, version: Version, file: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.put(version, CPU, file, number);
        }
    }
}
