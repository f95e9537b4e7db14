//! What is killed leaves the host as it was.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::house::{House, SMALL, json};

/// What a killed audit could leave: its processes, groups, mounts.
fn traces(token: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(token) {
            found.push(words);
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    found.extend(mounts.lines().filter(|line| line.contains(token)).map(str::to_owned));
    found
}

/// Starts an audit, kills it after so many milliseconds, and waits until nothing of it is left but files.
#[track_caller]
fn killed(house: &House, wait: u64, args: &[&str]) {
    killed_when(house, args, wait, || true);
}

/// The same, as soon as `is_time`, and so many milliseconds more.
#[track_caller]
fn killed_when(house: &House, args: &[&str], wait: u64, is_time: impl Fn() -> bool) {
    let mut audit = house.audit(args);
    let mut child = audit.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("audit");
    let token = format!("tsubo-audit-{}-", child.id());
    while !is_time() {
        assert!(matches!(child.try_wait(), Ok(None)), "it is over before it was time");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(wait));
    child.kill().expect("kill");
    child.wait().expect("wait");
    let end = Instant::now() + Duration::from_secs(60);
    while (house.containers(), traces(&token).len()) != (0, 0) {
        assert!(Instant::now() < end, "after {wait} ms: {:#?}", traces(&token));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn killed_at_any_moment_it_leaves_the_host_as_it_was() {
    let Some(house) = House::new() else { return };
    for wait in [30, 200, 450, 700, 1000, 1600, 2200] {
        let mut args = vec!["--only", "tasks,memory,open-files,message-queues,kernel"];
        args.extend(SMALL);
        killed(&house, wait, &args);
    }
    // What is left of those is a directory and an image: `tsubo gc` takes them along, or the next audit.
    assert!(house.root().join("audit").exists());
    let said = house.tsubo(&["gc"]);
    assert!(said.contains("what an audit has left") && !house.root().join("audit").exists(), "{said}");
    house.only_red("mount", &SMALL, &[]);
    assert!(!house.root().join("audit").exists());
    assert_eq!(house.images(), []);
}

#[test]
fn killed_while_a_package_is_audited_it_leaves_its_name_as_it_was() {
    let Some(house) = House::new() else { return };
    let (one, other) = (house.package("one.tsubo", "web", false), house.package("other.tsubo", "web", true));
    house.tsubo(&["install", &one.to_string_lossy()]);
    let before = house.images();
    let other = other.to_string_lossy().into_owned();
    let mut args = vec!["--only", "tasks,memory", &other];
    args.extend(SMALL);
    let of = |name: &str| house.images().into_iter().filter(|image| image.0 == name).collect::<Vec<_>>();
    for wait in [60, 120, 250, 400, 800] {
        killed(&house, wait, &args);
        assert_eq!(of("web"), before, "after {wait} ms");
    }
    // What those have left goes with the next audit, and then its own is there.
    house.verdicts("mount", &SMALL);
    killed_when(&house, &args, 500, || !of("tsubo-audit-package").is_empty());
    assert_eq!((of("web"), of("tsubo-audit-package").len()), (before.clone(), 1));
    house.tsubo(&["gc"]);
    assert_eq!(house.images(), before);
    // As well when it is not killed, and if it is installed already.
    for package in [&other, &*one.to_string_lossy()] {
        let (verdicts, _) = house.verdicts("mount", &[&[package], &SMALL[..]].concat());
        assert_eq!(verdicts["mount"], "held");
        assert_eq!(house.images(), before);
    }
}

/// System V objects of ours on this host.
fn objects() -> usize {
    let ours = |kind| {
        let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let key = |line: &str| line.split_whitespace().next()?.parse::<i32>().ok();
        table.lines().filter_map(key).filter(|key| key >> 16 == 0x7473).count()
    };
    ["msg", "sem", "shm"].map(ours).iter().sum()
}

#[test]
fn killed_in_the_namespace_of_the_host_its_objects_go_with_the_next_audit() {
    let Some(house) = House::new() else { return };
    let flags = [&SMALL[..], &["--ipc", "host"]].concat();
    for wait in [500, 900, 1300] {
        killed(&house, wait, &[&["--only", "message-queues,semaphores,shared-memory"], &flags[..]].concat());
    }
    house.verdicts("mount", &SMALL);
    assert_eq!(objects(), 0);
    let (verdicts, _) = house.verdicts("message-queues,semaphores", &flags);
    assert!(verdicts.values().all(|verdict| verdict != "unknown"), "{verdicts:?}");
    assert_eq!(objects(), 0);
}

/// Attacking children of the audit of this process: those whose parent is the attacker, too.
fn attackers(auditor: u32) -> Vec<i32> {
    let token = format!("tsubo-audit-{auditor}-");
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_attacker = |pid: i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let words: Vec<&str> = words.split('\0').collect();
        matches!(words[..], [program, "--token", name, ..]
            if program.ends_with("tsubo-attack") && name.starts_with(&token))
    };
    let parent = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        status.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    pids.filter(|pid| is_attacker(*pid) && parent(*pid).is_some_and(is_attacker)).collect()
}

#[test]
fn whom_somebody_else_kills_no_limit_has_held() {
    let Some(house) = House::new() else { return };
    // Not the quick ones: they may be over before they are found.
    let mut args = vec!["--only", "spin", "--format", "json"];
    args.extend(SMALL);
    let mut audit = house.audit(&args);
    let mut child = audit.stdout(Stdio::piped()).spawn().expect("audit");
    while child.try_wait().expect("wait").is_none() {
        for pid in attackers(child.id()) {
            // It may have ended by itself.
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("output");
    let row = &json(&output)["attacks"][0];
    assert_eq!((row["verdict"].as_str(), output.status.code()), (Some("unknown"), Some(1)), "{row}");
    assert!(row["reason"].as_str().is_some_and(|why| why.contains("somebody else")), "{row}");
}
