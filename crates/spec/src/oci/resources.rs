//! `linux.resources` of a bundle in our own words.
//!
//! Where a number is 0 or -1, engines mean "nothing said" or "no limit", as runc and crun take it.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxNetwork, LinuxResources,
    LinuxThrottleDevice,
};

use crate::resources::{
    Access, Cpu, DeviceNumber, DeviceRate, DeviceRule, DeviceWeight, HugePages, Io, Limit, Memory, Network,
    Rate, Rdma, Resources, RuleKind, blkio_to_io_weight,
};
use crate::{Error, Result};

/// Takes over all of it.
///
/// The rules for devices, where there are any, are followed by those of
/// [`DeviceRule::usual`]: a bundle may rely on null and zero being there.
///
/// # Errors
/// What no kernel does any more, and what contradicts itself.
pub fn resources(written: &LinuxResources) -> Result<Resources> {
    let resources = Resources {
        memory: written.memory().as_ref().map_or_else(|| Ok(Memory::default()), memory)?,
        cpu: written.cpu().as_ref().map_or_else(|| Ok(Cpu::default()), cpu)?,
        pids: written.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0).map(limit),
        io: written.block_io().as_ref().map_or_else(|| Ok(Io::default()), io)?,
        hugepages: hugepages(written),
        rdma: rdma(written),
        misc: [].into(),
        network: written.network().as_ref().map(network).unwrap_or_default(),
        unified: written
            .unified()
            .iter()
            .flatten()
            .map(|(file, value)| (file.clone(), value.clone()))
            .collect(),
        devices: written.devices().as_deref().map(devices).transpose()?,
    };
    resources.check()?;
    Ok(resources)
}

/// Every number below zero is no limit.
fn limit(number: i64) -> Limit {
    u64::try_from(number).map_or(Limit::Max, Limit::At)
}

/// The same, where 0 says nothing.
fn said(number: Option<i64>) -> Option<Limit> {
    number.filter(|number| *number != 0).map(limit)
}

fn memory(written: &LinuxMemory) -> Result<Memory> {
    if written.use_hierarchy() == Some(false) {
        return Err(Error::unsupported(
            "memory.useHierarchy = false: kernels since Linux 5.11 always count groups below",
        )
        .hint("leave it out"));
    }
    let max = said(written.limit());
    Ok(Memory {
        max,
        low: said(written.reservation()),
        swap: swap(max, said(written.swap()))?,
        kernel: said(written.kernel()),
        tcp: said(written.kernel_tcp()),
        swappiness: written.swappiness(),
        disable_oom_killer: written.disable_oom_killer(),
        check_before_update: written.check_before_update().unwrap_or_default(),
        ..Memory::default()
    })
}

/// OCI counts memory and swap together.
fn swap(max: Option<Limit>, sum: Option<Limit>) -> Result<Option<Limit>> {
    match (max, sum) {
        // Who takes the limit of memory away means the sum with it.
        (Some(Limit::Max), None) | (_, Some(Limit::Max)) => Ok(Some(Limit::Max)),
        (_, None) => Ok(None),
        (Some(Limit::At(max)), Some(Limit::At(sum))) => match sum.checked_sub(max) {
            Some(swap) => Ok(Some(Limit::At(swap))),
            None => Err(Error::user(format!("memory.swap = {sum} is less than memory.limit = {max}"))
                .hint("swap counts memory and swap together")),
        },
        (_, Some(Limit::At(sum))) => Err(Error::user(format!(
            "memory.swap = {sum} counts memory too, and memory.limit says no number"
        ))
        .hint("give memory.limit as well")),
    }
}

fn cpu(written: &LinuxCpu) -> Result<Cpu> {
    let number = |number: Option<u64>| number.filter(|number| *number != 0);
    let idle = match written.idle() {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(other) => return Err(Error::user(format!("cpu.idle = {other} is neither 0 nor 1"))),
    };
    let runtime = written.realtime_runtime().filter(|runtime| *runtime != 0);
    let realtime_runtime = runtime.map(u64::try_from).transpose();
    Ok(Cpu {
        // The kernel itself takes what is out of range for the nearest.
        shares: number(written.shares()).map(|shares| shares.clamp(2, 262_144)),
        quota: said(written.quota()),
        period: number(written.period()),
        burst: written.burst(),
        realtime_runtime: realtime_runtime
            .map_err(|_| Error::user("cpu.realtimeRuntime is less than nothing"))?,
        realtime_period: number(written.realtime_period()),
        cpus: written.cpus().clone().filter(|list| !list.is_empty()),
        mems: written.mems().clone().filter(|list| !list.is_empty()),
        idle,
        ..Cpu::default()
    })
}

fn io(written: &LinuxBlockIo) -> Result<Io> {
    let leaf = written.weight_device().iter().flatten().any(|device| device.leaf_weight().is_some());
    if leaf || written.leaf_weight().is_some_and(|weight| weight != 0) {
        return Err(Error::unsupported(
            "blockIO.leafWeight: it was of the scheduler CFQ, gone since Linux 5.0",
        )
        .hint("leave it out"));
    }
    let mut device_weights = Vec::new();
    for one in written.weight_device().iter().flatten() {
        if let Some(weight) = one.weight().filter(|weight| *weight != 0) {
            let device = device_number(one.major(), one.minor())?;
            device_weights.push(DeviceWeight { device, weight: io_weight(weight)? });
        }
    }
    let lists = [
        (Rate::ReadBytes, written.throttle_read_bps_device()),
        (Rate::WriteBytes, written.throttle_write_bps_device()),
        (Rate::Reads, written.throttle_read_iops_device()),
        (Rate::Writes, written.throttle_write_iops_device()),
    ];
    let mut rates = Vec::new();
    for (rate, list) in lists {
        for one in list.iter().flatten() {
            rates.push(throttle(rate, one)?);
        }
    }
    let weight = written.weight().filter(|weight| *weight != 0).map(io_weight).transpose()?;
    Ok(Io { weight, device_weights, rates })
}

fn throttle(rate: Rate, written: &LinuxThrottleDevice) -> Result<DeviceRate> {
    let device = device_number(written.major(), written.minor())?;
    let limit = if written.rate() == 0 { Limit::Max } else { Limit::At(written.rate()) };
    Ok(DeviceRate { device, rate, limit })
}

fn io_weight(weight: u16) -> Result<u64> {
    if !(10..=1000).contains(&weight) {
        return Err(Error::user(format!("blockIO.weight = {weight} is out of range: 10 to 1000")));
    }
    Ok(blkio_to_io_weight(u64::from(weight)))
}

fn device_number(major: i64, minor: i64) -> Result<DeviceNumber> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(DeviceNumber { major, minor }),
        _ => Err(Error::user(format!("{major}:{minor} is no number of a device"))),
    }
}

fn hugepages(written: &LinuxResources) -> std::collections::BTreeMap<String, HugePages> {
    let pages = written.hugepage_limits().iter().flatten().map(|one| {
        let most = Some(limit(one.limit()));
        (one.page_size().clone(), HugePages { max: most, reserved: most })
    });
    pages.collect()
}

fn rdma(written: &LinuxResources) -> std::collections::BTreeMap<String, Rdma> {
    let number = |number: Option<u32>| number.map(|number| Limit::At(u64::from(number)));
    let devices = written.rdma().iter().flatten().map(|(name, one)| {
        (name.clone(), Rdma { handles: number(one.hca_handles()), objects: number(one.hca_objects()) })
    });
    devices.collect()
}

fn network(written: &LinuxNetwork) -> Network {
    let priorities = written.priorities().iter().flatten();
    Network {
        class: written.class_id().filter(|class| *class != 0),
        priorities: priorities.map(|one| (one.name().clone(), one.priority())).collect(),
    }
}

fn devices(written: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>> {
    let mut rules = written.iter().map(device).collect::<Result<Vec<_>>>()?;
    let everything = rules.last().is_some_and(|rule| rule.allow && rule.is_about_everything());
    if !everything {
        rules.extend(DeviceRule::usual());
    }
    Ok(rules)
}

fn device(written: &LinuxDeviceCgroup) -> Result<DeviceRule> {
    let kind = match written.typ().unwrap_or_default() {
        LinuxDeviceType::A => RuleKind::All,
        LinuxDeviceType::B => RuleKind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => RuleKind::Char,
        LinuxDeviceType::P => {
            return Err(Error::user(format!(
                "the device rule {written} is about a FIFO, which is no device"
            )));
        }
    };
    // Below zero is any, as runc has it.
    let number = |number: Option<i64>| match number {
        Some(number) if number >= 0 => u32::try_from(number)
            .map(Some)
            .map_err(|_| Error::user(format!("the device rule {written} names a number that no device has"))),
        _ => Ok(None),
    };
    let access = written.access().as_deref().filter(|access| !access.is_empty());
    let access = access.map_or(Ok(Access::ALL), str::parse)?;
    let rule = DeviceRule {
        allow: written.allow(),
        kind,
        major: number(written.major())?,
        minor: number(written.minor())?,
        access,
    };
    rule.check().map(|()| rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Resources> {
        resources(&serde_json::from_str(text).expect("linux.resources"))
    }

    fn ok(text: &str) -> Resources {
        read(text).expect("resources")
    }

    fn refused(text: &str) -> String {
        read(text).expect_err("refused").chain()
    }

    #[test]
    fn swap_is_counted_alone() {
        let swap = |text: &str| ok(&format!(r#"{{"memory":{text}}}"#)).memory.swap;
        assert_eq!(swap(r#"{"limit":100,"swap":150}"#), Some(Limit::At(50)));
        assert_eq!(swap(r#"{"limit":100,"swap":100}"#), Some(Limit::At(0)));
        assert_eq!(swap(r#"{"limit":100,"swap":-1}"#), Some(Limit::Max));
        assert_eq!(swap(r#"{"swap":-1}"#), Some(Limit::Max));
        assert_eq!(swap(r#"{"limit":-1}"#), Some(Limit::Max));
        assert_eq!(swap(r#"{"limit":100}"#), None);
        assert_eq!(swap(r#"{"limit":100,"swap":0}"#), None);
        assert!(refused(r#"{"memory":{"limit":100,"swap":99}}"#).contains("less than"));
        assert!(refused(r#"{"memory":{"swap":99}}"#).contains("counts memory too"));
        assert!(refused(r#"{"memory":{"limit":-1,"swap":99}}"#).contains("counts memory too"));
    }

    #[test]
    fn what_kernels_do_no_more() {
        assert!(refused(r#"{"memory":{"kernel":100}}"#).contains("ignore it"));
        assert_eq!(ok(r#"{"memory":{"kernel":-1}}"#).memory.kernel, Some(Limit::Max));
        assert!(refused(r#"{"memory":{"useHierarchy":false}}"#).contains("useHierarchy"));
        assert!(refused(r#"{"blockIO":{"leafWeight":10}}"#).contains("leafWeight"));
        let device = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}}"#;
        assert!(refused(device).contains("leafWeight"));
    }

    #[test]
    fn nothing_and_no_limit() {
        let all =
            ok(r#"{"memory":{"limit":0,"reservation":-1},"cpu":{"shares":0,"quota":-1,"period":0,"cpus":""},
            "pids":{"limit":-1},"hugepageLimits":[{"pageSize":"2MB","limit":4096}],"blockIO":{"weight":0}}"#);
        assert_eq!((all.memory.max, all.memory.low), (None, Some(Limit::Max)));
        assert_eq!(all.cpu, Cpu { quota: Some(Limit::Max), ..Cpu::default() });
        assert_eq!(all.pids, Some(Limit::Max));
        assert_eq!(all.io, Io::default());
        assert_eq!(all.hugepages["2MB"].reserved, Some(Limit::At(4096)));
        assert_eq!(ok("{}"), Resources::default());
    }

    #[test]
    fn block_devices() {
        let all = ok(r#"{"blockIO":{"weight":500,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#);
        assert_eq!(all.io.weight, Some(4950));
        assert_eq!((all.io.rates[0].rate, all.io.rates[0].limit), (Rate::ReadBytes, Limit::At(600)));
        assert_eq!((all.io.rates[1].rate, all.io.rates[1].limit), (Rate::Writes, Limit::Max));
        assert!(refused(r#"{"blockIO":{"weight":9}}"#).contains("10 to 1000"));
        let negative = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-8,"minor":0,"rate":1}]}}"#;
        assert!(refused(negative).contains("-8:0"));
    }

    #[test]
    fn devices_are_those_of_the_bundle_and_the_usual() {
        let rules = ok(r#"{"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":10,"minor":-1,"access":"r"}]}"#)
        .devices
        .expect("rules");
        assert_eq!(rules[0], DeviceRule::deny_all());
        assert_eq!(rules[1].to_string(), "c 10:* r");
        assert_eq!(rules[2..], DeviceRule::usual());
        assert_eq!(ok(r#"{"devices":[{"allow":true}]}"#).devices.expect("rules").len(), 1);
        assert!(refused(r#"{"devices":[{"allow":true,"type":"p","access":"r"}]}"#).contains("FIFO"));
        assert!(
            refused(r#"{"devices":[{"allow":true,"type":"c","major":5000000000}]}"#).contains("no device")
        );
        assert!(refused(r#"{"devices":[{"allow":true,"access":"x"}]}"#).contains("'x'"));
    }
}
