//! What a start takes is made beforehand, and taken back where nothing comes of it.

use std::process::Command;
use std::time::Duration;

use lifecycle::{Container, Prepared, Status, Update};
use spec::ErrorKind;
use spec::resources::{Limit, Memory, Resources};

use crate::harness::{World, launch, log_of, until};

fn made(world: &World, name: &str, network: &str) -> Container {
    let made = world.create(name, false, |options| {
        options.network.networks = vec![network.to_owned()];
        options.args = ["/bin/sh", "-c", "echo up; sleep 1000"].map(String::from).to_vec();
        options.life.standing = true;
    });
    drop(made.expect("create"));
    world.containers.find(name).expect("find")
}

fn prepared(container: &Container) -> Prepared {
    container.prepare(&launch(false, false)).expect("prepare")
}

fn start(container: &Container, prepared: Prepared) {
    let session = container.start_prepared(prepared, launch(false, false)).expect("start");
    drop(session);
}

fn has_groups(container: &Container) -> bool {
    cgroup::Group::ids().expect("ids").contains(&container.id())
}

#[test]
fn it_starts_again_and_again_with_what_was_prepared() {
    let world = World::new();
    let groups = cgroup::Group::available().is_ok();
    for network in ["none", "host"] {
        let container = made(&world, network, network);
        for round in 1..=3 {
            let before = container.status().expect("status");
            let prepared = prepared(&container);
            assert_eq!(container.status().expect("status"), before, "it is what it was");
            assert_eq!(has_groups(&container), groups);
            assert_eq!(cgroup::Group::of(container.id()).expect("group").is_held(), groups);
            start(&container, prepared);
            until("its word", || log_of(&container) == "up\n".repeat(round));
            let handle = container.handle().expect("handle");
            assert_eq!(handle.network.is_some(), network == "none");
            let Status::Running(state) = container.status().expect("status") else { panic!("it runs") };
            assert!(!groups || state.group.expect("a group").processes().contains(&state.first.pid));
            let error = container.prepare(&launch(false, false)).expect_err("it runs");
            assert_eq!(error.kind(), ErrorKind::Conflict);
            container.stop(Duration::ZERO).expect("stop");
            assert!(!has_groups(&container));
        }
        container.remove(true).expect("remove");
    }
    world.assert_empty();
}

#[test]
fn what_was_prepared_in_vain_is_taken_back() {
    let world = World::new();
    let container = made(&world, "web", "none");
    drop(prepared(&container));
    assert!(!has_groups(&container), "its keeper has ended");
    assert_eq!(container.status().expect("status"), Status::Created);
    // Removed meanwhile.
    let left = prepared(&container);
    container.remove(false).expect("remove");
    assert!(!has_groups(&container));
    let error = container.start_prepared(left, launch(false, false)).expect_err("removed");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    world.assert_empty();
}

#[test]
fn who_is_not_there_any_more_or_comes_too_late_is_in_nobodys_way() {
    let world = World::new();
    let container = made(&world, "web", "none");
    let killed = prepared(&container);
    kill_keeper(&container);
    start(&container, killed);
    assert!(container.status().expect("status").is_running(), "with another keeper");
    container.stop(Duration::ZERO).expect("stop");

    // Somebody else starts it.
    let (late, unused) = (prepared(&container), container.start_again(launch(false, false)));
    unused.expect("start");
    let error = container.start_prepared(late, launch(false, false)).expect_err("it runs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let handle = container.handle().expect("it still runs");
    drop(handle);
    assert!(has_groups(&container) || cgroup::Group::available().is_err(), "they are the other's");
    container.stop(Duration::ZERO).expect("stop");

    // And it has ended before the one who is late comes.
    let late = prepared(&container);
    container.start_again(launch(false, false)).expect("start");
    container.stop(Duration::ZERO).expect("stop");
    start(&container, late);
    assert!(container.status().expect("status").is_running());
    container.remove(true).expect("remove");
    world.assert_empty();
}

/// The keeper that has its id among its words, by its number.
fn kill_keeper(container: &Container) {
    let id = container.id().to_string();
    let pids = std::fs::read_dir("/proc").expect("proc").flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with("tsubo-keeper") && words.split('\0').any(|word| word == id)
    };
    let keeper = pids.find(is_it).expect("a keeper");
    sys::process::kill(keeper, 9).expect("kill");
    let state = || std::fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap_or_default();
    until("its end", || state().is_empty() || state().contains(") Z "));
}

#[test]
fn limits_that_were_changed_meanwhile_count() {
    if cgroup::Group::available().is_err() {
        println!("SKIPPED: no control groups can be made here");
        return;
    }
    let world = World::new();
    let container = made(&world, "web", "none");
    let early = prepared(&container);
    let bytes = 64 << 20;
    let memory = Memory { max: Some(Limit::At(bytes)), ..Memory::default() };
    let resources = Resources { memory, ..Resources::default() };
    container.update(|_| {}, &Update { resources, ..Update::default() }).expect("update");
    start(&world.containers.find("web").expect("find"), early);
    let Status::Running(state) = container.status().expect("status") else { panic!("it runs") };
    let group = state.group.expect("a group");
    let file = group.file("memory.max").or_else(|| group.file("memory.limit_in_bytes")).expect("a limit");
    assert_eq!(std::fs::read_to_string(file).expect("limit").trim(), bytes.to_string());
}

#[test]
fn nothing_stays_of_an_owner_that_is_killed() {
    let (inner, place) =
        (std::env::current_exe().expect("this program"), tempfile::tempdir().expect("place"));
    let output = Command::new(inner)
        .env("TMPDIR", place.path())
        .args(["--ignored", "--exact", "--nocapture", "prepared::an_owner_that_is_killed"])
        .output()
        .expect("a run of this program");
    let said = String::from_utf8_lossy(&output.stdout);
    let id = said.lines().find_map(|line| line.strip_prefix("PREPARED ")).expect("an id");
    let id: spec::Id = id.parse().expect("id");
    until("the end of its groups", || !cgroup::Group::ids().expect("ids").contains(&id));
}

#[test]
#[ignore = "run by the one above"]
fn an_owner_that_is_killed() {
    let world = World::new();
    let container = made(&world, "web", "none");
    let prepared = prepared(&container);
    println!("\nPREPARED {}", container.id());
    sys::process::kill(std::process::id() as i32, 9).expect("kill");
    drop(prepared);
}
