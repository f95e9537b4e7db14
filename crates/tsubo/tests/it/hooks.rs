//! Hooks of real containers: programs of the host, at their moments, and what they may prevent.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::busybox::installed;
use crate::support::{House, one_clear_error, until};

/// Appends its name to a file of the host.
fn notes(file: &Path, when: &str, name: &str) -> Value {
    does(when, name, &format!("echo {name} >> {}", file.display()))
}

fn does(when: &str, name: &str, script: &str) -> Value {
    json!({"name": name, "when": when, "act": {"program": ["/bin/sh", "-c", script]}, "timeout": 5000,
        "on_error": "abort", "memory": 33_554_432})
}

/// A house with an image `web` that sleeps and has these hooks, which may use `$DIR`.
fn house(hooks: impl FnOnce(&Path) -> Vec<Value>) -> Option<(House, TempDir)> {
    let dir = tempfile::tempdir().expect("a directory");
    let hooks = hooks(&dir.path().join("notes"));
    let change = json!({"command": ["/bin/sleep", "1000"], "writable": ["/tmp"], "hooks": {"list": hooks}});
    Some((installed(|tar| tar, change)?, dir))
}

fn noted(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn start(house: &House, more: &[&str]) {
    let words = ["run", "-d", "--as-packaged", "--name", "one"].iter().chain(more).chain(&["web"]);
    house.ok_elsewhere(words.copied());
}

fn hooks_of(house: &House) -> Vec<Value> {
    let told = house.json_elsewhere(["hooks", "--format", "json", "one"]);
    told["hooks"].as_array().expect("hooks").clone()
}

fn past(house: &House, name: &str) -> Value {
    let hooks = hooks_of(house);
    hooks.iter().find(|hook| hook["hook"]["name"] == name).expect("the hook")["past"].clone()
}

#[test]
fn many_of_one_moment_in_their_order_and_each_at_its_own() {
    let made = house(|file| {
        let moments = [
            ("before create", "making"),
            ("before start", "first"),
            ("before start", "second"),
            ("after start", "third"),
            ("after start", "fourth"),
            ("after ready", "ready"),
            ("after 300ms", "once"),
            ("signal USR1", "called"),
            ("signal RTMIN+3", "real"),
            ("before update", "asked"),
            ("after update", "changed"),
            ("before stop", "leaving"),
            ("after stop", "left"),
            ("after cleanup", "gone"),
        ];
        moments.map(|(when, name)| notes(file, when, name)).to_vec()
    });
    let Some((house, dir)) = made else { return };
    start(&house, &[]);
    until("all of the start", || noted(dir.path()).iter().any(|name| name == "once"));
    let told = noted(dir.path());
    let place = |name: &str| {
        told.iter().position(|other| other == name).unwrap_or_else(|| panic!("{name}: {told:?}"))
    };
    let order = ["making", "first", "second", "third", "fourth"].map(place);
    assert!(order.is_sorted(), "{told:?}");
    place("ready");
    house.ok_elsewhere(["signal", "one", "USR1"]);
    until("the hook of the signal", || noted(dir.path()).iter().any(|name| name == "called"));
    let complaint = house.fails_elsewhere(125, ["signal", "one", "USR2"]);
    one_clear_error(&complaint, &["no hook for signal USR2", "tsubo hooks one"]);
    let id = house.json_elsewhere(["ps", "--format", "json"])[0]["id"].as_str().expect("its id").to_owned();
    let state = house.elsewhere().join("run/containers").join(id).join("state.json");
    let state: Value = serde_json::from_slice(&std::fs::read(state).expect("its state")).expect("JSON");
    let keeper = state["keeper"]["pid"].as_i64().expect("its keeper").to_string();
    let sent = std::process::Command::new("kill").args(["-s", "RTMIN+3", &keeper]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    until("the hook of a real signal", || noted(dir.path()).iter().any(|name| name == "real"));
    house.ok_elsewhere(["update", "--limit", "cpus=0.5", "one"]);
    house.ok_elsewhere(["stop", "one"]);
    until("the last", || noted(dir.path()).iter().any(|name| name == "left"));
    house.ok_elsewhere(["rm", "one"]);
    let told = noted(dir.path());
    for name in ["asked", "changed", "leaving", "left", "gone"] {
        assert_eq!(told.iter().filter(|other| *other == name).count(), 1, "{name}: {told:?}");
    }
}

#[test]
fn who_comes_before_may_say_no_and_gives_the_reason() {
    let made = house(|file| {
        vec![
            does(
                "before start",
                "guard",
                &format!("test -e {}.go || {{ echo not our turn >&2; exit 1; }}", file.display()),
            ),
            does(
                "before stop",
                "holder",
                &format!("test -e {}.stop || {{ echo still serving >&2; exit 1; }}", file.display()),
            ),
            does("before update", "keeper", "echo as it is >&2; exit 1"),
        ]
    });
    let Some((house, dir)) = made else { return };
    let words = ["run", "-d", "--as-packaged", "--name", "one", "web"];
    let complaint = house.fails_elsewhere(125, words);
    one_clear_error(&complaint, &["guard", "not our turn"]);
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]), "nothing of it stays");
    std::fs::write(dir.path().join("notes.go"), "").expect("written");
    start(&house, &[]);
    one_clear_error(&house.fails_elsewhere(125, ["update", "--limit", "cpus=0.5", "one"]), &["as it is"]);
    one_clear_error(&house.fails_elsewhere(125, ["stop", "one"]), &["holder", "still serving"]);
    assert!(house.ok_elsewhere(["ps"]).contains("one"), "it runs on");
    assert_eq!(past(&house, "holder")["outcome"], "veto");
    std::fs::write(dir.path().join("notes.stop"), "").expect("written");
    house.ok_elsewhere(["stop", "one"]);
    // By force nobody is asked.
    std::fs::remove_file(dir.path().join("notes.stop")).expect("removed");
    house.ok_elsewhere(["start", "one"]);
    house.ok_elsewhere(["rm", "-f", "one"]);
}

#[test]
fn one_that_hangs_holds_up_nobody_and_is_ended() {
    let made = house(|file| {
        let mut hangs = does("after start", "hangs", "sleep 1000 & sleep 1000");
        hangs["timeout"] = json!(1000);
        vec![
            hangs,
            notes(file, "every 200ms", "tick"),
            does("every 200ms", "fails", "echo no luck >&2; exit 3"),
        ]
    });
    let Some((house, dir)) = made else { return };
    start(&house, &[]);
    until("ticks", || noted(dir.path()).len() > 3);
    house.ok_elsewhere(["exec", "one", "true"]);
    until("the end of the one that hangs", || past(&house, "hangs")["outcome"] == "overdue");
    until("failures", || past(&house, "fails")["failures"].as_u64() > Some(2));
    assert!(past(&house, "fails")["why"].as_str().is_some_and(|why| why.contains("no luck")));
    // It is told where people look, and timers go on in the small program that keeps it by now.
    let output = house.command_elsewhere(["logs", "one"]).output().expect("tsubo");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("no luck") && log.contains("overdue"), "{log}");
    std::thread::sleep(Duration::from_secs(2));
    let before = noted(dir.path()).len();
    until("more ticks", || noted(dir.path()).len() > before + 2);
    house.ok_elsewhere(["rm", "-f", "one"]);
    let after = noted(dir.path()).len();
    std::thread::sleep(Duration::from_millis(600));
    assert!(noted(dir.path()).len() <= after + 1, "nothing goes on without it");
}

#[test]
fn a_package_from_elsewhere_runs_no_programs_of_the_host() {
    let Some((house, dir)) = house(|file| vec![notes(file, "after start", "evil")]) else { return };
    let words = ["run", "--rm", "--name", "one", "web", "true"];
    let output = house.command_elsewhere(words).output().expect("tsubo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("evil") && said.contains("--as-packaged"), "{said}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(noted(dir.path()), Vec::<String>::new());
}

#[test]
fn an_end_is_told_and_a_restart_may_be_refused() {
    let made = house(|file| {
        let twice = format!(
            "count=$(grep -c failed {}); test \"${{count:-0}}\" -lt 2 || {{ echo twice is enough >&2; exit 1; }}",
            file.display()
        );
        vec![
            notes(file, "after failure", "failed"),
            does("before restart", "judge", &twice),
            notes(file, "after restart", "again"),
        ]
    });
    let Some((house, dir)) = made else { return };
    let words = [
        "run",
        "-d",
        "--as-packaged",
        "--restart",
        "always",
        "--name",
        "one",
        "web",
        "sh",
        "-c",
        "sleep 0.3; exit 7",
    ];
    house.ok_elsewhere(words);
    until("the end for good", || house.ok_elsewhere(["ps", "-a"]).contains("exited"));
    assert_eq!(house.ok_elsewhere(["wait", "one"]).trim(), "7");
    let told = noted(dir.path());
    assert!(told.iter().filter(|name| *name == "failed").count() >= 2, "{told:?}");
    assert!(told.iter().any(|name| name == "again"), "{told:?}");
    let shown = house.ok_elsewhere(["inspect", "one"]);
    assert!(shown.contains("twice is enough"), "{shown}");
}

#[test]
fn what_runs_short_is_told_once() {
    let made = house(|file| {
        let moments = [
            ("pids at limit", "pids"),
            ("cpu throttled 20%", "cpu"),
            ("disk 80%", "disk"),
            ("idle 1s", "idle"),
            ("after oom", "oom"),
        ];
        moments.map(|(when, name)| notes(file, when, name)).to_vec()
    });
    let Some((house, dir)) = made else { return };
    start(&house, &["--limit", "pids=8", "--limit", "cpus=0.2", "--limit", "disk=8M", "--memory", "64m"]);
    let has = |name: &str| noted(dir.path()).iter().any(|other| other == name);
    until("it is idle", || has("idle"));
    house.ok_elsewhere(["exec", "-d", "one", "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 3 & done; wait"]);
    until("its processes", || has("pids"));
    until("they have ended", || house.ok_elsewhere(["top", "one"]).lines().count() == 2);
    house.ok_elsewhere([
        "exec",
        "-d",
        "one",
        "sh",
        "-c",
        "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done",
    ]);
    until("its processor", || has("cpu"));
    house.ok_elsewhere(["exec", "one", "dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=7"]);
    until("its disk", || has("disk"));
    house
        .command_elsewhere(["exec", "one", "sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x)"])
        .output()
        .expect("tsubo");
    until("its memory", || has("oom"));
    let told = noted(dir.path());
    assert_eq!(told.iter().filter(|name| *name == "disk").count(), 1, "{told:?}");
}
