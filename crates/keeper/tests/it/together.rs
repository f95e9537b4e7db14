//! Many commands at once, clients that do not behave, records that cannot be read.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lifecycle::{Container, Status};
use spec::protocol::{Request, VERSION, encode};

use crate::harness::{World, launch, until};

#[test]
fn whoever_looks_harms_nobody_who_starts() {
    let world = World::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for container in world.containers.list().expect("list") {
                        container.status().expect("status");
                    }
                }
            });
        }
        let starts: Vec<_> = (0..2)
            .map(|half| {
                let world = &world;
                threads.spawn(move || {
                    (0..30).try_for_each(|number| {
                        let made = world.shell(&format!("c{half}-{number}"), false, "sleep 1000")?;
                        made.start(launch(false, false)).map(drop)
                    })
                })
            })
            .collect();
        let started: Vec<_> = starts.into_iter().map(|thread| thread.join().expect("thread")).collect();
        over.store(true, Ordering::Relaxed);
        started.into_iter().for_each(|started| started.expect("all start"));
    });
    let all = world.containers.list().expect("list");
    assert_eq!(all.len(), 60);
    for container in all {
        let status = container.status().expect("status");
        assert!(status.is_running(), "{}: {status:?}", container.name());
        container.remove(true).expect("remove");
    }
    world.assert_empty();
}

#[test]
fn one_that_is_being_made_hides_no_other() {
    let world = World::new();
    world.detached("web", "sleep 1000");
    let half = world.shell("half", false, "true").expect("create");
    // As it is before the record is written.
    fs::remove_file(half.dir().join("container.json")).expect("record");
    let names = || world.containers.list().expect("list").iter().map(|one| one.name().to_string()).collect();
    let seen: Vec<String> = names();
    assert_eq!(seen, ["web"]);
    assert!(half.dir().is_dir());
    drop(half);
    let seen: Vec<String> = names();
    assert_eq!(seen, ["web"]);
    assert_eq!(world.containers.names().expect("names").len(), 1);
}

#[test]
fn one_that_is_damaged_hides_no_other_and_can_be_removed() {
    let world = World::new();
    world.detached("web", "sleep 1000");
    let bad = world.detached("bad", "sleep 1000");
    let Status::Running(state) = bad.status().expect("status") else { panic!("it runs") };
    fs::write(bad.dir().join("container.json"), "{").expect("damage");
    let (sound, damaged) = world.containers.look().expect("look");
    assert_eq!(sound.iter().map(|one| one.name().as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(damaged.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["bad"]);
    assert!(world.shell("other", true, "true").is_ok());
    let error = world.containers.remove("bad", false).expect_err("not without force");
    assert!(error.hints().iter().any(|hint| hint.contains("rm -f bad")), "{error:?}");
    world.containers.remove("bad", true).expect("remove");
    assert!(state.first.open().is_none() && state.keeper.open().is_none());
    assert!(cgroup::Group::ids().expect("groups").iter().all(|id| *id != bad.id()));
    world.containers.remove("web", true).expect("remove");
    assert!(world.containers.list().expect("list").is_empty());
    world.assert_empty();
}

fn client(world: &World, container: &Container) -> UnixStream {
    let run = world.state().join("run/containers").join(container.id().to_string());
    let mut stream = UnixStream::connect(run.join("control")).expect("connect");
    stream.write_all(&encode(&Request::Hello { version: VERSION }).expect("frame")).expect("hello");
    stream
}

#[test]
fn input_that_nobody_reads_waits_in_the_client() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let mut stream = client(&world, &container);
    let mut process = container.record().spec.process.clone();
    process.argv = ["sleep", "1234"].map(String::from).to_vec();
    stream.write_all(&encode(&Request::Exec { process, input: true }).expect("frame")).expect("exec");
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("timeout");
    let chunk = encode(&Request::Input { bytes: vec![0; 32 << 10] }).expect("frame");
    let mut taken = 0;
    let end = loop {
        match stream.write_all(&chunk) {
            Ok(()) if taken < 64 << 20 => taken += chunk.len(),
            end => break end,
        }
    };
    assert!(matches!(end, Err(error) if error.kind() == ErrorKind::WouldBlock), "took {taken} bytes");
    assert!(taken < 4 << 20, "{taken}");
    // Not read from, it is still seen to go, and what it executed goes with it.
    let runs = || {
        let group = cgroup::Group::of(container.id()).expect("group");
        let told = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        group.processes().into_iter().any(|pid| told(pid).contains("1234"))
    };
    assert!(runs());
    drop(stream);
    until("the end of what it executed", || !runs());
}

#[test]
fn clients_that_do_not_read_hold_no_end_up() {
    let world = World::new();
    let script = "while test ! -e /tmp/go; do sleep 0.05; done; head -c 4000000 /dev/zero";
    let container = world.detached("web", script);
    let Status::Running(state) = container.status().expect("status") else { panic!("it runs") };
    let mut deaf: Vec<_> = (0..3).map(|_| client(&world, &container)).collect();
    for stream in &mut deaf {
        stream.write_all(&encode(&Request::Attach).expect("frame")).expect("attach");
    }
    let go = format!("/proc/{}/root/tmp/go", state.first.pid);
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    fs::write(go, "").expect("go");
    until("the end", || !container.status().expect("status").is_running());
    let known = began.elapsed();
    until("the keeper's end", || state.keeper.open().is_none());
    let gone = began.elapsed();
    assert!(known < Duration::from_secs(2) && gone < Duration::from_secs(5), "{known:?} {gone:?}");
}

#[test]
fn no_container_is_made_while_an_image_is_removed() {
    let world = World::new();
    let held = world.containers.hold_images().expect("hold");
    std::thread::scope(|threads| {
        let making = threads.spawn(|| world.shell("late", true, "true").map(drop));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!making.is_finished());
        assert!(world.containers.names().expect("names").is_empty());
        fs::remove_dir_all(world.tree()).expect("as an image is removed");
        drop(held);
        let error = making.join().expect("thread").expect_err("its image is gone");
        assert_eq!(error.kind(), spec::ErrorKind::NotFound);
    });
    world.assert_empty();
}
