//! Faults F8, F14 and F15: a keeper without memory, one that is stopped for a while, and what is taken
//! away behind its back.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::{House, until};

fn first(house: &House) -> u64 {
    house.json_elsewhere(["ps", "--format", "json"])[0]["pid"].as_u64().expect("a pid")
}

fn keeper(house: &House) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", first(house))).expect("status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .and_then(|pid| pid.trim().parse().ok())
        .expect("a keeper")
}

fn signal(pid: u64, number: &str) {
    assert!(Command::new("kill").args([number, &pid.to_string()]).status().expect("kill").success());
}

/// The directories of the groups that a process is in.
fn groups_of(pid: u64) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let paths = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let mounts = [controllers.trim_start_matches("name="), "unified", ""];
        let found = mounts.iter().map(|mount| Path::new("/sys/fs/cgroup").join(mount).join(path));
        found.into_iter().find(|path| path.is_dir() && path.to_string_lossy().contains("/tsubo/"))
    });
    paths.collect()
}

/// A keeper that is stopped loses no end and no line.
#[test]
fn fault_f14_a_keeper_that_is_stopped_for_a_while_loses_no_end() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let script = "echo begun; sleep 0.3; echo over; exit 9";
    house.ok_elsewhere(["run", "-d", "--name", "x", "web", "/bin/sh", "-c", script]);
    let (pid, keeper) = (first(&house), keeper(&house));
    signal(keeper, "-STOP");
    until("its program has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z")
    });
    // Others are not held up meanwhile.
    house.ok_elsewhere(["run", "--rm", "web"]);
    signal(keeper, "-CONT");
    assert_eq!(house.ok_elsewhere(["wait", "x"]), "9\n");
    assert_eq!(house.ok_elsewhere(["logs", "x"]), "begun\nover\n");
    house.ok_elsewhere(["rm", "x"]);
}

/// A keeper in a group of 16 MiB whose container floods its log is not killed for that.
#[test]
fn fault_f8_a_keeper_with_little_memory_under_a_flood() {
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("groups");
    let path = own
        .lines()
        .find_map(|line| line.split_once(":memory:").map(|(_, path)| path.trim_start_matches('/')));
    let group = Path::new("/sys/fs/cgroup/memory")
        .join(path.unwrap_or("none"))
        .join(format!("tsubo-it-{}-f8", std::process::id()));
    let limited = std::fs::create_dir(&group).is_ok()
        && std::fs::write(group.join("memory.limit_in_bytes"), "16M").is_ok();
    if !limited {
        let _ = std::fs::remove_dir(&group);
        eprintln!("SKIPPED: no version 1 control group with a limit of memory can be made here");
        return;
    }
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let flood = "dd if=/dev/zero bs=1000000 count=60 2>/dev/null | tr '\\0' x; yes | head -c 40000000; echo; echo over; sleep 1000";
    let script = format!("until test -e /tmp/go; do sleep 0.02; done; {flood}");
    house.ok_elsewhere(["run", "-d", "--name", "x", "--tmpfs", "/tmp", "web", "/bin/sh", "-c", &script]);
    let keeper = keeper(&house);
    std::fs::write(group.join("cgroup.procs"), keeper.to_string()).expect("moved");
    house.ok_elsewhere(["exec", "x", "/bin/touch", "/tmp/go"]);
    until("the flood is over", || house.ok_elsewhere(["logs", "--tail", "1", "x"]).contains("over"));
    let events = std::fs::read_to_string(group.join("memory.oom_control")).expect("events");
    assert!(events.contains("oom_kill 0"), "{events}");
    house.ok_elsewhere(["exec", "x", "/bin/true"]);
    house.ok_elsewhere(["rm", "-f", "x"]);
    until("the group is empty", || std::fs::remove_dir(&group).is_ok());
}

/// What a container is made of is taken away: it is listed as it is, and it can be removed.
#[test]
fn fault_f15_groups_files_and_volumes_are_taken_away() {
    let Some(house) = installed(|tar| tar.dir("data/"), json!({"command": ["/bin/sleep", "1000"]})) else {
        return;
    };
    // Of one that runs: its processes are moved out of its groups, and these are removed.
    house.ok_elsewhere(["run", "-d", "--name", "x", "web"]);
    let pid = first(&house);
    for group in groups_of(pid) {
        let parent = group
            .ancestors()
            .find(|path| path.ends_with("tsubo"))
            .and_then(Path::parent)
            .expect("a parent")
            .to_owned();
        let inside = std::fs::read_to_string(group.join("cgroup.procs")).expect("processes");
        for process in inside.lines() {
            // It may have ended, or version 2 may let nobody in there.
            let _ = std::fs::write(parent.join("cgroup.procs"), process);
        }
        until("the group is gone", || std::fs::remove_dir(&group).is_ok() || !group.exists());
    }
    assert_eq!(house.json_elsewhere(["ps", "--format", "json"])[0]["running"], true);
    house.ok_elsewhere(["stop", "-t", "0", "x"]);
    house.ok_elsewhere(["rm", "x"]);
    // Its state: the keeper's own directory, while it runs.
    house.ok_elsewhere(["run", "-d", "--name", "x", "web"]);
    let pid = first(&house);
    std::fs::remove_dir_all(house.elsewhere().join("run/containers")).expect("removed");
    let output = house.command_elsewhere(["rm", "-f", "x"]).output().expect("rm");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    house.ok_elsewhere(["gc"]);
    until("it has ended", || {
        !Path::new(&format!("/proc/{pid}/exe")).exists()
            || std::fs::read_link(format!("/proc/{pid}/exe")).is_err()
    });
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
    // The directory that was shown to it.
    let data = house.path("data");
    std::fs::create_dir(&data).expect("mkdir");
    let volume = format!("{}:/data", data.display());
    house.ok_elsewhere(["run", "-d", "--name", "x", "-v", &volume, "web"]);
    std::fs::remove_dir(&data).expect("removed");
    house.ok_elsewhere(["exec", "x", "/bin/true"]);
    house.ok_elsewhere(["rm", "-f", "x"]);
    assert_eq!(house.ok_elsewhere(["run", "--rm", "--name", "x", "web", "/bin/echo", "in"]), "in\n");
}
