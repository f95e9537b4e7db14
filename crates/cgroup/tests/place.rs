//! Groups at a path of their own and their resources, on the real kernel: what a limit says and
//! what it does to who breaks it. The same on version 1, version 2 and hybrid.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use spec::resources::{
    Cpu, DeviceNumber, DeviceRate, DeviceRule, HugePages, Limit, Memory, Network, Rate, Resources,
};
use tsubo_cgroup::{Breadth, GroupPath, Placed, Told};

/// Removed whatever happens, with whoever is in it.
struct Removed(Placed);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

impl std::ops::Deref for Removed {
    type Target = Placed;

    fn deref(&self) -> &Placed {
        &self.0
    }
}

fn path(name: &str) -> GroupPath {
    let path = format!("/tsubo-test-{}/{name}", std::process::id());
    GroupPath::parse(Some(&path), "x").expect("a path")
}

/// None, and said, where this host cannot.
fn create(name: &str, resources: &Resources) -> Option<Removed> {
    match Placed::create(&path(name), resources, Breadth::All) {
        Ok(placed) if !placed.is_empty() => Some(Removed(placed)),
        Ok(_) => {
            println!("SKIPPED: {name}: no control groups");
            None
        }
        Err(error) if error.kind() == spec::ErrorKind::Unsupported => {
            println!("SKIPPED: {name}: {}", error.chain());
            None
        }
        Err(error) => panic!("{name}: {error:?}"),
    }
}

fn directories(placed: &Placed) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = placed.paths().into_iter().map(|(_, directory)| directory).collect();
    all.sort();
    all.dedup();
    all
}

/// A shell script that first goes into every group, as `sh -c SCRIPT`.
fn inside(placed: &Placed, script: &str) -> Child {
    let enter = "for f in $G; do echo 0 > $f || exit 99; done; exec sh -c \"$S\"";
    let files = directories(placed).into_iter().map(|directory| {
        let tasks = directory.join("tasks");
        let file = if tasks.exists() { tasks } else { directory.join("cgroup.procs") };
        file.to_str().expect("text").to_owned()
    });
    let files: Vec<String> = files.collect();
    let mut command = Command::new("sh");
    command.args(["-c", enter]).env("G", files.join(" ")).env("S", script);
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh")
}

/// Waits until it is in.
fn entered(placed: &Placed, child: &mut Child) {
    while !placed.processes().contains(&(child.id() as i32)) {
        assert!(child.try_wait().expect("wait").is_none(), "it did not get in");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn status(placed: &Placed, script: &str) -> ExitStatus {
    inside(placed, script).wait().expect("wait")
}

fn file(placed: &Placed, names: &[&str]) -> Option<String> {
    let paths = directories(placed).into_iter().flat_map(|dir| names.iter().map(move |name| dir.join(name)));
    paths.into_iter().find_map(|path| std::fs::read_to_string(path).ok())
}

fn number_after(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {key} in {text}"))
}

fn memory(max: u64) -> Resources {
    let memory = Memory { max: Some(Limit::At(max)), ..Memory::default() };
    Resources { memory, ..Resources::default() }
}

fn rate(device: DeviceNumber, limit: u64) -> DeviceRate {
    DeviceRate { device, rate: Rate::ReadBytes, limit: Limit::At(limit) }
}

fn rule(text: &str) -> DeviceRule {
    text.parse().expect("a rule")
}

#[test]
fn made_and_removed_with_the_parents_that_were_made_for_it() {
    let Some(placed) = create("top/a/b", &Resources::default()) else { return };
    let all = directories(&placed);
    println!("{}: {all:?}", tsubo_cgroup::Layout::detect().expect("layout").name());
    assert!(all.iter().all(|directory| directory.is_dir()));
    let foreign = all[0].parent().expect("a").join("foreign");
    std::fs::create_dir(&foreign).expect("somebody else's");
    placed.0.remove().expect("remove");
    assert!(all.iter().all(|directory| !directory.exists()));
    let top = |directory: &Path| directory.ancestors().nth(2).expect("top").to_owned();
    let left: Vec<&PathBuf> = all.iter().filter(|directory| top(directory).exists()).collect();
    std::fs::remove_dir(&foreign).expect("remove");
    let again = Placed::create(&path("top/a/b"), &Resources::default(), Breadth::All).expect("again");
    again.remove().expect("remove");
    assert_eq!(left, [&all[0]], "where somebody else's group is the parents stay");
    assert!(all.iter().all(|directory| !top(directory).exists()));
}

#[test]
fn a_group_of_somebody_else_stays_and_one_that_is_in_use_is_refused() {
    let Some(placed) = create("used", &Resources::default()) else { return };
    let mut child = inside(&placed, "sleep 100");
    entered(&placed, &mut child);
    let error = Placed::create(&path("used"), &Resources::default(), Breadth::All).expect_err("in use");
    assert_eq!(error.kind(), spec::ErrorKind::Conflict, "{error:?}");
    assert!(placed.processes().contains(&(child.id() as i32)));
    let reaper = std::thread::spawn(move || child.wait());
    placed.kill().expect("kill");
    assert!(!reaper.join().expect("thread").expect("wait").success());
    // Left behind by a crash: taken over anew.
    Placed::create(&path("used"), &Resources::default(), Breadth::All).expect("taken over");
    placed.remove().expect("remove");

    let Some(parent) = create("of", &Resources::default()) else { return };
    let theirs: Vec<PathBuf> =
        directories(&parent).iter().map(|directory| directory.join("theirs")).collect();
    theirs.iter().for_each(|directory| std::fs::create_dir(directory).expect("theirs"));
    let used = Placed::create(&path("of/theirs"), &Resources::default(), Breadth::All);
    let used = used.and_then(|used| used.remove());
    let stayed = theirs.iter().all(|directory| directory.is_dir());
    used.expect("used and left");
    assert!(stayed);
}

#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    let mut impossible = memory(64 << 20);
    impossible.cpu.cpus = Some("4000".to_owned());
    let error =
        Placed::create(&path("never/ever"), &impossible, Breadth::All).expect_err("no such processor");
    println!("{}", error.chain());
    let left = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().filter(|entry| {
        let name = format!("tsubo-test-{}/never", std::process::id());
        entry.path().join(name).exists()
    });
    assert_eq!(left.count(), 0);
    assert!(!Path::new(&format!("/sys/fs/cgroup/tsubo-test-{}/never", std::process::id())).exists());
}

#[test]
fn who_needs_more_memory_than_there_is_gets_killed_and_that_is_told() {
    let Some(placed) = create("oom", &memory(32 << 20)) else { return };
    let group = placed.group();
    let mut watch = group.watch_oom().expect("watch");
    assert_eq!(watch.read().expect("read"), Told::Nothing);
    let mut child = inside(&placed, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); exit 0");
    let mut poll = [rustix::event::PollFd::from_borrowed_fd(watch.as_fd(), rustix::event::PollFlags::IN)];
    let limit = rustix::time::Timespec { tv_sec: 60, tv_nsec: 0 };
    let ready = rustix::event::poll(&mut poll, Some(&limit)).expect("poll");
    let mut told = watch.read().expect("read");
    for _ in 0..6000 {
        if told == Told::OutOfMemory || ready == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        told = watch.read().expect("read");
    }
    let status = child.wait().expect("wait");
    assert_eq!(told, Told::OutOfMemory);
    assert!(group.oom_kills() > 0, "{status:?}");
    assert!(!status.success());
}

#[test]
fn no_more_tasks_than_allowed() {
    let resources = Resources { pids: Some(Limit::At(5)), ..Resources::default() };
    let Some(placed) = create("pids", &resources) else { return };
    assert!(status(&placed, "sleep 0.1 & sleep 0.1 & wait").success());
    assert!(!status(&placed, "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait").success());
    let told = file(&placed, &["pids.events"]).unwrap_or_default();
    assert!(number_after(&told, "max ") > 0, "{told}");
}

#[test]
fn no_more_time_than_allowed() {
    let cpu = Cpu { quota: Some(Limit::At(5000)), period: Some(50_000), ..Cpu::default() };
    let Some(placed) = create("cpu", &Resources { cpu, ..Resources::default() }) else { return };
    assert!(status(&placed, "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done").success());
    let told = directories(&placed).into_iter().find_map(|directory| {
        let text = std::fs::read_to_string(directory.join("cpu.stat")).ok()?;
        text.contains("nr_throttled").then_some(text)
    });
    assert!(number_after(&told.expect("cpu.stat"), "nr_throttled ") > 0);
}

#[test]
fn only_the_devices_that_are_allowed() {
    let rules = vec![DeviceRule::deny_all(), rule("c 1:3 rw"), rule("c 1:7 rw"), rule("c 5:* rw")];
    let resources = Resources { devices: Some(rules), ..Resources::default() };
    let Some(placed) = create("devices", &resources) else { return };
    let reads = |device: &str| status(&placed, &format!("exec 3< {device}")).success();
    let makes = |name: &str| {
        let file = std::env::temp_dir().join(format!("tsubo-{}-{name}", std::process::id()));
        let file = file.display();
        status(&placed, &format!("rm -f {file}; mknod {file} c 1 5; e=$?; rm -f {file}; exit $e")).success()
    };
    assert!(reads("/dev/null") && !reads("/dev/zero") && !makes("one"));
    let more = vec![rule("c 1:3 rw"), rule("c 1:5 r"), rule("c *:* m")];
    placed.update(&Resources { devices: Some(more), ..Resources::default() }).expect("update");
    assert!(reads("/dev/null") && reads("/dev/zero") && makes("two"));
    assert!(!status(&placed, "exec 3> /dev/zero").success() && !reads("/dev/full"));
    let less = vec![rule("c 1:3 rw")];
    placed.update(&Resources { devices: Some(less), ..Resources::default() }).expect("update");
    assert!(reads("/dev/null") && !reads("/dev/zero"));
}

/// This host's rules may be those of version 1; the program of version 2 is tried all the same.
#[test]
fn a_program_decides_over_devices_in_a_group_of_version_2() {
    let Some(placed) = create("program", &Resources::default()) else { return };
    let two = placed.paths().into_iter().find(|(controller, _)| controller.is_empty());
    let Some((_, directory)) = two else {
        println!("SKIPPED: no version 2");
        return;
    };
    let rules = [rule("c 1:3 rw"), rule("c 1:7 rw"), rule("c 1:5 w")];
    let program = sys::bpf_device::Program::load(&tsubo_cgroup::devices::program(&rules)).expect("load");
    let group = std::fs::File::open(&directory).expect("open");
    program.attach(group.as_fd()).expect("attach");
    let does = |script: &str| status(&placed, script).success();
    assert!(does("exec 3< /dev/null") && !does("exec 3< /dev/zero") && does("exec 3> /dev/zero"));
    assert_eq!(sys::bpf_device::Program::attached(group.as_fd()).expect("query").len(), 1);
    program.detach(group.as_fd()).expect("detach");
    assert!(does("exec 3< /dev/zero"));
}

#[test]
fn an_update_is_done_as_a_whole_or_not_at_all() {
    let mut resources = memory(64 << 20);
    resources.pids = Some(Limit::At(50));
    resources.cpu.quota = Some(Limit::At(50_000));
    let Some(placed) = create("update", &resources) else { return };
    let before = placed.now();
    assert_eq!(before.memory, Limit::At(64 << 20));
    let mut change = memory(128 << 20);
    change.pids = Some(Limit::At(60));
    change.cpu.quota = Some(Limit::At(60_000));
    placed.update(&change).expect("update");
    assert_eq!((placed.now().memory, placed.now().quota), (Limit::At(128 << 20), Limit::At(60_000)));
    // The last write fails: every one before it is taken back.
    let before = placed.now();
    let mut bad = memory(96 << 20);
    bad.cpu.quota = Some(Limit::At(70_000));
    bad.pids = Some(Limit::At(70));
    bad.io.rates.push(rate(DeviceNumber { major: 4000, minor: 77 }, 1 << 20));
    let error = placed.update(&bad).expect_err("no such disk");
    println!("{}", error.chain());
    assert_eq!(placed.now(), before);
    assert_eq!(file(&placed, &["pids.max"]).as_deref(), Some("60\n"));
}

#[test]
fn processes_of_groups_below_are_counted_and_killed_too() {
    let Some(placed) = create("nested", &Resources::default()) else { return };
    let below: Vec<PathBuf> = directories(&placed)
        .into_iter()
        .filter(|directory| !directory.join("cpuset.cpus").exists() || directory.join("cgroup.type").exists())
        .map(|directory| directory.join("below"))
        .collect();
    below.iter().for_each(|directory| std::fs::create_dir(directory).expect("below"));
    let mut child = Command::new("sleep").arg("100").spawn().expect("sleep");
    for directory in &below {
        std::fs::write(directory.join("cgroup.procs"), child.id().to_string()).expect("enter");
    }
    assert_eq!(placed.processes(), [child.id() as i32]);
    let reaper = std::thread::spawn(move || child.wait());
    placed.kill().expect("kill");
    assert!(!reaper.join().expect("thread").expect("wait").success());
    placed.remove().expect("remove");
    assert!(directories(&placed).iter().all(|directory| !directory.exists()));
}

#[test]
fn held_and_let_go() {
    let Some(placed) = create("freeze", &Resources::default()) else { return };
    let mut child = inside(&placed, "sleep 100");
    entered(&placed, &mut child);
    let group = placed.group();
    group.freeze().expect("freeze");
    assert!(group.is_frozen());
    let reaper = std::thread::spawn(move || child.wait());
    // Who is held can be killed too.
    placed.kill().expect("kill");
    assert!(!reaper.join().expect("thread").expect("wait").success());
}

/// What is asked for, and what a file of version 1 or 2 says then.
type Said = (&'static str, Resources, &'static [&'static str], &'static str);

fn with(change: impl FnOnce(&mut Resources)) -> Resources {
    let mut resources = Resources::default();
    change(&mut resources);
    resources
}

#[test]
fn the_kernel_says_what_was_asked_for() {
    let pages = HugePages { max: Some(Limit::At(4 << 20)), reserved: Some(Limit::At(2 << 20)) };
    let table: Vec<Said> = vec![
        (
            "low",
            with(|r| r.memory.low = Some(Limit::At(8 << 20))),
            &["memory.soft_limit_in_bytes", "memory.low"],
            "8388608",
        ),
        ("high", with(|r| r.memory.high = Some(Limit::At(8 << 20))), &["memory.high"], "8388608"),
        ("min", with(|r| r.memory.min = Some(Limit::At(8 << 20))), &["memory.min"], "8388608"),
        ("group", with(|r| r.memory.oom_group = Some(true)), &["memory.oom.group"], "1"),
        (
            "tcp",
            with(|r| r.memory.tcp = Some(Limit::At(8 << 20))),
            &["memory.kmem.tcp.limit_in_bytes"],
            "8388608",
        ),
        ("swappiness", with(|r| r.memory.swappiness = Some(7)), &["memory.swappiness"], "7"),
        (
            "wait",
            with(|r| r.memory.disable_oom_killer = Some(true)),
            &["memory.oom_control"],
            "oom_kill_disable 1",
        ),
        ("weight", with(|r| r.cpu.weight = Some(200)), &["cpu.shares"], "2048"),
        ("weight2", with(|r| r.cpu.weight = Some(200)), &["cpu.weight"], "200"),
        ("shares", with(|r| r.cpu.shares = Some(512)), &["cpu.weight"], "59"),
        ("idle", with(|r| r.cpu.idle = Some(true)), &["cpu.idle"], "1"),
        ("mems", with(|r| r.cpu.mems = Some("0".to_owned())), &["cpuset.mems"], "0"),
        ("cpus", with(|r| r.cpu.cpus = Some("0".to_owned())), &["cpuset.cpus"], "0"),
        (
            "huge",
            with(|r| r.hugepages = [("2MB".to_owned(), pages)].into()),
            &["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"],
            "4194304",
        ),
        (
            "rsvd",
            with(|r| r.hugepages = [("2MB".to_owned(), pages)].into()),
            &["hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"],
            "2097152",
        ),
        (
            "unified",
            with(|r| r.unified = [("cgroup.max.depth".to_owned(), "3".to_owned())].into()),
            &["cgroup.max.depth"],
            "3",
        ),
        (
            "class",
            with(|r| r.network = Network { class: Some(7), ..Network::default() }),
            &["net_cls.classid"],
            "7",
        ),
        (
            "priority",
            with(|r| r.network.priorities = [("lo".to_owned(), 3)].into()),
            &["net_prio.ifpriomap"],
            "lo 3",
        ),
    ];
    for (name, resources, files, wanted) in table {
        let Some(placed) = create(&format!("says/{name}"), &resources) else { continue };
        match file(&placed, files) {
            Some(text) => assert_eq!(text.lines().next(), Some(wanted), "{name}"),
            None => println!("SKIPPED: {name}: the other version has no {files:?}"),
        }
    }
}

#[test]
fn swap_is_limited_alone() {
    let limits = |max: u64, swap: u64| {
        let memory = Memory { max: Some(Limit::At(max)), swap: Some(Limit::At(swap)), ..Memory::default() };
        Resources { memory, ..Resources::default() }
    };
    let Some(placed) = create("swap", &limits(64 << 20, 32 << 20)) else { return };
    let swap = || {
        let two = file(&placed, &["memory.swap.max"]).and_then(|text| text.trim().parse::<u64>().ok());
        two.unwrap_or_else(|| {
            let now = placed.now();
            now.memory_and_swap.number().expect("a sum") - now.memory.number().expect("a number")
        })
    };
    assert_eq!(swap(), 32 << 20);
    // Up, down, and one of the two alone, in whatever order the kernel wants it.
    for (max, more) in [(128u64, 64u64), (16, 8), (64, 0), (32, 96)] {
        placed.update(&limits(max << 20, more << 20)).expect("update");
        assert_eq!((placed.now().memory, swap()), (Limit::At(max << 20), more << 20));
    }
    placed.update(&memory(48 << 20)).expect("update");
    assert_eq!((placed.now().memory, swap()), (Limit::At(48 << 20), 96 << 20));
}

/// The whole disk that a directory is on.
fn disk(directory: &Path) -> Option<DeviceNumber> {
    let number = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(directory).ok()?);
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}")).canonicalize().ok()?;
    let whole = if device.join("partition").exists() { device.parent()? } else { &device };
    std::fs::read_to_string(whole.join("dev")).ok()?.trim().parse().ok()
}

#[test]
fn no_more_is_written_to_a_disk_than_allowed() {
    let Some(device) = disk(&std::env::temp_dir()) else {
        println!("SKIPPED: {} is on no disk", std::env::temp_dir().display());
        return;
    };
    let limit = |limit| with(|r| r.io.rates.push(DeviceRate { device, rate: Rate::WriteBytes, limit }));
    let Some(placed) = create("io", &limit(Limit::At(4 << 20))) else { return };
    let said = || file(&placed, &["blkio.throttle.write_bps_device", "io.max"]).expect("a file");
    let wanted = [format!("{device} 4194304"), format!("{device} rbps=max wbps=4194304 riops=max wiops=max")];
    assert!(wanted.iter().any(|line| *line == said().trim()), "{}", said());
    let file = std::env::temp_dir().join(format!("tsubo-written-{}", std::process::id()));
    let name = file.display();
    let write = format!("dd if=/dev/zero of={name} bs=1M count=4 oflag=direct; e=$?; rm -f {name}; exit $e");
    let start = std::time::Instant::now();
    assert!(status(&placed, &write).success());
    let figures = placed.group().stats().blkio.io_service_bytes_recursive;
    let written =
        figures.iter().filter(|entry| entry.op == "Write" && entry.major == u64::from(device.major));
    let bytes: u64 = written.map(|entry| entry.value).sum();
    println!("4 MiB at 4 MiB a second: {:?}, {bytes} bytes counted", start.elapsed());
    assert!(bytes >= 4 << 20, "{figures:?}");
    placed.update(&limit(Limit::Max)).expect("update");
    assert_eq!(said().trim(), "");
}

#[test]
fn figures() {
    let mut resources = memory(64 << 20);
    resources.pids = Some(Limit::At(50));
    let Some(placed) = create("figures", &resources) else { return };
    let mut child = inside(&placed, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 100");
    entered(&placed, &mut child);
    while std::fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|comm| comm != "sleep\n") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let stats = placed.group().stats();
    let _ = child.kill().and_then(|()| child.wait());
    assert!(stats.cpu.usage.total > 0 && stats.memory.usage.usage > 0, "{stats:?}");
    assert_eq!((stats.memory.usage.limit, stats.pids.limit), (64 << 20, 50));
    assert_eq!(stats.pids.current, 1);
    assert!(!stats.memory.raw.is_empty() && !stats.cpuset.cpus.is_empty());
    println!("{}", serde_json::to_string(&stats).expect("text"));
}

#[test]
fn given_to_the_root_of_a_container() {
    let Some(placed) = create("given", &Resources::default()) else { return };
    let two = placed.paths().into_iter().find(|(controller, _)| controller.is_empty());
    let Some((_, directory)) = two else {
        println!("SKIPPED: no version 2");
        return;
    };
    placed.delegate(100_000).expect("delegate");
    let owner = |file: &str| {
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(directory.join(file)).expect("file"))
    };
    assert_eq!([".", "cgroup.procs", "cgroup.subtree_control"].map(owner), [100_000; 3]);
    assert_eq!(owner("cgroup.max.depth"), 0);
}

/// Where a group of version 2 is threaded, those below it take no processes.
#[test]
fn a_threaded_group_is_no_place() {
    let Some(parent) = create("threads", &Resources::default()) else { return };
    let two = parent.paths().into_iter().find(|(controller, _)| controller.is_empty());
    let Some((_, directory)) = two else {
        println!("SKIPPED: no version 2");
        return;
    };
    // No domain controllers may be passed on to a group that becomes threaded.
    let child = directory.join("threaded");
    std::fs::create_dir(&child).expect("a group");
    let threaded = std::fs::write(child.join("cgroup.type"), "threaded");
    if let Err(error) = threaded {
        println!("SKIPPED: {error}");
        return;
    }
    let error = Placed::create(&path("threads/threaded/leaf"), &Resources::default(), Breadth::All);
    let left = child.join("leaf").exists();
    assert!(error.expect_err("no place").chain().contains("threaded") || !left);
    assert!(!left);
}

#[test]
fn what_is_needed_is_enough() {
    let resources = with(|r| r.cpu.cpus = Some("0".to_owned()));
    let placed = match Placed::create(&path("few"), &resources, Breadth::Needed) {
        Ok(placed) => Removed(placed),
        Err(error) => {
            println!("SKIPPED: {}", error.chain());
            return;
        }
    };
    let has = placed.controllers();
    assert!(!has.one.contains("devices") && !has.one.contains("name=systemd"));
    assert_eq!(file(&placed, &["cpuset.cpus"]).as_deref(), Some("0\n"));
    assert!(status(&placed, "exit 0").success());
}

/// Parents come and go with their last child, while others are just going into them.
#[test]
fn many_at_once_below_the_same_parents() {
    let Some(_probe) = create("probe", &Resources::default()) else { return };
    let resources = with(|r| r.pids = Some(Limit::At(9)));
    let life = |thread: usize| {
        for round in 0..40 {
            let name = format!("crowd/of/{}", if round % 2 == 0 { thread } else { thread + 100 * round });
            let placed = Placed::create(&path(&name), &resources, Breadth::All);
            let placed = placed.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(file(&placed, &["pids.max"]).as_deref(), Some("9\n"));
            assert!(file(&placed, &["cpuset.cpus", "cgroup.procs"]).is_some());
            placed.remove().unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    };
    std::thread::scope(|scope| {
        let lives: Vec<_> = (0..6).map(|thread| scope.spawn(move || life(thread))).collect();
        lives.into_iter().for_each(|life| life.join().expect("a life"));
    });
    let left = std::fs::read_dir("/sys/fs/cgroup")
        .expect("groups")
        .flatten()
        .filter(|entry| entry.path().join(format!("tsubo-test-{}/crowd", std::process::id())).exists());
    assert_eq!(left.count(), 0);
}

/// Only a group right below one that has a budget can be given one.
#[test]
fn real_time_where_the_host_has_a_budget() {
    let real = with(|r| (r.cpu.realtime_runtime, r.cpu.realtime_period) = (Some(5000), Some(100_000)));
    let path =
        GroupPath::parse(Some(&format!("/tsubo-test-rt-{}", std::process::id())), "x").expect("a path");
    match Placed::create(&path, &real, Breadth::Needed) {
        Ok(placed) => {
            let placed = Removed(placed);
            assert_eq!(file(&placed, &["cpu.rt_runtime_us"]).as_deref(), Some("5000\n"));
            assert_eq!(file(&placed, &["cpu.rt_period_us"]).as_deref(), Some("100000\n"));
        }
        Err(error) if error.kind() == spec::ErrorKind::Unsupported => println!("SKIPPED: {}", error.chain()),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn all_die_together_where_that_is_asked_for() {
    let mut resources = memory(32 << 20);
    resources.memory.oom_group = Some(true);
    let Some(placed) = create("together", &resources) else { return };
    let mut other = inside(&placed, "exec sleep 1000");
    entered(&placed, &mut other);
    assert!(!status(&placed, "x=$(head -c 200000000 /dev/zero | tr '\\0' x)").success());
    assert!(!other.wait().expect("wait").success());
}

#[test]
fn the_group_of_a_container_of_tsubo_has_the_same_limits_and_figures() {
    let [_, _, a, b] = std::process::id().to_be_bytes();
    let group = tsubo_cgroup::Group::create(spec::Id::from_bytes([0xef, 0, 0, a, b, 1])).expect("group");
    let Some(group) = group else {
        println!("SKIPPED: no control groups");
        return;
    };
    let placed = Removed(Placed::of(&group).expect("its places"));
    let mut resources = memory(48 << 20);
    resources.pids = Some(Limit::At(33));
    let updated = placed.update(&resources);
    let told = (placed.now().memory, group.stats().pids.limit);
    group.end().expect("the end");
    match updated {
        Err(error) if error.kind() == spec::ErrorKind::Unsupported => println!("SKIPPED: {}", error.chain()),
        updated => {
            updated.expect("update");
            assert_eq!(told, (Limit::At(48 << 20), 33));
        }
    }
}

/// Where nobody may make groups a container runs without, unless somebody asked for one.
#[test]
fn read_only_control_groups() {
    const INSIDE: &str = "TSUBO_TEST_READ_ONLY";
    if std::env::var_os(INSIDE).is_some() {
        let default = GroupPath::parse(None, "read-only").expect("a path");
        let none = Placed::create(&default, &Resources::default(), Breadth::All).expect("nothing asked for");
        assert!(none.is_empty() && none.processes().is_empty());
        none.remove().expect("nothing to remove");
        let limits = with(|r| r.pids = Some(Limit::At(5)));
        let error = Placed::create(&default, &limits, Breadth::All).expect_err("no limit");
        let asked =
            Placed::create(&path("read-only"), &Resources::default(), Breadth::All).expect_err("no group");
        assert!(asked.chain().contains("read-only"), "{asked:?}");
        println!("{error:?}\n{asked:?}");
        return;
    }
    let Some(_probe) = create("writable", &Resources::default()) else { return };
    let script = "while read -r _ _ _ _ m rest; do case \"$rest\" in *' - cgroup '*|*' - cgroup2 '*) \
                  mount -o remount,bind,ro \"$m\" || exit 98;; esac; done < /proc/self/mountinfo; \
                  exec \"$0\" --exact read_only_control_groups";
    let mut inside = Command::new("unshare");
    inside.args(["-m", "sh", "-c", script]).arg(std::env::current_exe().expect("this")).env(INSIDE, "1");
    let done = inside.output().expect("unshare");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
