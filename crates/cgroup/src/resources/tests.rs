use spec::resources::{
    Cpu, DeviceNumber, DeviceRate, DeviceWeight, HugePages, Io, Limit, Memory, Network, Rate, Rdma,
};

use super::*;

/// A host as it is named: the controllers of version 1, those of version 2.
fn host(one: &str, two: Option<&str>) -> Controllers {
    let set = |list: &str| list.split_ascii_whitespace().map(str::to_owned).collect();
    Controllers { one: set(one), two: two.map(set) }
}

fn v1() -> Controllers {
    host("cpu cpuacct cpuset memory devices freezer blkio pids hugetlb net_cls net_prio rdma misc", None)
}

fn v2() -> Controllers {
    host("", Some("cpu cpuset io memory pids hugetlb rdma misc"))
}

/// As the machines of CI are.
fn hybrid() -> Controllers {
    host("cpu cpuacct cpuset memory devices freezer blkio pids", Some("hugetlb"))
}

fn said(has: &Controllers, now: &Now, resources: &Resources) -> Vec<String> {
    writes(has, now, resources).expect("writes").iter().map(Write::to_string).collect()
}

fn new(has: &Controllers, resources: &Resources) -> Vec<String> {
    said(has, &Now::default(), resources)
}

fn refused(has: &Controllers, resources: &Resources) -> String {
    writes(has, &Now::default(), resources).expect_err("refused").chain()
}

fn memory(memory: Memory) -> Resources {
    Resources { memory, ..Resources::default() }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources { cpu, ..Resources::default() }
}

fn at(number: u64) -> Option<Limit> {
    Some(Limit::At(number))
}

#[test]
fn nothing_asked_for_is_nothing_written() {
    for has in [v1(), v2(), hybrid(), host("", None)] {
        assert_eq!(new(&has, &Resources::default()), [""; 0]);
    }
}

#[test]
fn memory_of_a_new_group() {
    let resources = memory(Memory { max: at(100), swap: at(50), low: at(10), ..Memory::default() });
    assert_eq!(
        new(&v2(), &resources),
        ["v2 memory.low = 10", "v2 memory.max = 100", "v2 memory.swap.max = 50"]
    );
    let one = [
        "v1 memory.soft_limit_in_bytes = 10",
        "v1 memory.limit_in_bytes = 100",
        "v1 memory.memsw.limit_in_bytes = 150",
    ];
    assert_eq!(new(&v1(), &resources), one);
    assert_eq!(new(&hybrid(), &resources), one);
    let unlimited = memory(Memory { max: at(100), swap: Some(Limit::Max), ..Memory::default() });
    assert_eq!(new(&v1(), &unlimited), ["v1 memory.limit_in_bytes = 100"]);
    assert_eq!(new(&v2(), &unlimited), ["v2 memory.max = 100", "v2 memory.swap.max = max"]);
}

#[test]
fn memory_and_its_sum_with_swap_change_in_the_order_that_the_kernel_takes() {
    let now = Now { memory: Limit::At(100), memory_and_swap: Limit::At(150), ..Now::default() };
    let table = [
        (at(200), at(50), ["memsw.limit_in_bytes = 250", "limit_in_bytes = 200"]),
        (at(60), at(20), ["limit_in_bytes = 60", "memsw.limit_in_bytes = 80"]),
        (at(140), at(0), ["limit_in_bytes = 140", "memsw.limit_in_bytes = 140"]),
        (at(300), None, ["memsw.limit_in_bytes = 350", "limit_in_bytes = 300"]),
        (Some(Limit::Max), None, ["memsw.limit_in_bytes = -1", "limit_in_bytes = -1"]),
    ];
    for (max, swap, wanted) in table {
        let resources = memory(Memory { max, swap, ..Memory::default() });
        assert_eq!(said(&v1(), &now, &resources), wanted.map(|line| format!("v1 memory.{line}")));
    }
    let swap_alone = memory(Memory { swap: at(7), ..Memory::default() });
    assert_eq!(said(&v1(), &now, &swap_alone), ["v1 memory.memsw.limit_in_bytes = 107"]);
    assert!(refused(&v1(), &swap_alone).contains("only together with memory"));
}

#[test]
fn what_only_one_version_has() {
    let table = [
        (Memory { high: at(1), ..Memory::default() }, "memory.high is only known to version 2", v1()),
        (Memory { min: at(1), ..Memory::default() }, "memory.min is only known to version 2", v1()),
        (Memory { oom_group: Some(true), ..Memory::default() }, "memory.oom_group is only", hybrid()),
        (Memory { tcp: at(1), ..Memory::default() }, "memory.tcp is only known to version 1", v2()),
        (Memory { disable_oom_killer: Some(true), ..Memory::default() }, "version 1", v2()),
        (Memory { swappiness: Some(3), ..Memory::default() }, "version 1", v2()),
        (Memory { max: at(1), ..Memory::default() }, "no controller \"memory\"", host("", Some("cpu"))),
        (Memory { max: at(1), ..Memory::default() }, "no controller \"memory\"", host("", None)),
    ];
    for (words, reason, has) in table {
        assert!(refused(&has, &memory(words.clone())).contains(reason), "{words:?}");
    }
    let off = memory(Memory { disable_oom_killer: Some(false), oom_group: Some(false), ..Memory::default() });
    assert_eq!(new(&v2(), &off), ["v2 memory.oom.group = 0"]);
    assert_eq!(new(&v1(), &off), [""; 0]);
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_if_that_is_asked_for() {
    let now = Now { memory_usage: 500, ..Now::default() };
    let resources = memory(Memory { max: at(400), check_before_update: true, ..Memory::default() });
    let error = writes(&v2(), &now, &resources).expect_err("in use");
    assert_eq!(error.kind(), spec::ErrorKind::Conflict);
    let more = memory(Memory { max: at(600), check_before_update: true, ..Memory::default() });
    assert_eq!(said(&v2(), &now, &more), ["v2 memory.max = 600"]);
}

#[test]
fn processor_time() {
    let resources = cpu(Cpu {
        shares: Some(2048),
        quota: at(50_000),
        period: Some(200_000),
        burst: Some(9),
        ..Cpu::default()
    });
    let lines = [
        "cpu.shares = 2048",
        "cpu.cfs_period_us = 200000",
        "cpu.cfs_quota_us = 50000",
        "cpu.cfs_burst_us = 9",
    ];
    assert_eq!(new(&v1(), &resources), lines.map(|line| format!("v1 {line}")));
    assert_eq!(
        new(&v2(), &resources),
        ["v2 cpu.weight = 174", "v2 cpu.max = 50000 200000", "v2 cpu.max.burst = 9"]
    );
    assert_eq!(new(&v1(), &cpu(Cpu { weight: Some(100), ..Cpu::default() })), ["v1 cpu.shares = 1024"]);
    assert_eq!(new(&v2(), &cpu(Cpu { weight: Some(33), ..Cpu::default() })), ["v2 cpu.weight = 33"]);
    assert_eq!(
        new(&v2(), &cpu(Cpu { quota: Some(Limit::Max), ..Cpu::default() })),
        ["v2 cpu.max = max 100000"]
    );
    assert_eq!(
        new(&v1(), &cpu(Cpu { quota: Some(Limit::Max), ..Cpu::default() })),
        ["v1 cpu.cfs_quota_us = -1"]
    );
}

#[test]
fn a_fraction_of_time_is_at_no_moment_more_than_before_or_after() {
    let now = Now { quota: Limit::At(50_000), period: 100_000, burst: 20_000, ..Now::default() };
    let change = cpu(Cpu { quota: at(20_000), period: Some(50_000), burst: Some(10_000), ..Cpu::default() });
    let lines = ["cfs_burst_us = 10000", "cfs_quota_us = 20000", "cfs_period_us = 50000"];
    assert_eq!(said(&v1(), &now, &change), lines.map(|line| format!("v1 cpu.{line}")));
    let change = cpu(Cpu { quota: at(90_000), period: Some(200_000), burst: Some(60_000), ..Cpu::default() });
    let lines = ["cfs_period_us = 200000", "cfs_quota_us = 90000", "cfs_burst_us = 60000"];
    assert_eq!(said(&v1(), &now, &change), lines.map(|line| format!("v1 cpu.{line}")));
    let only_period = cpu(Cpu { period: Some(70_000), ..Cpu::default() });
    assert_eq!(said(&v2(), &now, &only_period), ["v2 cpu.max = 50000 70000"]);
}

#[test]
fn idle_and_real_time() {
    let idle = cpu(Cpu { idle: Some(true), weight: Some(5), ..Cpu::default() });
    assert_eq!(new(&v2(), &idle), ["v2 cpu.weight = 5", "v2 cpu.idle = 1"]);
    let busy = cpu(Cpu { idle: Some(false), shares: Some(2), ..Cpu::default() });
    assert_eq!(
        said(&v1(), &Now { idle: true, ..Now::default() }, &busy),
        ["v1 cpu.idle = 0", "v1 cpu.shares = 2"]
    );
    assert_eq!(new(&v1(), &busy), ["v1 cpu.shares = 2"]);
    let real = cpu(Cpu { realtime_runtime: Some(5000), realtime_period: Some(10_000), ..Cpu::default() });
    assert_eq!(new(&v1(), &real), ["v1 cpu.rt_runtime_us = 5000", "v1 cpu.rt_period_us = 10000"]);
    assert!(refused(&v2(), &real).contains("version 1"));
}

#[test]
fn memory_nodes_come_before_processors() {
    let resources = cpu(Cpu { cpus: Some("0-1".to_owned()), mems: Some("0".to_owned()), ..Cpu::default() });
    assert_eq!(new(&v2(), &resources), ["v2 cpuset.mems = 0", "v2 cpuset.cpus = 0-1"]);
    assert_eq!(new(&hybrid(), &resources), ["v1 cpuset.mems = 0", "v1 cpuset.cpus = 0-1"]);
    assert!(refused(&v1(), &cpu(Cpu { cpus: Some(String::new()), ..Cpu::default() })).contains("version 2"));
}

#[test]
fn block_devices() {
    let device = DeviceNumber { major: 8, minor: 16 };
    let rate = |rate, limit| DeviceRate { device, rate, limit };
    let io = Io {
        weight: Some(4950),
        device_weights: vec![DeviceWeight { device, weight: 1 }],
        rates: vec![rate(Rate::WriteBytes, Limit::At(1 << 20)), rate(Rate::Reads, Limit::Max)],
    };
    let resources = Resources { io, ..Resources::default() };
    let lines = ["io.weight = default 4950", "io.weight = 8:16 1", "io.max = 8:16 wbps=1048576 riops=max"];
    assert_eq!(new(&v2(), &resources), lines.map(|line| format!("v2 {line}")));
    let lines = [
        "weight = 500",
        "weight_device = 8:16 10",
        "throttle.write_bps_device = 8:16 1048576",
        "throttle.read_iops_device = 8:16 0",
    ];
    assert_eq!(new(&v1(), &resources), lines.map(|line| format!("v1 blkio.{line}")));
    let plan = writes(&v2(), &Now::default(), &resources).expect("writes");
    assert_eq!(plan[0].instead, Some(("io.bfq.weight".to_owned(), "500".to_owned())));
}

#[test]
fn the_rest() {
    let resources = Resources {
        pids: at(12),
        hugepages: [("2MB".to_owned(), HugePages { max: at(4 << 20), reserved: Some(Limit::Max) })].into(),
        rdma: [("mlx5_0".to_owned(), Rdma { handles: at(2), objects: Some(Limit::Max) })].into(),
        misc: [("sev".to_owned(), Limit::At(1))].into(),
        ..Resources::default()
    };
    let lines = [
        "pids.max = 12",
        "hugetlb.2MB.max = 4194304",
        "hugetlb.2MB.rsvd.max = max",
        "rdma.max = mlx5_0 hca_handle=2 hca_object=max",
        "misc.max = sev 1",
    ];
    assert_eq!(new(&v2(), &resources), lines.map(|line| format!("v2 {line}")));
    let one = new(&v1(), &resources);
    assert_eq!(
        one[1..3],
        ["v1 hugetlb.2MB.limit_in_bytes = 4194304", "v1 hugetlb.2MB.rsvd.limit_in_bytes = -1"]
    );
    // In a hybrid every controller is where it is.
    let pages = Resources { rdma: Default::default(), misc: Default::default(), ..resources.clone() };
    assert_eq!(new(&hybrid(), &pages)[..2], ["v1 pids.max = 12", "v2 hugetlb.2MB.max = 4194304"]);
    assert!(refused(&hybrid(), &resources).contains("RDMA"));
}

#[test]
fn marks_on_packets() {
    let network = Network { class: Some(0x10_0001), priorities: [("eth0".to_owned(), 5)].into() };
    let resources = Resources { network, ..Resources::default() };
    assert_eq!(new(&v1(), &resources), ["v1 net_cls.classid = 1048577", "v1 net_prio.ifpriomap = eth0 5"]);
    assert!(refused(&v2(), &resources).contains("a class of packets"));
    assert!(refused(&hybrid(), &resources).contains("a class of packets"));
}

#[test]
fn files_by_their_name_come_last() {
    let unified = [
        ("memory.high".to_owned(), "5".to_owned()),
        ("io.max".to_owned(), "8:0 rbps=1\n8:16 rbps=2".to_owned()),
    ];
    let resources = Resources { unified: unified.into(), pids: at(1), ..Resources::default() };
    assert_eq!(
        new(&v2(), &resources),
        ["v2 pids.max = 1", "v2 io.max = 8:0 rbps=1", "v2 io.max = 8:16 rbps=2", "v2 memory.high = 5"]
    );
    assert!(refused(&v1(), &resources).contains("version 2"));
    assert!(refused(&hybrid(), &resources).contains("no controller \"io\""));
}

#[test]
fn devices_are_files_only_of_version_1() {
    let rules = vec!["c 1:3 rw".parse().expect("a rule")];
    let resources = Resources { devices: Some(rules), ..Resources::default() };
    assert_eq!(new(&hybrid(), &resources), ["v1 devices.deny = a *:* rwm", "v1 devices.allow = c 1:3 rw"]);
    assert_eq!(new(&v2(), &resources), [""; 0]);
}
