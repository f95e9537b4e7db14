//! Files of control groups, of version 1 and 2: from Haconiwa's `config.cgroup` to `[limits]`.

use serde_json::Value;
use spec::limits::{Count, Cpus, Limits, Size};
use spec::resources::{DeviceNumber, Limit};

use super::super::record::{Values, number, said, shown};
use super::Mapping;

/// Microseconds, where nothing is said; of real-time scheduling, a second.
const PERIOD: i64 = 100_000;
const SECOND: i64 = 1_000_000;

impl Mapping<'_> {
    pub(super) fn limits(&mut self) {
        let mut files = Files { limits: Limits::default(), left: Vec::new() };
        files.version_1(&self.from.cgroup.values);
        files.version_2(&self.from.cgroup_v2.values);
        let Files { limits, left } = files;
        left.into_iter().for_each(|text| self.note(text));
        // A number that is out of range is said now, and is still theirs to decide.
        if let Err(error) = limits.resources(|_| Ok(DeviceNumber { major: 8, minor: 0 })) {
            self.note(format!("limits: {}", error.chain()));
        }
        self.to.limits = limits;
    }
}

struct Files {
    limits: Limits,
    left: Vec<String>,
}

impl Files {
    fn leave(&mut self, key: &str, value: &Value, why: &str) {
        self.left.push(format!("cgroup[{key:?}] = {}: {why}", shown(value)));
    }

    fn version_1(&mut self, values: &Values) {
        self.quota(values);
        self.swap(values);
        for (key, value) in values {
            if !self.one(key, value) {
                self.leave(key, value, left_out(key));
            }
        }
    }

    /// Whether the file has a word.
    fn one(&mut self, key: &str, value: &Value) -> bool {
        let text = said(value).unwrap_or_default();
        let whole = || number(value).and_then(|number| u64::try_from(number).ok());
        let limits = &mut self.limits;
        match key {
            // Done together.
            "cpu.cfs_quota_us"
            | "cpu.cfs_period_us"
            | "cpu.cfs_burst_us"
            | "cpu.rt_runtime_us"
            | "cpu.rt_period_us"
            | "memory.memsw.limit_in_bytes" => true,
            "cpu.shares" => put(&mut limits.cpu_shares, whole()),
            "cpuset.cpus" => put(&mut limits.cpuset, Some(text)),
            "cpuset.mems" => put(&mut limits.memory_nodes, Some(text)),
            "memory.limit_in_bytes" => put(&mut limits.memory, size(&text)),
            "memory.soft_limit_in_bytes" => put(&mut limits.memory_low, size(&text)),
            "memory.kmem.tcp.limit_in_bytes" => put(&mut limits.tcp_memory, size(&text)),
            "pids.max" => put(&mut limits.pids, text.parse::<Count>().ok()),
            "blkio.weight" => put(&mut limits.io_weight, number(value).and_then(io_weight)),
            "blkio.throttle.read_bps_device" => throttle(&mut limits.io_read, &text, size),
            "blkio.throttle.write_bps_device" => throttle(&mut limits.io_write, &text, size),
            "blkio.throttle.read_iops_device" => throttle(&mut limits.io_reads, &text, count),
            "blkio.throttle.write_iops_device" => throttle(&mut limits.io_writes, &text, count),
            "rdma.max" => rdma(limits, &text),
            key => match huge(key, "limit_in_bytes").zip(size(&text)) {
                Some((page, most)) => limits.hugepages.insert(page, most).is_none(),
                None => false,
            },
        }
    }

    fn quota(&mut self, values: &Values) {
        let get = |key: &str| values.get(key).and_then(number);
        let period = get("cpu.cfs_period_us").filter(|period| *period > 0).unwrap_or(PERIOD);
        if let Some(quota) = get("cpu.cfs_quota_us") {
            self.limits.cpus = processors(quota, period);
        }
        if let Some(burst) = get("cpu.cfs_burst_us").filter(|burst| *burst > 0) {
            self.limits.cpu_burst = processors(burst, period);
        }
        self.limits.cpu_period = u64::try_from(period).ok().filter(|_| period != PERIOD);
        if let Some(runtime) = get("cpu.rt_runtime_us").filter(|runtime| *runtime > 0) {
            let period = get("cpu.rt_period_us").filter(|period| *period > 0).unwrap_or(SECOND);
            self.limits.cpu_realtime = u64::try_from(runtime.saturating_mul(SECOND) / period).ok();
        }
        for key in [
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpu.cfs_burst_us",
            "cpu.rt_runtime_us",
            "cpu.rt_period_us",
        ] {
            if let Some(value) = values.get(key).filter(|value| number(value).is_none()) {
                self.leave(key, value, "no number");
            }
        }
    }

    /// Version 1 counts memory and swap together.
    fn swap(&mut self, values: &Values) {
        const KEY: &str = "memory.memsw.limit_in_bytes";
        let Some(value) = values.get(KEY) else { return };
        let bytes = |value: &Value| said(value).and_then(|text| size(&text));
        let memory = values.get("memory.limit_in_bytes").and_then(bytes);
        match (bytes(value), memory) {
            (Some(Size(Limit::Max)), _) => self.limits.swap = Some(Size(Limit::Max)),
            (Some(Size(Limit::At(both))), Some(Size(Limit::At(memory)))) if both >= memory => {
                self.limits.swap = Some(Size(Limit::At(both - memory)));
            }
            _ => self.leave(
                KEY,
                value,
                "it is memory and swap together, and must be at least memory.limit_in_bytes",
            ),
        }
    }

    fn version_2(&mut self, values: &Values) {
        for (key, value) in values {
            if !self.other(key, value) {
                self.limits.unified.insert(key.clone(), shown(value));
                self.left.push(format!("cgroup(:v2)[{key:?}]: it has no word of its own, and is written as it is (limits.unified)"));
            }
        }
    }

    fn other(&mut self, key: &str, value: &Value) -> bool {
        let text = said(value).unwrap_or_default();
        let whole = || number(value).and_then(|number| u64::try_from(number).ok());
        let limits = &mut self.limits;
        match key {
            "cpu.max" => maximum(limits, &text),
            "cpu.weight" => put(&mut limits.cpu_weight, whole()),
            "cpu.idle" => put(&mut limits.cpu_idle, whole().map(|is| is != 0)),
            "cpuset.cpus" => put(&mut limits.cpuset, Some(text)),
            "cpuset.mems" => put(&mut limits.memory_nodes, Some(text)),
            "memory.max" => put(&mut limits.memory, size(&text)),
            "memory.high" => put(&mut limits.memory_high, size(&text)),
            "memory.low" => put(&mut limits.memory_low, size(&text)),
            "memory.min" => put(&mut limits.memory_min, size(&text)),
            "memory.swap.max" => put(&mut limits.swap, size(&text)),
            "memory.oom.group" => put(&mut limits.oom_group, whole().map(|is| is != 0)),
            "pids.max" => put(&mut limits.pids, text.parse::<Count>().ok()),
            "io.weight" => put(&mut limits.io_weight, text.trim_start_matches("default ").parse().ok()),
            "io.max" => rates(limits, &text),
            "rdma.max" => rdma(limits, &text),
            key => match huge(key, "max").zip(size(&text)) {
                Some((page, most)) => limits.hugepages.insert(page, most).is_none(),
                None => false,
            },
        }
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is = value.is_some();
    if is {
        *place = value;
    }
    is
}

fn size(text: &str) -> Option<Size> {
    text.trim().parse().ok()
}

fn count(text: &str) -> Option<Count> {
    text.trim().parse().ok()
}

fn processors(quota: i64, period: i64) -> Option<Cpus> {
    match quota {
        ..0 => Some(Cpus(Limit::Max)),
        _ => format!("{:.3}", quota as f64 / period as f64).parse().ok(),
    }
}

/// `30000 100000`, `max 100000`, `30000`.
fn maximum(limits: &mut Limits, text: &str) -> bool {
    let mut words = text.split_whitespace();
    let quota = words.next().map(|word| if word == "max" { Some(-1) } else { word.parse().ok() });
    let period = words.next().map_or(Some(PERIOD), |word| word.parse().ok()).filter(|period| *period > 0);
    let (Some(Some(quota)), Some(period)) = (quota, period) else { return false };
    limits.cpu_period = u64::try_from(period).ok().filter(|_| period != PERIOD);
    put(&mut limits.cpus, processors(quota, period))
}

/// From 10 to 1000 with 500 in the middle, to 1 to 10000, as all engines convert it.
fn io_weight(weight: i64) -> Option<u64> {
    (10..=1000).contains(&weight).then(|| 1 + (weight as u64 - 10) * 9999 / 990)
}

/// Lines of `MAJOR:MINOR AMOUNT`.
fn throttle<T>(
    table: &mut std::collections::BTreeMap<String, T>,
    text: &str,
    amount: fn(&str) -> Option<T>,
) -> bool {
    let pairs: Option<Vec<(String, T)>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (device, most) = line.trim().split_once(char::is_whitespace)?;
            Some((device.to_owned(), amount(most)?))
        })
        .collect();
    match pairs.filter(|pairs| !pairs.is_empty()) {
        Some(pairs) => {
            table.extend(pairs);
            true
        }
        None => false,
    }
}

/// `8:0 rbps=1048576 wiops=100`.
fn rates(limits: &mut Limits, text: &str) -> bool {
    text.lines().filter(|line| !line.trim().is_empty()).all(|line| {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().map(str::to_owned) else { return false };
        words.all(|word| match word.split_once('=') {
            Some(("rbps", most)) => {
                size(most).map(|most| limits.io_read.insert(device.clone(), most)).is_some()
            }
            Some(("wbps", most)) => {
                size(most).map(|most| limits.io_write.insert(device.clone(), most)).is_some()
            }
            Some(("riops", most)) => {
                count(most).map(|most| limits.io_reads.insert(device.clone(), most)).is_some()
            }
            Some(("wiops", most)) => {
                count(most).map(|most| limits.io_writes.insert(device.clone(), most)).is_some()
            }
            _ => false,
        })
    })
}

/// `mlx5_0 hca_handle=2 hca_object=2000`.
fn rdma(limits: &mut Limits, text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let get = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)).unwrap_or("max");
    let Some(device) = words.first() else { return false };
    let most = format!("{}:{}", get("hca_handle="), get("hca_object="));
    limits.rdma.insert((*device).to_owned(), most);
    true
}

/// The size of `hugetlb.2MB.limit_in_bytes`.
fn huge(key: &str, file: &str) -> Option<String> {
    let page = key.strip_prefix("hugetlb.")?.strip_suffix(file)?.strip_suffix('.')?;
    (!page.contains('.')).then(|| page.to_owned())
}

/// Why a file of version 1 has no word.
fn left_out(key: &str) -> &'static str {
    let controller = key.split('.').next().unwrap_or_default();
    match (controller, key) {
        ("devices", _) => "devices are given one by one: isolation.devices",
        ("freezer", _) => "tsubo pause and tsubo unpause",
        ("net_cls" | "net_prio", _) => "traffic is not marked by control groups",
        ("perf_event" | "cpuacct", _) => "tsubo stats shows what is used",
        (_, "memory.oom_control") => "whether the kernel kills when memory is short cannot be chosen",
        (_, "memory.swappiness" | "memory.use_hierarchy" | "memory.move_charge_at_immigrate") => {
            "the kernel's own choice is kept"
        }
        (_, "memory.kmem.limit_in_bytes") => "kernels accept it and do not enforce it any more",
        (_, "cpuset.cpu_exclusive" | "cpuset.mem_exclusive") => "processors are not taken away from others",
        _ => "it has no word here, or no value that can be understood",
    }
}
