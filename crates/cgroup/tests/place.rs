//! Groups at a path of their own and their resources, on the real kernel: what a limit says and
//! what it does to who breaks it. The same on version 1, version 2 and hybrid.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use spec::resources::{Cpu, DeviceRule, Limit, Memory, Resources};
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
            println!("SKIPPED {name}: no control groups");
            None
        }
        Err(error) if error.kind() == spec::ErrorKind::Unsupported => {
            println!("SKIPPED {name}: {}", error.chain());
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
    for _ in 0..1000 {
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
    assert!(status(&placed, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").success());
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
    bad.io.rates.push(spec::resources::DeviceRate {
        device: spec::resources::DeviceNumber { major: 4000, minor: 77 },
        rate: spec::resources::Rate::ReadBytes,
        limit: Limit::At(1 << 20),
    });
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
