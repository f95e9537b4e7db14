//! What the kernel counts rather than weighs: one container takes all that it can get of it, and
//! the host and a second container still get theirs.

use std::process::{Command, Output};

use serde_json::json;

use crate::support::base::compile;
use crate::support::busybox::{file, installed};
use crate::support::{House, have, mode, until_within};

/// More than anybody should get.
const ALL: &str = "3000000";

/// A house whose container `web` has the program that takes, and so has its folder.
fn house() -> Option<House> {
    if !have(&["busybox", "gcc"]) {
        return None;
    }
    let workshop = House::new();
    let counts = compile(&workshop, "counts", include_str!("programs/counts.c"), &["-static"]);
    let counts = std::fs::read(counts).expect("program");
    let house = installed(|tar| file(tar, "bin/counts", &counts, 0o755), json!({"writable": ["/tmp"]}))?;
    let own = house.path("counts");
    std::fs::write(&own, counts).expect("write");
    mode(&own, 0o755);
    Some(house)
}

/// What the program said: how many it got, and why no more.
#[track_caller]
fn told(said: &str, kind: &str) -> (u64, String) {
    let mut words = said.lines().filter_map(|line| line.strip_prefix(kind)).flat_map(str::split_whitespace);
    let count = words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{kind}: {said:?}"));
    (count, words.next().unwrap_or_default().to_owned())
}

#[track_caller]
fn gets(output: &Output, kind: &str, who: &str) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{who}: {kind}: {output:?}");
    assert_eq!(told(&said, kind), (20, "enough".to_owned()), "{who}: {kind}: {output:?}");
}

/// One container takes all of `kind` and keeps it; the host's root and a second container get
/// some nevertheless. Returns what the first one got; None where it was ended for its memory.
#[track_caller]
fn taken(house: &House, options: &[&str], kind: &str) -> Option<(u64, String)> {
    let command = ["web", "/bin/counts", kind, ALL, "hold"];
    let run = ["run", "-d", "--name", "taker", "--overcommit", "--memory", "120m"];
    house.ok_elsewhere(run.iter().chain(options).chain(&command));
    let mut said = String::new();
    until_within(60, "it has all that it gets", || {
        said = house.ok_elsewhere(["logs", "taker"]);
        !said.is_empty() || !house.ok_elsewhere(["ps"]).contains("taker")
    });
    let host = Command::new(house.path("counts")).args([kind, "20"]).current_dir(house.dir()).output();
    gets(&host.expect("counts"), kind, "the host");
    let run = ["run", "--rm", "--overcommit", "--memory", "120m"].iter().chain(options);
    let other = house.command_elsewhere(run.chain(&["web", "/bin/counts", kind, "20"])).output();
    gets(&other.expect("run"), kind, "another container");
    house.ok_elsewhere(["rm", "-f", "taker"]);
    println!("{kind}: {}", said.trim());
    (!said.is_empty()).then(|| told(&said, kind))
}

#[test]
fn what_is_counted_for_each_user_is_another_users_for_each_container() {
    let Some(house) = house() else { return };
    for (kind, why) in [
        ("inotify", "EMFILE"),
        ("signal", "EAGAIN"),
        ("timer", "EAGAIN"),
        ("pipe", "EPERM"),
        ("flight", "ETOOMANYREFS"),
        ("epoll", "EMFILE"),
        ("watch", "ENOSPC"),
    ] {
        // These are files too, of which a small host has few.
        let files: &[&str] =
            if matches!(kind, "flight" | "epoll") { &["--ulimit", "nofile=4096:4096"] } else { &[] };
        let (count, reason) = taken(&house, files, kind).expect("memory is not what ends it");
        assert!(count > 20 && reason == why, "{kind}: {count} {reason}");
    }
}

#[test]
fn terminals_queues_and_segments_are_bounded_or_weighed() {
    let Some(house) = house() else { return };
    for (kind, most) in [("pty", 64), ("queue", 256), ("shm", 4096), ("sem", 32_000), ("msg", 32_000)] {
        let (count, reason) = taken(&house, &[], kind).unwrap_or((0, "memory".to_owned()));
        assert!(count <= most && reason != "enough", "{kind}: {count} {reason}");
    }
    // What no process has is counted to the memory of whoever has made it.
    for kind in ["memory", "message"] {
        let (count, reason) = taken(&house, &[], kind).unwrap_or((0, "memory".to_owned()));
        assert!(reason == "memory" || count < 32_000, "{kind}: {count} {reason}");
    }
}

#[test]
fn what_the_host_has_once_for_all_is_refused() {
    let Some(house) = house() else { return };
    const KINDS: [&str; 9] = ["aio", "key", "keyring", "fanotify", "net", "ipc", "uts", "user", "mnt"];
    let script = format!("for kind in {}; do /bin/counts $kind 5; done", KINDS.join(" "));
    let said = house.ok_elsewhere(["run", "--rm", "web", "/bin/sh", "-c", &script]);
    for kind in KINDS {
        let (count, reason) = told(&said, &format!("{kind} "));
        let expected = if kind == "aio" { "ENOSYS" } else { "EPERM" };
        assert!(count == 0 && reason == expected, "{kind}: {count} {reason}");
    }
    // That one is never tried on the host.
    let mounts =
        house.ok_elsewhere(["run", "-d", "--name", "mounts", "web", "/bin/counts", "mount", "5", "hold"]);
    until_within(60, "it has tried", || !house.ok_elsewhere(["logs", "mounts"]).is_empty());
    assert_eq!(told(&house.ok_elsewhere(["logs", "mounts"]), "mount").0, 0, "{mounts}");
    // Whoever has to have it is given it by name.
    let aio = ["run", "--rm", "--cap-add", "SYS_RESOURCE", "web", "/bin/counts", "aio", "5"];
    assert_eq!(told(&house.ok_elsewhere(aio), "aio"), (5, "enough".to_owned()));
}

#[test]
fn open_files_are_processes_times_files() {
    let Some(house) = house() else { return };
    let options = ["--ulimit", "nofile=1024:1024", "--pids-limit", "20"];
    let (count, reason) = taken(&house, &options, "file").expect("memory is not what ends it");
    assert!(count <= 20 * 1024 && reason == "EAGAIN", "{count} {reason}");
}
