use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;
use crate::layout::Version;

/// A directory with these files, as a group has them.
fn group(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
    let directory = tempfile::tempdir().expect("directory");
    let write = |(name, text): &(&str, &str)| fs::write(directory.path().join(name), text).expect("file");
    files.iter().for_each(write);
    let directories = vec![(version, directory.path().to_owned())];
    let group = Group { directories, ..Group::default() };
    (directory, group)
}

#[test]
fn version_2() {
    let files = [
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
        ),
        ("cpu.max", "50000 100000\n"),
        (
            "cpu.pressure",
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
        ),
        ("memory.current", "100\n"),
        ("memory.max", "max\n"),
        ("memory.swap.current", "5\n"),
        (
            "memory.stat",
            "anon 60\nfile 40\nkernel 8\nkernel_stack 3\npagetables 2\nsock 1\ninactive_file 30\nslab 2\n",
        ),
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
        ("pids.current", "4\n"),
        ("pids.max", "max\n"),
        ("io.stat", "8:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n8:16 \n"),
    ];
    let (_directory, group) = group(Version::Two, &files);
    let figures = group.figures();
    let cpu = Cpu {
        usage: Some(30_000),
        user: Some(20_000),
        system: Some(10_000),
        periods: Some(5),
        throttled_periods: Some(2),
        throttled: Some(7000),
        limit: Some(0.5),
    };
    assert_eq!(figures.cpu, cpu);
    assert_eq!(Meter::of(&group).cpu_time(), Some(30_000));
    assert_eq!(Meter::of(&group).clock().and_then(|clock| clock.read()), Some(30_000));
    let memory = figures.memory;
    assert_eq!((memory.usage, memory.working_set, memory.limit), (Some(100), Some(70), None));
    assert_eq!(
        (memory.slab, memory.stacks, memory.page_tables, memory.tcp),
        (Some(2), Some(3), Some(2), Some(1))
    );
    assert_eq!((memory.swap, memory.oom_kills), (Some(5), Some(1)));
    assert_eq!(figures.pids, Pids { current: Some(4), limit: None });
    let io = Io { major: 8, minor: 0, read_bytes: 4096, written_bytes: 1, reads: 2, writes: 3 };
    assert_eq!(figures.io.as_deref(), Some(&[io, Io { major: 8, minor: 16, ..Io::default() }][..]));
    let pressure = figures.pressure.cpu.expect("pressure");
    assert_eq!(
        (pressure.some.avg10, pressure.some.total, pressure.full.map(|full| full.total)),
        (1.5, 9, Some(3))
    );
    assert_eq!(figures.pressure.io, None);
}

#[test]
fn version_1() {
    let files = [
        ("cpuacct.usage", "3000\n"),
        ("cpuacct.usage_user", "2000\n"),
        ("cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7\n"),
        ("cpu.cfs_quota_us", "-1\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("memory.usage_in_bytes", "100\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        (
            "memory.stat",
            "cache 1\nhierarchical_memory_limit 500\ntotal_cache 9\ntotal_rss 8\ntotal_inactive_file 4\n",
        ),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 11\n8:0 Write 22\n8:0 Total 33\nTotal 33\n"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 2\nTotal 3\n"),
    ];
    let (_directory, group) = group(Version::One, &files);
    let figures = group.figures();
    assert_eq!((figures.cpu.usage, figures.cpu.user, figures.cpu.system), (Some(3000), Some(2000), None));
    assert_eq!((figures.cpu.throttled, figures.cpu.limit), (Some(7), None));
    let memory = figures.memory;
    assert_eq!((memory.usage, memory.working_set, memory.limit), (Some(100), Some(96), Some(500)));
    assert_eq!(
        (memory.cache, memory.anonymous, memory.slab, memory.oom_kills),
        (Some(9), Some(8), None, Some(4))
    );
    let io = Io { major: 8, minor: 0, read_bytes: 11, written_bytes: 22, reads: 1, writes: 2 };
    assert_eq!(figures.io, Some(vec![io]));
}

#[test]
fn what_is_not_told_is_not_zero() {
    let (_directory, empty) = group(Version::Two, &[]);
    assert_eq!(empty.figures(), Figures::default());
    assert_eq!(Group::default().figures(), Figures::default());
    // Nobody counts, as far as can be seen.
    let silent = [
        ("blkio.throttle.io_service_bytes_recursive", "Total 0\n"),
        ("blkio.throttle.io_serviced_recursive", "Total 0\n"),
    ];
    let (_directory, group) = group(Version::One, &silent);
    assert_eq!(group.figures().io, None);
}

#[test]
fn of_a_real_group() {
    let id = spec::Id::from_bytes(std::process::id().to_le_bytes().repeat(2)[..6].try_into().expect("six"));
    let Ok(Some(group)) = Group::create(id) else {
        eprintln!("SKIPPED: no control groups can be made here");
        return;
    };
    let script = "read go; hog=$(yes | head -c 4000000); while :; do :; done";
    let mut busy =
        std::process::Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("sh");
    let enter = || -> std::io::Result<()> {
        for (_, directory) in &group.directories {
            fs::write(directory.join("cgroup.procs"), busy.id().to_string())?;
        }
        Ok(())
    };
    let entered = enter();
    let meter = Meter::of(&group);
    let (before, clock) = (meter.cpu_time(), meter.clock());
    let told = busy.stdin.take().map(|mut input| input.write_all(b"go\n"));
    let expected = |figures: &Figures| {
        let hog = meter.memory.is_none() || figures.memory.anonymous > Some(4_000_000);
        hog && figures.cpu.usage > before && figures.pids.current.is_none_or(|tasks| tasks == 1)
    };
    let end = Instant::now() + Duration::from_secs(20);
    let mut figures = meter.read();
    while !expected(&figures) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        figures = meter.read();
    }
    busy.kill().and_then(|()| busy.wait()).expect("kill");
    group.end().expect("end");
    entered.expect("entered");
    told.expect("input").expect("told");
    assert!(expected(&figures), "{before:?} {figures:?}");
    assert_eq!(figures.tasks, Some(Tasks { runnable: 1, blocked: 0 }), "{figures:?}");
    assert!(!meter.is_there());
    assert_eq!(clock.and_then(|clock| clock.read()), None, "it is gone");
    if meter.memory.is_some() {
        assert!(figures.memory.usage > figures.memory.anonymous, "{figures:?}");
        assert_eq!(figures.memory.oom_kills, Some(0));
    }
}
