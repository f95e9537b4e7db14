//! Killed keepers, killed callers, two commands at once, another boot.

use std::fs;
use std::time::Duration;

use lifecycle::{Container, Running, Status};
use spec::ErrorKind;

use crate::harness::{World, launch, until};

fn state(container: &Container) -> Running {
    match container.status().expect("status") {
        Status::Running(state) => state,
        other => panic!("{other:?}"),
    }
}

fn kill(pid: i32) {
    sys::process::kill(pid, 9).expect("kill");
}

#[test]
fn fault_f3_a_killed_keeper_takes_its_container_along() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000 & sleep 1000");
    let state = state(&container);
    kill(state.keeper.pid);
    until("the end of the first process", || state.first.open().is_none());
    let again = world.containers.find("web").expect("find");
    match again.status().expect("status") {
        Status::Exited(ended) => {
            assert_eq!(ended.code, 137);
            assert!(ended.note.expect("a note").contains("keeper was lost"));
        }
        other => panic!("{other:?}"),
    }
    assert!(cgroup::Group::ids().expect("groups").iter().all(|id| *id != container.id()));
    again.remove(false).expect("remove");
    world.assert_empty();
}

#[test]
fn fault_f3_a_killed_keeper_of_one_that_is_to_be_removed() {
    let world = World::new();
    let made = world.shell("web", true, "sleep 1000").expect("create");
    let session = made.start(launch(false, false)).expect("start");
    let container = world.containers.find("web").expect("find");
    kill(state(&container).keeper.pid);
    drop(session);
    until("the mending", || world.containers.list().expect("list").is_empty());
    world.assert_empty();
}

#[test]
fn a_caller_that_stayed_and_went_away_takes_it_along() {
    let world = World::new();
    let made = world.shell("web", true, "sleep 1000").expect("create");
    let session = made.start(launch(true, false)).expect("start");
    let pid = session.pid();
    drop(session);
    // It does not listen to SIGTERM, so its keeper kills it in ten seconds; do not wait for that.
    std::thread::sleep(Duration::from_millis(50));
    if let Ok(container) = world.containers.find("web") {
        // It may have ended meanwhile.
        let _ = container.kill(9);
    }
    until("its end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    until("the cleaning", || world.containers.list().expect("list").is_empty());
    world.assert_empty();
}

#[test]
fn a_half_made_directory_goes() {
    let world = World::new();
    world.run("one", "true");
    fs::create_dir(world.state().join("containers/half")).expect("dir");
    fs::write(world.state().join("containers/half/container.new"), "{").expect("file");
    drop(world.shell("never", false, "true").expect("created, not started"));
    assert!(world.containers.list().expect("list").is_empty());
    world.assert_empty();
}

#[test]
fn two_commands_on_one_container() {
    let world = World::new();
    let container = world.shell("web", false, "sleep 1000").expect("create");
    // It is created and its command holds the lock: another one has to wait, and gives up.
    let other = world.containers.find("web").expect("find");
    let error = other.remove(true).expect_err("busy");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.chain().contains(&std::process::id().to_string()), "{error:?}");
    container.start(launch(false, false)).expect("start");
    other.remove(true).expect("now");
    world.assert_empty();
}

#[test]
fn fault_f11_state_of_another_boot_is_not_believed() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let path = world.state().join("run/containers").join(container.id().to_string()).join("state.json");
    let real = state(&container);
    let text = fs::read_to_string(&path).expect("state");
    fs::write(&path, text.replace(&real.boot, "11111111-2222-3333-4444-555555555555")).expect("state");
    match container.status().expect("status") {
        Status::Exited(ended) => assert!(ended.note.expect("a note").contains("restarted")),
        other => panic!("{other:?}"),
    }
    assert!(real.first.open().is_some(), "a number of another boot must not be killed");
    kill(real.keeper.pid);
    until("the end", || real.first.open().is_none());
    until("empty groups", || cgroup::Group::of(container.id()).expect("group").processes().is_empty());
}

#[test]
fn fault_f9_a_foreign_process_with_the_same_number_is_safe() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    // Start times count in hundredths of a second; a number does not come back so soon.
    std::thread::sleep(Duration::from_millis(30));
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
    let path = world.state().join("run/containers").join(container.id().to_string()).join("state.json");
    let real = state(&container);
    let text = fs::read_to_string(&path).expect("state");
    let forged =
        text.replace(&format!("\"pid\": {}", real.first.pid), &format!("\"pid\": {}", bystander.id()));
    fs::write(&path, forged).expect("state");
    let error = container.kill(9).expect_err("not its process");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(bystander.try_wait().expect("wait"), None);
    bystander.kill().expect("kill");
    bystander.wait().expect("wait");
    fs::write(&path, text).expect("state");
}

#[test]
fn garbage_on_the_socket_harms_nobody() {
    use std::io::{Read, Write};
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let socket = world.state().join("run/containers").join(container.id().to_string()).join("control");
    for garbage in [&[0xff; 64][..], b"\0\0\0\0", b"\x02\0\0\0\x01\x01"] {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connect");
        stream.write_all(garbage).expect("write");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
        let _ = stream.read(&mut [0; 256]);
    }
    assert!(container.status().expect("status").is_running());
    container
        .exec(lifecycle::Exec { argv: vec!["true".into()], ..lifecycle::Exec::default() })
        .expect("exec");
}

#[test]
fn fault_f11_one_that_ran_when_the_machine_went_down_keeps_its_volumes() {
    let mut world = World::new();
    world.portable.volumes.insert("/data".parse().expect("path"));
    let container = world.detached("db", "echo x > /data/x; sleep 1000");
    let kept = world.containers.volumes(container.name()).join("data/x");
    until("the write", || kept.exists());
    let real = state(&container);
    kill(real.keeper.pid);
    until("the end", || real.first.open().is_none());
    cgroup::Group::of(container.id()).and_then(|group| group.remove()).expect("groups");
    // A run directory does not survive a reboot.
    fs::remove_dir_all(world.state().join("run")).expect("run directory");
    let again = world.containers.find("db").expect("still there");
    assert!(matches!(again.status().expect("status"), Status::Exited(ended) if ended.code == 137));
    assert!(kept.exists());
}
