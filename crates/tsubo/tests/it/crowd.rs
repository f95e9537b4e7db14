//! Many at once: commands that want the same name, the same image or the same container.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::leftovers::{all_groups, everything, no_empty_group_since};
use crate::support::{House, ended, one_clear_error, until};

/// Starts all of them before it waits for any.
#[track_caller]
fn together(commands: impl IntoIterator<Item = Command>) -> Vec<Output> {
    let spawn =
        |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
    let children: Vec<Child> = commands.into_iter().map(spawn).collect();
    children.into_iter().map(|child| ended(child, "one of many")).collect()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It did what it should, or told in one clear error that somebody else was first.
#[track_caller]
fn done_or_told(output: &Output) {
    match output.status.code() {
        Some(0) => assert_eq!(complaint(output), ""),
        Some(125) => one_clear_error(&complaint(output), &[]),
        _ => panic!("{}: {}", output.status, complaint(output)),
    }
}

fn changes(before: &[PathBuf], after: &[PathBuf]) -> Vec<String> {
    let gone =
        before.iter().filter(|path| !after.contains(path)).map(|path| format!("gone: {}", path.display()));
    let new =
        after.iter().filter(|path| !before.contains(path)).map(|path| format!("new: {}", path.display()));
    gone.chain(new).collect()
}

fn nobody_is_left(house: &House) {
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
    assert_eq!(house.ok_elsewhere(["gc"]), "0 leftovers removed\n");
}

#[test]
fn of_twenty_that_want_one_name_exactly_one_gets_it() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    for _ in 0..5 {
        let outputs = together((0..20).map(|_| house.command_elsewhere(["run", "-d", "--name", "x", "web"])));
        let won: Vec<_> = outputs.iter().filter(|output| output.status.success()).collect();
        assert_eq!(won.len(), 1, "{:?}", outputs.iter().map(complaint).collect::<Vec<_>>());
        assert_eq!(won[0].stdout, b"x\n");
        for lost in outputs.iter().filter(|output| !output.status.success()) {
            assert_eq!(lost.status.code(), Some(125));
            one_clear_error(&complaint(lost), &["x"]);
        }
        let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows:#}");
        assert_eq!(rows[0]["running"], true);
        house.ok_elsewhere(["rm", "-f", "x"]);
        nobody_is_left(&house);
    }
}

#[test]
fn one_package_that_is_installed_eight_times_at_once_is_there_once() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    house.ok_elsewhere(["run", "--rm", "web"]);
    let before = everything(&house.elsewhere());
    for _ in 0..5 {
        house.ok_elsewhere(["rmi", "web"]);
        let installs = (0..8).map(|_| house.command_elsewhere(["install", "./web.tsubo"]));
        for output in together(installs) {
            assert!(output.status.success(), "{}", complaint(&output));
        }
        let images = house.json_elsewhere(["images", "--format", "json"]);
        assert_eq!(images.as_array().map(Vec::len), Some(1), "{images:#}");
        assert_eq!(changes(&before, &everything(&house.elsewhere())), [] as [String; 0]);
        assert_eq!(house.ok_elsewhere(["run", "--rm", "web"]), "it ran\n");
    }
}

#[test]
fn installs_runs_and_removals_of_one_image_at_once() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    for _ in 0..5 {
        let commands = (0..12).map(|number| match number % 3 {
            0 => house.command_elsewhere(["install", "./web.tsubo"]),
            1 => house.command_elsewhere(["run", "--rm", "--name", &format!("c{number}"), "web"]),
            _ => house.command_elsewhere(["rmi", "web"]),
        });
        for output in together(commands) {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            match output.status.code() {
                Some(0) => {}
                Some(125) => one_clear_error(&complaint(&output), &["web"]),
                _ => panic!("{}: {said}{}", output.status, complaint(&output)),
            }
        }
        house.ok_elsewhere(["install", "./web.tsubo"]);
        assert_eq!(house.ok_elsewhere(["run", "--rm", "web"]), "it ran\n");
        nobody_is_left(&house);
    }
}

#[test]
fn fault_f4_one_container_is_stopped_killed_and_removed_by_many_at_once() {
    let deaf = "trap : TERM; while :; do sleep 0.01; done";
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sh", "-c", deaf]})) else { return };
    let verbs: [&[&str]; 6] = [
        &["stop", "-t", "0", "x"],
        &["kill", "x"],
        &["rm", "-f", "x"],
        &["rm", "x"],
        &["kill", "-s", "TERM", "x"],
        &["exec", "x", "/bin/true"],
    ];
    for _ in 0..10 {
        house.ok_elsewhere(["run", "-d", "--name", "x", "web"]);
        let outputs = together(verbs.iter().cycle().take(18).map(|verb| house.command_elsewhere(*verb)));
        for (output, verb) in outputs.iter().zip(verbs.iter().cycle()) {
            // What was being executed in it dies with it.
            if verb[0] == "exec" && output.status.code() == Some(137) {
                continue;
            }
            done_or_told(output);
        }
        nobody_is_left(&house);
    }
}

#[test]
fn fault_f4_containers_of_many_names_come_and_go_at_once() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    let life = |number: usize| {
        let name = format!("c{number}");
        let verbs: [&[&str]; 4] = [
            &["run", "-d", "--name", &name, "web"],
            &["exec", &name, "/bin/true"],
            &["stop", "-t", "0", &name],
            &["rm", &name],
        ];
        for verb in verbs {
            house.ok_elsewhere(verb);
        }
    };
    let life = &life;
    std::thread::scope(|scope| {
        (0..24).for_each(|number| _ = scope.spawn(move || life(number)));
    });
    nobody_is_left(&house);
}

#[test]
fn fault_f17_fifty_runs_leave_nothing() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    house.ok_elsewhere(["run", "--rm", "web"]);
    let (before, groups) = (everything(&house.elsewhere()), all_groups());
    for number in 0..50 {
        match number % 3 {
            0 => assert_eq!(house.ok_elsewhere(["run", "--rm", "web"]), "it ran\n"),
            1 => _ = house.fails_elsewhere(7, ["run", "--rm", "web", "/bin/sh", "-c", "exit 7"]),
            _ => _ = house.fails_elsewhere(127, ["run", "--rm", "web", "/no/such/program"]),
        }
    }
    assert_eq!(changes(&before, &everything(&house.elsewhere())), [] as [String; 0]);
    assert_eq!(crate::support::leftovers::of(&house.elsewhere(), &[]), [] as [String; 0]);
    no_empty_group_since(&groups);
    nobody_is_left(&house);
}

#[test]
fn attack_22_exec_into_a_container_that_is_dying_is_told_and_never_hangs() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    for step in 0..12 {
        let life = format!("{:.3}", 0.004 * f64::from(step));
        house.ok_elsewhere(["run", "-d", "--name", "x", "web", "/bin/sleep", &life]);
        let outputs = together((0..6).map(|_| house.command_elsewhere(["exec", "x", "/bin/sleep", "0.02"])));
        for output in outputs {
            // It ended before the container, with it, or came too late.
            match output.status.code() {
                Some(0 | 137) => assert_eq!(complaint(&output), ""),
                Some(125) => one_clear_error(&complaint(&output), &["container"]),
                _ => panic!("{}: {}", output.status, complaint(&output)),
            }
        }
        until("it has ended", || house.json_elsewhere(["ps", "--format", "json"]) == json!([]));
        one_clear_error(&house.fails_elsewhere(125, ["exec", "x", "/bin/true"]), &["x", "not running"]);
        house.ok_elsewhere(["rm", "x"]);
    }
    nobody_is_left(&house);
}

#[test]
fn fault_f1_runs_that_are_killed_at_once_leave_nothing() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    let groups = all_groups();
    for moment in 0..8 {
        let run = |number: usize| {
            let mut command =
                house.command_elsewhere(["run", "--rm", "--name", &format!("c{number}"), "web"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawn")
        };
        let mut children: Vec<Child> = (0..6).map(run).collect();
        std::thread::sleep(Duration::from_millis(4 * moment));
        for child in &mut children {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
        until("all of them are gone", || {
            house.json_elsewhere(["ps", "-a", "--format", "json"]) == json!([])
                && crate::support::leftovers::processes(&house.elsewhere()).is_empty()
        });
        house.ok_elsewhere(["gc"]);
        nobody_is_left(&house);
    }
    no_empty_group_since(&groups);
}
