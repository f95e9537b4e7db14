use std::fs;
use std::path::Path;

use super::*;
use crate::layout::Version;

/// A directory with these files, as a group has them.
fn group(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
    let directory = tempfile::tempdir().expect("directory");
    let write = |(name, text): &(&str, &str)| fs::write(directory.path().join(name), text).expect("file");
    files.iter().for_each(write);
    let directories = vec![(version, Path::to_path_buf(directory.path()))];
    let group = Group { directories, ..Group::default() };
    (directory, group)
}

#[test]
fn version_2_in_the_words_of_version_1() {
    let files = [
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
        ),
        (
            "cpu.pressure",
            "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
        ),
        ("memory.current", "100\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "200\n"),
        ("memory.swap.current", "5\n"),
        ("memory.swap.max", "max\n"),
        ("memory.stat", "anon 60\nfile 40\nkernel 8\nsock 2\n"),
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
        ("pids.current", "4\n"),
        ("pids.max", "max\n"),
        ("io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n8:16 \n"),
        ("hugetlb.2MB.current", "0\n"),
        ("hugetlb.2MB.rsvd.current", "0\n"),
        ("hugetlb.2MB.events", "max 6\n"),
        ("cpuset.cpus", "\n"),
        ("cpuset.cpus.effective", "0-2,5\n"),
        ("cpuset.mems", "0\n"),
    ];
    let (_directory, group) = group(Version::Two, &files);
    let stats = group.stats();
    assert_eq!(
        (stats.cpu.usage.total, stats.cpu.usage.user, stats.cpu.usage.kernel),
        (30_000, 20_000, 10_000)
    );
    assert_eq!(stats.cpu.throttling, Throttling { periods: 5, throttled_periods: 2, throttled_time: 7000 });
    assert_eq!(stats.cpu.psi.map(|psi| (psi.some.avg10, psi.full.total)), Some((1.5, 3)));
    assert_eq!(stats.memory.usage, MemoryEntry { limit: u64::MAX, usage: 100, max: 200, failcnt: 3 });
    assert_eq!((stats.memory.swap.usage, stats.memory.swap.limit), (105, u64::MAX));
    assert_eq!((stats.memory.cache, stats.memory.event_count.oom_kill), (40, 1));
    assert_eq!(stats.pids, Pids { current: 4, limit: 0 });
    assert_eq!(stats.blkio.io_service_bytes_recursive[0].value, 4096);
    assert_eq!(stats.hugetlb.keys().collect::<Vec<_>>(), ["2MB"]);
    assert_eq!(
        (stats.hugetlb["2MB"].failcnt, stats.cpuset.cpus, stats.cpuset.mems),
        (6, vec![0, 1, 2, 5], vec![0])
    );
}

#[test]
fn version_1_in_its_own() {
    let files = [
        ("cpuacct.usage", "3000\n"),
        ("cpuacct.usage_percpu", "1000 2000 \n"),
        ("cpuacct.stat", "user 2\nsystem 1\n"),
        ("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7\n"),
        ("memory.usage_in_bytes", "100\n"),
        ("memory.limit_in_bytes", "500\n"),
        ("memory.failcnt", "2\n"),
        ("memory.memsw.usage_in_bytes", "120\n"),
        ("memory.stat", "cache 1\ntotal_cache 9\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 11\n8:0 Write 22\n8:0 Total 33\nTotal 33\n"),
    ];
    let (_directory, group) = group(Version::One, &files);
    let stats = group.stats();
    assert_eq!((stats.cpu.usage.total, stats.cpu.usage.percpu), (3000, vec![1000, 2000]));
    assert_eq!((stats.cpu.usage.user, stats.cpu.usage.kernel), (20_000_000, 10_000_000));
    assert_eq!(stats.cpu.throttling.throttled_time, 7);
    assert_eq!(stats.memory.usage, MemoryEntry { limit: 500, usage: 100, max: 0, failcnt: 2 });
    assert_eq!((stats.memory.swap.usage, stats.memory.cache, stats.memory.event_count.oom_kill), (120, 9, 4));
    let ops = stats.blkio.io_service_bytes_recursive.iter().map(|entry| (entry.op.as_str(), entry.value));
    assert_eq!(ops.collect::<Vec<_>>(), [("Read", 11), ("Write", 22), ("Total", 33)]);
}

#[test]
fn printed_as_engines_read_it() {
    let stats = Stats { pids: Pids { current: 4, limit: 0 }, ..Stats::default() };
    let text = serde_json::to_value(&stats).expect("text");
    assert_eq!(text["pids"], serde_json::json!({"current": 4}));
    assert_eq!(text["cpu"], serde_json::json!({"usage": {"kernel": 0, "user": 0}, "throttling": {}}));
    assert_eq!(text["memory"]["kernelTCP"], serde_json::json!({"limit": 0, "failcnt": 0}));
    assert_eq!(text["blkio"], serde_json::json!({}));
    assert_eq!(text["network_interfaces"], serde_json::Value::Null);
}
