//! Of containers from which one limit is taken that line turns red, and no other of its resource.

use std::path::Path;

use crate::house::{House, SMALL, without};

const MEMORY: &str = "pages,tmpfs,memfd,shared-memory,pipes,unix-sockets,tcp-buffers,dentries";
const TASKS: &str = "tasks,pages";

#[test]
fn with_all_limits_all_is_held() {
    let Some(house) = House::new() else { return };
    house.only_red(
        &format!("{MEMORY},{TASKS},storage,handles,network,kernel,information,escape"),
        &SMALL,
        &[],
    );
}

#[test]
fn without_a_limit_of_memory_only_that_is_red() {
    let Some(house) = House::new() else { return };
    house.only_red(MEMORY, &without("-m", "", &["-m", "max"]), &["pages"]);
}

#[test]
fn without_a_limit_of_tcp_only_that_is_red() {
    let Some(house) = House::new() else { return };
    // Version 2 counts it to the memory.
    if !Path::new("/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes").exists() {
        eprintln!("SKIPPED: needs the memory controller of version 1");
        return;
    }
    house.only_red(MEMORY, &without("--limit", "tcp", &["--limit", "tcp_memory=max"]), &["tcp-buffers"]);
}

#[test]
fn without_a_limit_of_processes_only_they_are_red() {
    let Some(house) = House::new() else { return };
    let red = ["processes", "sessions", "threads", "zombies"];
    // What they take together is bounded by memory, which is another line.
    let flags = without("--pids-limit", "", &["--pids-limit", "max"]);
    let flags: Vec<&str> = flags.iter().map(|flag| if *flag == "96m" { "800m" } else { *flag }).collect();
    house.only_red("processes,sessions,threads,zombies,deaf,memfd", &flags, &red);
}

#[test]
fn without_a_fair_share_of_processors_only_that_is_red() {
    let Some(house) = House::new() else { return };
    house.only_red("spin,pages", &SMALL, &[]);
    house.only_red("spin,pages", &without("", "", &["--cpu-weight", "10000"]), &["spin"]);
    // A quota helps, too.
    house.only_red("spin,pages", &without("", "", &["--cpu-weight", "10000", "--cpus", "0.3"]), &[]);
}

#[test]
fn a_directory_of_the_host_is_without_a_limit_and_nothing_stays_in_it() {
    let Some(house) = House::new() else { return };
    let place = house.dir.path().join("place");
    std::fs::create_dir(&place).expect("mkdir");
    let volume = format!("{}:/srv", place.display());
    let flags: Vec<&str> = SMALL.iter().copied().chain(["-v", volume.as_str()]).collect();
    house.only_red("storage,page-cache", &flags, &["disk-bytes", "disk-files"]);
    assert_eq!(std::fs::read_dir(&place).expect("place").count(), 0);
}

#[test]
fn questions_are_answered_by_what_was_taken_away() {
    let Some(house) = House::new() else { return };
    let questions = "kernel,network,information,escape";
    let host = without("--network", "", &["--network", "host"]);
    house.only_red(questions, &host, &["abstract-sockets", "connections", "loopback", "ports"]);
    let privileged = without("", "", &["--isolation", "no_new_privileges=false"]);
    house.only_red(questions, &privileged, &["new-privileges"]);
    let seen = without("", "", &["--pid", "host"]);
    house.only_red("information", &seen, &["host-processes"]);
    let (verdicts, code) = house.verdicts(questions, &without("", "", &["--seccomp", "none"]));
    assert_eq!(
        (code, verdicts["user-namespace"].as_str(), verdicts["filter"].as_str()),
        (1, "not-limited", "not-limited")
    );
    assert_eq!((verdicts["core-pattern"].as_str(), verdicts["kcore"].as_str()), ("held", "held"));
    let (verdicts, _) = house.verdicts("escape,inotify", &without("", "", &["--userns", "host"]));
    assert_eq!(
        (verdicts["root-is-root"].as_str(), verdicts["inotify"].as_str()),
        ("not-limited", "host-at-risk")
    );
}
