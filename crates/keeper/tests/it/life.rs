//! Run, stop, remove; many at once; how long it takes.

use std::time::{Duration, Instant};

use lifecycle::Status;
use spec::ErrorKind;

use crate::harness::{World, launch, log_of, relay, until};

#[test]
fn a_run_to_the_end_leaves_nothing() {
    let world = World::new();
    assert_eq!(world.run("one", "echo hello; echo oops >&2; exit 3"), ("hello\noops".into(), 3));
    world.assert_empty();
}

#[test]
fn a_detached_container_is_found_stopped_and_removed() {
    let world = World::new();
    let container =
        world.detached("web", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done");
    assert!(container.status().expect("status").is_running());
    until("the first line", || log_of(&container) == "up\n");
    let by_id = world.containers.find(&container.id().to_string()[..6]).expect("by id");
    assert_eq!(by_id.name(), container.name());
    assert_eq!(container.remove(false).expect_err("running").kind(), ErrorKind::Conflict);
    container.stop(Duration::from_secs(10)).expect("stop");
    match container.status().expect("status") {
        Status::Exited(ended) => assert_eq!(ended.code, 5),
        other => panic!("{other:?}"),
    }
    assert_eq!(log_of(&container), "up\nbye\n");
    assert_eq!(container.stop(Duration::ZERO).expect_err("stopped").kind(), ErrorKind::Conflict);
    container.remove(false).expect("remove");
    world.assert_empty();
    assert_eq!(world.containers.find("web").expect_err("gone").kind(), ErrorKind::NotFound);
}

#[test]
fn one_that_does_not_listen_is_killed_without_waiting() {
    let world = World::new();
    let container = world.detached("deaf", "sleep 1000");
    let begin = Instant::now();
    container.stop(Duration::from_secs(30)).expect("stop");
    assert!(begin.elapsed() < Duration::from_secs(25));
    assert!(matches!(container.status().expect("status"), Status::Exited(ended) if ended.code == 137));
}

#[test]
fn fault_f12_one_that_ignores_the_signal_is_killed_in_time() {
    let world = World::new();
    let container = world.detached("stubborn", "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done");
    until("the trap", || log_of(&container).contains("up"));
    let begin = Instant::now();
    container.stop(Duration::from_millis(300)).expect("stop");
    assert!((Duration::from_millis(300)..Duration::from_secs(20)).contains(&begin.elapsed()));
}

#[test]
fn signals_and_waiting() {
    let world = World::new();
    let container = world.detached("sig", "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done");
    until("the trap", || log_of(&container).contains("up"));
    let waiting = world.containers.find("sig").expect("find");
    let waiter = std::thread::spawn(move || waiting.wait());
    std::thread::sleep(Duration::from_millis(50));
    container.kill(10).expect("signal");
    assert_eq!(waiter.join().expect("thread").expect("wait"), 9);
    assert_eq!(container.wait().expect("afterwards"), 9);
}

#[test]
fn a_name_is_used_once() {
    let world = World::new();
    world.detached("web", "sleep 100");
    let error = world.shell("web", false, "true").expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hints()[0].contains("tsubo rm web"), "{error:?}");
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    let world = World::new();
    for (command, kind) in [("/bin/nonsense", ErrorKind::CommandNotFound), ("/etc", ErrorKind::NotExecutable)]
    {
        let made = world.create("bad", false, |options| options.args = vec![command.into()]).expect("create");
        let error = made.start(launch(false, false)).expect_err(command);
        assert_eq!(error.kind(), kind, "{error:?}");
        world.assert_empty();
    }
    let made = world.create("bad", false, |options| {
        options.args = vec!["/bin/true".into()];
        options.binds = vec![lifecycle::Bind {
            source: "/etc".into(),
            at: "/none/here".parse().expect("path"),
            read_only: true,
            idmapped: true,
        }];
    });
    let error = made.expect("create").start(launch(false, false)).expect_err("no mount point");
    assert!(error.chain().contains("/none/here"), "{error:?}");
    world.assert_empty();
}

#[test]
fn input_reaches_it_and_its_end_too() {
    let world = World::new();
    let made = world.shell("in", true, "cat; echo end").expect("create");
    // Our own standard input is whatever the test runner has; an end of it must arrive.
    let session = made.start(launch(true, false)).expect("start");
    assert_eq!(relay(session), ("end".into(), 0));
}

#[test]
fn a_terminal_of_its_own() {
    let world = World::new();
    let made = world.create("tty", true, |options| {
        options.terminal = true;
        options.args = [
            "/bin/sh",
            "-c",
            "tty; stty size >/dev/null && ls -l /dev/console | head -c 1; test -t 0 && echo on; echo $TERM",
        ]
        .map(String::from)
        .to_vec();
    });
    let (said, code) = relay(made.expect("create").start(launch(true, false)).expect("start"));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("/dev/pts/0") && said.contains("con\r\nxterm"), "{said:?}");
}

#[test]
fn volumes_are_seeded_once_and_kept() {
    let mut world = World::new();
    std::fs::write(world.tree().join("data/seed"), "from the image\n").expect("seed");
    world.portable.volumes.insert("/data".parse().expect("path"));
    let container = world.detached("vol", "cat /data/seed; echo mine > /data/mine; sleep 100");
    until("output", || log_of(&container).contains("from the image"));
    let kept = world.containers.volumes(container.name()).join("data/mine");
    until("the write", || std::fs::read_to_string(&kept).is_ok_and(|text| text == "mine\n"));
    assert!(!world.tree().join("data/mine").exists());
    assert!(world.containers.remove_volumes(container.name()).is_err(), "they are in use");
    container.remove(true).expect("remove");
    let next = world.detached("vol", "cat /data/mine; sleep 100");
    until("what the last one left", || log_of(&next).contains("mine"));
    next.remove(true).expect("remove");
    assert!(world.containers.remove_volumes(next.name()).expect("volumes"));
    assert!(!kept.exists());
    world.assert_empty();
}

#[test]
fn a_hundred_at_once() {
    let world = World::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..25 {
                    world.detached(&format!("c{thread}-{number}"), "echo ready; sleep 1000");
                }
            });
        }
    });
    let all = world.containers.list().expect("list");
    assert_eq!(all.len(), 100);
    for container in &all {
        until("readiness", || log_of(container) == "ready\n");
        assert!(container.status().expect("status").is_running());
    }
    std::thread::scope(|scope| {
        for chunk in all.chunks(25) {
            scope.spawn(move || chunk.iter().for_each(|container| container.remove(true).expect("remove")));
        }
    });
    world.assert_empty();
}

#[test]
fn how_long_a_run_takes() {
    let world = World::new();
    let (mut created, mut started, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..40 {
        let begin = Instant::now();
        let made = world.create("quick", true, |_| {}).expect("create");
        created.push(begin.elapsed());
        let session = made.start(launch(true, false)).expect("start");
        started.push(begin.elapsed());
        assert_eq!(relay(session).1, 0);
        ended.push(begin.elapsed());
    }
    let plain: Vec<Duration> = (0..40)
        .map(|_| {
            let begin = Instant::now();
            std::process::Command::new("/bin/busybox").arg("true").status().expect("busybox");
            begin.elapsed()
        })
        .collect();
    for (what, times) in [("created", created), ("started", started), ("removed", ended), ("alone", plain)] {
        let mut times = times;
        times.sort();
        println!("{what}: median {:?}, least {:?}", times[20], times[0]);
    }
    world.assert_empty();
}
