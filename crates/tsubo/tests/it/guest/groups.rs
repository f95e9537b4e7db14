//! Groups of version 2 with real controllers: made, entered, held, counted, killed, removed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use super::{ended, first, group_of, house, members, number, started, state};
use crate::support::{House, succeed, until};

/// Counts in a file as long as it may.
const COUNTS: &str = "echo up; n=0; while :; do n=$((n + 1)); echo $n > /tmp/n; sleep 0.02; done";

#[test]
#[ignore = "for ./x guest"]
fn made_entered_held_killed_and_removed() {
    let Some(house) = house() else { return };
    started(&house, "one", &[], COUNTS);
    let pid = first(&house, "one");
    let group = group_of(pid);
    assert!(group.starts_with("/sys/fs/cgroup/tsubo"), "{group:?}");
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).expect("controllers");
    for wanted in ["memory", "pids"] {
        assert!(controllers.split_whitespace().any(|name| name == wanted), "{controllers}");
    }
    assert!(number(&group, "memory.current") > 0 && number(&group, "pids.current") > 0);
    // Inside it is the root of its own view.
    assert_eq!(house.ok_elsewhere(["exec", "one", "cat", "/proc/self/cgroup"]), "0::/\n");
    let before = members(&group);
    house.ok_elsewhere(["exec", "-d", "one", "sleep", "1000"]);
    until("the other process is in it", || members(&group) > before);
    house.ok_elsewhere(["pause", "one"]);
    assert!(fs::read_to_string(group.join("cgroup.events")).expect("events").contains("frozen 1"));
    let count = || fs::read_to_string(format!("/proc/{pid}/root/tmp/n")).expect("count");
    let held = count();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(), held);
    house.ok_elsewhere(["unpause", "one"]);
    until("it goes on", || count() != held);
    // One that is held is ended all the same.
    house.ok_elsewhere(["pause", "one"]);
    house.ok_elsewhere(["kill", "one"]);
    assert_eq!(house.ok_elsewhere(["wait", "one"]), "137\n");
    until("its group is gone", || !group.exists());
    assert!(ended(&house, "one")["peak"]["memory"].as_u64().expect("a number") > 0);
}

#[test]
#[ignore = "for ./x guest"]
fn whatever_it_started_ends_with_it_though_it_is_nobodys_child() {
    let Some(house) = house() else { return };
    // Without processes of its own nothing but the group knows them all.
    let script = "for n in 1 2 3 4 5 6 7 8; do (trap '' TERM HUP INT; setsid sleep 4711 &) & done; echo up; sleep 1000";
    for (end, code) in [(["stop", "-t", "0"].as_slice(), "137"), (&["kill"], "137"), (&["rm", "-f"], "")] {
        started(&house, "one", &["--pid", "host"], script);
        let group = group_of(first(&house, "one"));
        until("all of them", || members(&group) >= 9);
        let pids = fs::read_to_string(group.join("cgroup.procs")).expect("processes");
        house.ok_elsewhere(end.iter().chain(&["one"]));
        if !code.is_empty() {
            assert_eq!(house.ok_elsewhere(["wait", "one"]).trim(), code);
            house.ok_elsewhere(["rm", "one"]);
        }
        until("its group is gone", || !group.exists());
        let left = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("4711"))
        };
        assert_eq!(pids.lines().filter(left).count(), 0, "{end:?}");
    }
}

#[test]
#[ignore = "for ./x guest"]
fn the_most_memory_and_a_lack_of_it_are_told() {
    let Some(house) = house() else { return };
    let script = "echo up; while test ! -e /tmp/go; do sleep 0.02; done; exec dd if=/dev/zero of=/dev/null bs=40M count=1";
    started(&house, "much", &[], script);
    house.ok_elsewhere(["exec", "much", "touch", "/tmp/go"]);
    assert_eq!(house.ok_elsewhere(["wait", "much"]), "0\n");
    let most = ended(&house, "much")["peak"]["memory"].as_u64().expect("a number");
    assert!((40 << 20..200 << 20).contains(&most), "{most}");
    started(&house, "more", &[], script);
    let group = group_of(first(&house, "more"));
    fs::write(group.join("memory.max"), "20000000").expect("a limit");
    house.ok_elsewhere(["exec", "more", "touch", "/tmp/go"]);
    assert_eq!(house.ok_elsewhere(["wait", "more"]), "137\n");
    assert_eq!(state(&house, "more")["oom"], true);
    let told = house.ok_elsewhere(["events", "--since", "1h", "--until", "0s", "--filter", "event=oom"]);
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
#[ignore = "for ./x guest"]
fn a_container_full_of_processes_takes_no_more_and_its_keeper_lives() {
    let Some(house) = house() else { return };
    started(&house, "one", &[], "echo up; exec sleep 1000");
    let group = group_of(first(&house, "one"));
    fs::write(group.join("pids.max"), "1").expect("a limit");
    let complaint = house.fails_elsewhere(125, ["exec", "one", "true"]);
    assert!(!complaint.is_empty());
    println!("told: {complaint}");
    assert_eq!(state(&house, "one")["running"], true);
    house.ok_elsewhere(["pause", "one"]);
    house.ok_elsewhere(["unpause", "one"]);
    fs::write(group.join("pids.max"), "max").expect("no limit");
    house.ok_elsewhere(["exec", "one", "true"]);
    house.ok_elsewhere(["rm", "-f", "one"]);
    until("its group is gone", || !group.exists());
}

/// A session's group, as a service manager makes one for each login: gone at the end.
struct Session(std::path::PathBuf);

impl Session {
    fn new() -> Self {
        let group = format!("/sys/fs/cgroup/session-{}.scope", std::process::id());
        fs::create_dir(&group).expect("group");
        Self(group.into())
    }

    /// Runs `tsubo` in it.
    #[track_caller]
    fn run(&self, house: &House, args: &[&str]) {
        let mut shell = Command::new("sh");
        shell.args(["-ec", "echo $$ > $0/cgroup.procs; exec \"$@\""]).arg(&self.0);
        shell.arg(env!("CARGO_BIN_EXE_tsubo")).arg("--root").arg(house.elsewhere()).args(args);
        succeed(shell);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        std::thread::sleep(Duration::from_millis(200));
        let _ = fs::remove_dir(self.0.join("tsubo"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "for ./x guest"]
fn one_that_was_started_in_a_session_is_ruled_from_another() {
    let Some(house) = house() else { return };
    let session = Session::new();
    let script = "trap 'exit 3' TERM; (setsid sleep 4713 &); echo up; while :; do sleep 0.05; done";
    session.run(&house, &["run", "-d", "--name", "one", "web", "/bin/sh", "-c", script]);
    until("it is up", || house.ok_elsewhere(["logs", "one"]).contains("up\n"));
    let group = group_of(first(&house, "one"));
    house.ok_elsewhere(["exec", "one", "true"]);
    house.ok_elsewhere(["pause", "one"]);
    assert!(house.ok_elsewhere(["ps"]).contains("paused"));
    house.ok_elsewhere(["unpause", "one"]);
    house.ok_elsewhere(["stop", "one"]);
    assert_eq!(house.ok_elsewhere(["wait", "one"]), "3\n");
    until("its group is gone", || !group.exists());
    // Its next life begins here.
    house.ok_elsewhere(["start", "one"]);
    until("it is up again", || house.ok_elsewhere(["logs", "one"]).matches("up\n").count() == 2);
    house.ok_elsewhere(["rm", "-f", "one"]);
    let left = fs::read_to_string(session.0.join("cgroup.events")).expect("events");
    assert!(left.contains("populated 0"), "{left}");
}

#[test]
#[ignore = "for ./x guest"]
fn starts_after_a_pause_and_many_at_once_leave_no_group() {
    let Some(house) = house() else { return };
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(house.ok_elsewhere(["run", "--rm", "web"]), "it ran\n");
    }
    let mut all: Vec<_> = (0..12)
        .map(|_| {
            house.command_elsewhere(["run", "--rm", "web", "/bin/sh", "-c", "exit 7"]).spawn().expect("run")
        })
        .collect();
    for one in &mut all {
        assert_eq!(one.wait().expect("wait").code(), Some(7));
    }
    assert_eq!(house.ok_elsewhere(["ps", "-a"]).lines().count(), 1);
    let root = fs::metadata("/sys/fs/cgroup").expect("groups").ino();
    assert_eq!(root, 1, "the whole hierarchy is seen");
}

#[test]
#[ignore = "for ./x guest"]
fn the_life_of_a_package_on_version_2() {
    let Some(house) = house() else { return };
    let script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    started(&house, "one", &[], script);
    assert!(house.ok_elsewhere(["ps"]).contains("running"));
    std::fs::write(house.path("note"), "welcome\n").expect("note");
    house.ok_elsewhere(["cp", "note", "one:/tmp"]);
    assert_eq!(house.ok_elsewhere(["exec", "one", "cat", "/tmp/note"]), "welcome\n");
    house.ok_elsewhere(["cp", "one:/tmp/note", "back"]);
    assert_eq!(std::fs::read_to_string(house.path("back")).expect("back"), "welcome\n");
    let top = house.json_elsewhere(["top", "one", "--format", "json"]);
    assert_eq!(top[0]["inside"], 1, "{top:#}");
    house.ok_elsewhere(["rename", "one", "two"]);
    house.ok_elsewhere(["restart", "two"]);
    until("it is up again", || house.ok_elsewhere(["logs", "two"]).matches("up\n").count() == 2);
    house.ok_elsewhere(["stop", "two"]);
    assert_eq!(house.ok_elsewhere(["wait", "two"]), "3\n");
    house.ok_elsewhere(["start", "two"]);
    house.ok_elsewhere(["rm", "-f", "two"]);
    house.ok_elsewhere(["gc"]);
    assert!(house.ok_elsewhere(["info"]).contains("v2"));
}
