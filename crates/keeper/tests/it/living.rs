//! Containers that live on: created, started again, held, renamed, changed; and who is told.

use std::fs;
use std::time::Duration;

use lifecycle::events::What;
use lifecycle::{Container, Exec, Running, Status, Update};
use spec::ErrorKind;
use spec::life::{Health, Restart, Wellness};

use crate::harness::{World, launch, log_of, relay, until};

fn state(container: &Container) -> Running {
    match container.status().expect("status") {
        Status::Running(state) => state,
        other => panic!("{other:?}"),
    }
}

fn ended(container: &Container) -> lifecycle::Ended {
    match container.status().expect("status") {
        Status::Exited(ended) => ended,
        other => panic!("{other:?}"),
    }
}

/// Made, but not started.
fn made(world: &World, name: &str, script: &str, change: impl FnOnce(&mut spec::life::Life)) -> Container {
    let made = world.create(name, false, |options| {
        options.args = ["/bin/sh", "-c", script].map(String::from).to_vec();
        options.life.standing = true;
        change(&mut options.life);
    });
    drop(made.expect("create"));
    world.containers.find(name).expect("it stays though nobody has started it")
}

fn started(world: &World, name: &str, script: &str, change: impl FnOnce(&mut spec::life::Life)) -> Container {
    let container = made(world, name, script, change);
    container.start_again(launch(false, false)).expect("start");
    container
}

fn told(world: &World) -> Vec<What> {
    let mut events = world.containers.events();
    std::iter::from_fn(|| events.next_event().expect("readable")).map(|event| event.what).collect()
}

fn exec(argv: &[&str]) -> Exec {
    Exec { argv: argv.iter().map(ToString::to_string).collect(), ..Exec::default() }
}

#[test]
fn one_that_was_created_is_started_later_and_again_and_its_log_goes_on() {
    let world = World::new();
    let container = made(&world, "job", "echo round; exit 3", |_| {});
    assert_eq!(container.status().expect("status"), Status::Created);
    assert_eq!(container.wait().expect_err("never started").kind(), ErrorKind::Conflict);
    for round in 1..=4 {
        let session = container.start_again(launch(true, false)).expect("start");
        assert_eq!(relay(session), ("round".into(), 3));
        assert_eq!(log_of(&container), "round\n".repeat(round));
        assert_eq!(ended(&container).code, 3);
    }
    container.remove(false).expect("remove");
    let expected = [What::Start, What::Die { code: 3 }];
    let all = told(&world);
    assert_eq!(all[0], What::Create);
    assert_eq!(all[1..9], [expected.clone(), expected.clone(), expected.clone(), expected].concat());
    assert_eq!(all[9], What::Destroy);
    world.assert_empty();
}

#[test]
fn one_that_runs_is_not_started_twice_and_one_that_cannot_start_stays() {
    let world = World::new();
    let container = started(&world, "web", "sleep 1000", |_| {});
    assert_eq!(container.start_again(launch(false, false)).expect_err("runs").kind(), ErrorKind::Conflict);
    container.restart(Duration::ZERO, launch(false, false)).expect("restart");
    assert!(container.status().expect("status").is_running());
    container.stop(Duration::ZERO).expect("stop");
    fs::remove_file(world.tree().join("bin/sh")).expect("sh");
    let error = container.start_again(launch(false, false)).expect_err("no shell");
    assert_eq!(error.kind(), ErrorKind::CommandNotFound);
    let ended = ended(&world.containers.find("web").expect("still there"));
    assert_eq!(ended.code, 127);
    assert!(ended.note.expect("a note").contains("/bin/sh"));
    container.remove(false).expect("remove");
    world.assert_empty();
}

#[test]
fn a_policy_starts_it_again_until_it_is_stopped() {
    let world = World::new();
    let container = started(&world, "web", "echo up; exit 1", |life| life.restart = Restart::Always);
    until("three lives", || log_of(&container).matches("up").count() >= 3);
    assert!(container.status().expect("status").is_running());
    let keeper = state(&container).keeper;
    container.stop(Duration::ZERO).expect("stop");
    let ended = ended(&container);
    assert!(ended.stopped && ended.restarts >= 2 && ended.code == 1, "{ended:?}");
    assert!(keeper.open().is_none());
    assert!(!Restart::UnlessStopped.after_reboot(ended.code, ended.stopped));
    let all = told(&world);
    assert!(all.contains(&What::Restart { times: Some(2) }) && all.last() == Some(&What::Stop), "{all:?}");
    // Stopped by hand it is due after a reboot: that is what always means.
    assert!(container.is_due().expect("due"));
    container.remove(false).expect("remove");
    world.assert_empty();
}

#[test]
fn a_policy_counts_failures_and_is_content_with_success() {
    let world = World::new();
    let most = Restart::OnFailure { most: Some(2) };
    let container = started(&world, "bad", "echo up; exit 7", |life| life.restart = most);
    assert_eq!(container.wait().expect("the end"), 7);
    assert_eq!(log_of(&container), "up\nup\nup\n");
    assert_eq!(ended(&container).restarts, 2);
    let container = started(&world, "good", "test -e /tmp/never; exit 0", |life| life.restart = most);
    assert_eq!(container.wait().expect("the end"), 0);
    assert_eq!(ended(&container).restarts, 0);
}

#[test]
fn killing_ends_for_good_and_other_signals_do_not() {
    let world = World::new();
    let script = "trap 'exit 4' USR1; echo up; while :; do sleep 0.05; done";
    let container = started(&world, "web", script, |life| life.restart = Restart::UnlessStopped);
    until("the trap", || log_of(&container).contains("up"));
    container.kill(10).expect("signal");
    until("another life", || log_of(&container).matches("up").count() == 2);
    container.kill(9).expect("kill");
    assert_eq!(container.wait().expect("the end"), 137);
    assert!(ended(&container).stopped && !container.is_due().expect("due"));
}

#[test]
fn fault_f11_what_ran_when_the_machine_went_down_is_due() {
    let world = World::new();
    for (name, policy, due) in [
        ("no", Restart::No, false),
        ("failing", Restart::OnFailure { most: None }, true),
        ("unless", Restart::UnlessStopped, true),
        ("always", Restart::Always, true),
    ] {
        let container = started(&world, name, "sleep 1000", |life| life.restart = policy);
        let path = world.state().join("run/containers").join(container.id().to_string()).join("state.json");
        let real = state(&container);
        sys::process::kill(real.keeper.pid, 9).expect("kill");
        until("the end", || real.first.open().is_none());
        let text = fs::read_to_string(&path).expect("state");
        fs::write(&path, text.replace(&real.boot, "11111111-2222-3333-4444-555555555555")).expect("state");
        assert_eq!(container.is_due().expect("due"), due, "{name}");
        if due {
            container.start_again(launch(false, false)).expect("start");
            assert!(container.status().expect("status").is_running());
        }
    }
}

#[test]
fn attack_22_one_that_is_paused_does_nothing_and_lets_nobody_in() {
    let world = World::new();
    if let Err(error) = cgroup::Group::available() {
        eprintln!("SKIPPED: {}", error.chain());
        return;
    }
    let container = started(&world, "web", "while :; do echo tick; sleep 0.02; done", |_| {});
    until("ticks", || log_of(&container).contains("tick"));
    container.pause().expect("pause");
    assert_eq!(container.status().expect("status").word(), "paused");
    let seen = log_of(&container);
    std::thread::sleep(Duration::from_millis(200));
    let later = log_of(&container);
    // What was in the pipe when it was held may still have come.
    assert!(later.len() <= seen.len() + 5, "{} {}", seen.len(), later.len());
    let error = container.exec(exec(&["true"])).expect_err("paused");
    assert!(error.kind() == ErrorKind::Conflict && error.hints()[0].contains("unpause"), "{error:?}");
    assert_eq!(container.pause().expect_err("twice").kind(), ErrorKind::Conflict);
    container.unpause().expect("unpause");
    until("more ticks", || log_of(&container).len() > later.len());
    assert_eq!(container.unpause().expect_err("twice").kind(), ErrorKind::Conflict);
    container.pause().expect("pause");
    container.stop(Duration::from_secs(1)).expect("a held one hears of it too");
    container.start_again(launch(false, false)).expect("start");
    container.pause().expect("pause");
    container.remove(true).expect("remove by force");
    let count = |what: &What| told(&world).iter().filter(|told| *told == what).count();
    assert_eq!((count(&What::Pause), count(&What::Unpause)), (3, 1));
    world.assert_empty();
}

#[test]
fn another_name_takes_logs_and_volumes_along() {
    let mut world = World::new();
    world.portable.volumes.insert("/data".parse().expect("path"));
    let script = "echo one; echo x > /data/x; while test ! -e /data/go; do sleep 0.02; done; echo two";
    let container = started(&world, "old", script, |_| {});
    until("the first line", || log_of(&container).contains("one"));
    let new = "new".parse().expect("name");
    started(&world, "taken", "sleep 1000", |_| {});
    assert_eq!(
        container.rename(&"taken".parse().expect("name")).expect_err("taken").kind(),
        ErrorKind::Conflict
    );
    container.rename(&new).expect("rename");
    assert_eq!(world.containers.find("old").expect_err("renamed").kind(), ErrorKind::NotFound);
    let container = world.containers.find("new").expect("found");
    assert!(container.status().expect("status").is_running());
    fs::write(world.containers.volumes(&new).join("data/go"), "").expect("its volume");
    assert_eq!(container.wait().expect("the end"), 0);
    until("the end of the keeper", || !container.status().expect("status").is_running());
    assert_eq!(log_of(&container), "one\ntwo\n");
    // And when it does not run.
    container.rename(&"newer".parse().expect("name")).expect("rename");
    let container = world.containers.find("newer").expect("found");
    assert_eq!(relay(container.start_again(launch(true, false)).expect("start")).1, 0);
    assert!(told(&world).iter().any(|what| matches!(what, What::Rename { from } if from.as_str() == "old")));
}

#[test]
fn one_that_was_renamed_comes_back_with_its_data() {
    let mut world = World::new();
    world.portable.volumes.insert("/data".parse().expect("path"));
    let script =
        "echo up; cat /data/x; echo kept > /data/x; while test ! -e /tmp/go; do sleep 0.02; done; exit 1";
    let container = started(&world, "old", script, |life| life.restart = Restart::Always);
    let (old, new) = (container.name().clone(), "new".parse().expect("name"));
    until("its data", || world.containers.volumes(&old).join("data/x").exists());
    container.rename(&new).expect("rename");
    let container = world.containers.find("new").expect("found");
    assert_eq!(relay(container.exec(exec(&["touch", "/tmp/go"])).expect("exec")).1, 0);
    until("its next life", || log_of(&container).contains("kept"));
    assert!(container.status().expect("status").is_running());
    assert!(world.containers.volumes(&new).join("data/x").exists());
    assert!(!world.containers.volumes(&old).exists(), "nothing is made at the old place");
    container.stop(Duration::ZERO).expect("stop");
}

#[test]
fn a_renaming_that_was_interrupted_is_finished() {
    let mut world = World::new();
    world.portable.volumes.insert("/data".parse().expect("path"));
    let container = made(&world, "old", "test -d /data", |_| {});
    // As a command leaves it that was killed after its first step.
    fs::rename(container.dir(), container.dir().with_file_name("new")).expect("rename");
    let container = world.containers.find("new").expect("found");
    assert_eq!(container.name().as_str(), "new");
    assert!(world.containers.volumes(container.name()).join("data").exists());
    assert_eq!(relay(container.start_again(launch(true, false)).expect("start")).1, 0);
}

fn health(script: &str) -> Health {
    let argv = ["sh", "-c", script].map(String::from).to_vec();
    Health { interval: 30, timeout: 300, retries: 2, ..Health::new(argv) }
}

#[test]
fn checks_tell_how_it_does() {
    let world = World::new();
    let check = health("echo asked; test -e /tmp/well");
    let container = started(&world, "web", "sleep 1000", |life| life.health = Some(check));
    // Its keeper writes the first word a moment after the start.
    let status = || state(&container).health.unwrap_or_default().status;
    until("unhealthy", || status() == Wellness::Unhealthy);
    let health = state(&container).health.expect("health");
    let last = health.last.expect("a check");
    assert!(health.failing >= 2 && last.code == Some(1) && last.output == "asked\n", "{last:?}");
    assert!(container.status().expect("status").word().contains("unhealthy"));
    assert_eq!(relay(container.exec(exec(&["touch", "/tmp/well"])).expect("exec")).1, 0);
    until("healthy", || status() == Wellness::Healthy);
    let told = |status| told(&world).iter().filter(|what| **what == What::HealthStatus { status }).count();
    until("the event", || (told(Wellness::Unhealthy), told(Wellness::Healthy)) == (1, 1));
    container.update(|life| life.health = None, &Update::default()).expect("update");
    assert_eq!(state(&container).health, None);
}

#[test]
fn a_check_that_hangs_is_killed_with_what_it_started() {
    let world = World::new();
    let check = health("sleep 4321 & sleep 4321");
    let container = started(&world, "web", "sleep 1000", |life| life.health = Some(check));
    until("unhealthy", || state(&container).health.is_some_and(|one| one.status == Wellness::Unhealthy));
    assert_eq!(state(&container).health.and_then(|health| health.last).expect("a check").code, None);
    container.update(|life| life.health = None, &Update::default()).expect("update");
    until("nothing left of the checks", || {
        !state(&container).top().iter().any(|one| one.command.contains("4321"))
    });
    assert!(container.status().expect("status").is_running());
}

#[test]
fn a_check_that_leaves_a_writer_behind_has_a_result() {
    let world = World::new();
    let check = health("yes & sleep 0.1");
    let container = started(&world, "web", "sleep 1000", |life| life.health = Some(check));
    until("healthy", || state(&container).health.is_some_and(|one| one.status == Wellness::Healthy));
    container.stop(Duration::ZERO).expect("its keeper still answers");
}

#[test]
fn limits_change_while_it_runs_and_stay_changed() {
    let world = World::new();
    let script = "while test ! -e /tmp/go; do sleep 0.02; done; ulimit -n";
    let container = started(&world, "web", script, |_| {});
    container
        .update(|life| life.restart = Restart::OnFailure { most: None }, &rlimit(7, 100, 200))
        .expect("update");
    assert_eq!(relay(container.exec(exec(&["touch", "/tmp/go"])).expect("exec")).1, 0);
    assert_eq!(container.wait().expect("the end"), 0);
    assert_eq!(log_of(&container), "100\n");
    let container = world.containers.find("web").expect("find");
    assert!(container.record().spec.process.rlimits.contains(&(7, 100, 200)));
    assert_eq!(container.record().life.restart, Restart::OnFailure { most: None });
}

#[test]
fn what_was_updated_since_it_was_found_holds_for_stop_and_restart() {
    let world = World::new();
    let script = "ulimit -n; sleep 1000";
    let found = started(&world, "web", script, |_| {});
    let update = |restart| {
        let other = world.containers.find("web").expect("find");
        other.update(|life| life.restart = restart, &rlimit(7, 100, 100)).expect("update");
    };
    update(Restart::Always);
    found.stop(Duration::ZERO).expect("its policy does not bring it back");
    assert!(ended(&found).stopped, "the keeper was told");
    found.restart(Duration::ZERO, launch(false, false)).expect("restart");
    until("the limit", || log_of(&found).ends_with("100\n"));
    let first = state(&found).first.pid;
    sys::process::kill(first, 9).expect("kill");
    until("another life", || state(&found).first.pid != first);
    found.remove(true).expect("remove");
    world.assert_empty();
}

#[test]
fn its_processes_are_listed_with_their_numbers_on_both_sides() {
    let world = World::new();
    let container = started(&world, "web", "sleep 1111 & sleep 2222; true", |_| {});
    // Each is there some moments before it executes its program, with the shell's words.
    let slept = || state(&container).top().iter().filter(|one| one.command.starts_with("sleep")).count();
    until("both of its programs", || slept() == 2);
    let all = state(&container).top();
    assert_eq!(all.len(), 3, "{all:?}");
    let first = state(&container).first.pid;
    assert_eq!(all[0].pid, first);
    assert_eq!(all[0].inside, Some(1));
    assert!(all[1..].iter().all(|one| one.parent == first && one.command.starts_with("sleep")), "{all:?}");
}

#[test]
fn a_process_that_nobody_waits_for_outlives_its_caller() {
    let world = World::new();
    let container = started(&world, "web", "sleep 1000", |_| {});
    let script = "yes | head -c 1000000; touch /tmp/done";
    let pid =
        container.exec_alone(exec(&["sh", "-c", script]), Default::default(), &[(7, 50, 50)]).expect("exec");
    assert!(pid > 0);
    until("its work", || relay(container.exec(exec(&["test", "-e", "/tmp/done"])).expect("exec")).1 == 0);
    let error = container.exec_alone(exec(&["nonsense"]), Default::default(), &[]).expect_err("no such");
    assert_eq!(error.kind(), ErrorKind::CommandNotFound);
    let commands: Vec<_> =
        told(&world).into_iter().filter(|what| matches!(what, What::Exec { .. })).collect();
    assert!(commands.len() >= 2, "{commands:?}");
}

#[test]
fn namespaces_can_be_left_out() {
    use spec::container::Namespace;
    let world = World::new();
    let container = started(&world, "web", "sleep 1000", |_| {});
    let own =
        |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).expect("link").display().to_string();
    let seen = |without: &[Namespace], name: &str| {
        let link = format!("/proc/self/ns/{name}");
        let without = without.iter().copied().collect();
        relay(container.exec_with(exec(&["readlink", &link]), without, &[]).expect("exec")).0
    };
    assert_ne!(seen(&[], "uts"), own("uts"));
    assert_eq!(seen(&[Namespace::Uts], "uts"), own("uts"));
    assert_ne!(seen(&[Namespace::Uts], "ipc"), own("ipc"));
}

#[test]
fn fault_f3_a_keeper_that_is_killed_while_its_container_rests_is_noticed() {
    let world = World::new();
    let container = started(&world, "web", "exit 1", |life| life.restart = Restart::Always);
    // The third pause is long enough to be met.
    until("a rest", || state(&container).resting && state(&container).restarts >= 2);
    let error = container.exec(exec(&["true"])).expect_err("it does not run just now");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let keeper = state(&container).keeper;
    sys::process::kill(keeper.pid, 9).expect("kill");
    until("its end", || keeper.open().is_none());
    let ended = ended(&container);
    assert!(ended.code == 137 && ended.note.expect("a note").contains("keeper was lost"));
    assert!(container.is_due().expect("due"));
    container.start_again(launch(false, false)).expect("start");
    container.remove(true).expect("remove");
    world.assert_empty();
}

#[test]
fn a_rest_ends_at_once_when_it_is_stopped() {
    let world = World::new();
    let container = started(&world, "web", "exit 1", |life| life.restart = Restart::Always);
    until("a long rest", || state(&container).resting && state(&container).restarts >= 4);
    container.stop(Duration::from_secs(60)).expect("stop");
    assert!(ended(&container).stopped);
}

#[test]
fn who_is_killed_for_lack_of_memory_is_told() {
    let world = World::new();
    let script = "while test ! -e /tmp/go; do sleep 0.02; done; exec busybox dd if=/dev/zero of=/dev/null bs=200M count=1";
    let container = started(&world, "web", script, |_| {});
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", state(&container).first.pid)).expect("groups");
    let own = |mark: &str| groups.lines().find_map(|line| line.split_once(mark).map(|(_, path)| path));
    let first = own(":memory:").map(|path| format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"));
    let second = own("0::").map(|path| format!("/sys/fs/cgroup{path}/memory.max"));
    let Some(limit) = first.or(second).filter(|limit| fs::write(limit, "20000000").is_ok()) else {
        eprintln!("SKIPPED: no memory controller");
        return;
    };
    assert_eq!(relay(container.exec(exec(&["touch", "/tmp/go"])).expect("exec")).1, 0);
    assert_eq!(container.wait().expect("the end"), 137, "{limit}");
    assert!(ended(&container).oom);
    assert!(told(&world).contains(&What::Oom));
}

fn rlimit(resource: u32, soft: u64, hard: u64) -> Update {
    Update { rlimits: vec![(resource, soft, hard)], ..Update::default() }
}
