//! Resources in systemd's words, so that it does not undo them when it is reloaded.

use spec::resources::{Limit, Resources, shares_to_weight};

use super::Unit;
use super::bus::Value;

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;

/// The properties of a unit with this process in it. What systemd has no word for is said to the
/// kernel alone.
pub(super) fn of(unit: &Unit, pid: u32, resources: &Resources) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("Description", Value::Text(format!("container {}", unit.name()))),
        ("DefaultDependencies", Value::Flag(false)),
        ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
    ];
    if unit.name().ends_with(".scope") {
        all.push(("Slice", Value::Text(unit.slice().to_owned())));
        all.push(("Delegate", Value::Flag(true)));
        all.push(("PIDs", Value::Words(vec![pid])));
    }
    all.extend(limits(resources));
    all
}

/// What there is to say of them.
pub(super) fn limits(resources: &Resources) -> Vec<(&'static str, Value)> {
    let Resources { memory, cpu, .. } = resources;
    let number = |limit: Limit| Value::Number(limit.number().unwrap_or(INFINITY));
    let weight = cpu.weight.or(cpu.shares.map(shares_to_weight));
    let pairs = [
        ("MemoryMin", memory.min.map(number)),
        ("MemoryLow", memory.low.map(number)),
        ("MemoryHigh", memory.high.map(number)),
        ("MemoryMax", memory.max.map(number)),
        ("MemorySwapMax", memory.swap.map(number)),
        ("TasksMax", resources.pids.map(number)),
        ("CPUWeight", weight.map(Value::Number)),
        ("CPUQuotaPeriodUSec", cpu.period.map(Value::Number)),
        ("CPUQuotaPerSecUSec", cpu.quota.map(|quota| Value::Number(per_second(quota, cpu.period)))),
        ("IOWeight", resources.io.weight.map(Value::Number)),
        ("AllowedCPUs", cpu.cpus.as_deref().and_then(bits)),
        ("AllowedMemoryNodes", cpu.mems.as_deref().and_then(bits)),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Rounded up to the whole per cent that it keeps.
fn per_second(quota: Limit, period: Option<u64>) -> u64 {
    const PER_CENT: u64 = 10_000;
    let Limit::At(quota) = quota else { return INFINITY };
    let exact = quota.saturating_mul(1_000_000) / period.unwrap_or(100_000).max(1);
    exact.div_ceil(PER_CENT) * PER_CENT
}

/// `0-2,8` as bits, the lowest first; None for a form that only the kernel reads.
fn bits(list: &str) -> Option<Value> {
    const MOST: u32 = 8192;
    let mut bytes = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for bit in first..=last {
            let at = (bit / 8) as usize;
            bytes.resize(bytes.len().max(at + 1), 0u8);
            bytes[at] |= 1 << (bit % 8);
        }
    }
    Some(Value::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let mut resources = Resources::default();
        resources.memory.max = Some(Limit::At(5));
        resources.memory.swap = Some(Limit::Max);
        (resources.cpu.quota, resources.cpu.period) = (Some(Limit::At(25_500)), Some(50_000));
        resources.cpu.cpus = Some("0-2,9".to_owned());
        let wanted = [
            ("MemoryMax", Value::Number(5)),
            ("MemorySwapMax", Value::Number(u64::MAX)),
            ("CPUQuotaPeriodUSec", Value::Number(50_000)),
            ("CPUQuotaPerSecUSec", Value::Number(510_000)),
            ("AllowedCPUs", Value::Bytes(vec![7, 2])),
        ];
        assert_eq!(limits(&resources), wanted);
        assert_eq!(bits("0-10:2/4"), None);
    }
}
