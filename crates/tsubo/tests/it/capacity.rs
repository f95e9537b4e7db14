//! Promises: what running containers may rely on is given to nobody else, and how many more fit.

use serde_json::{Value, json};

use crate::support::base::small;
use crate::support::busybox::installed;
use crate::support::{House, one_clear_error, until};

const MIB: u64 = 1 << 20;

/// `web` sleeps, and says nothing of its limits.
fn house() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]}))
}

fn row(house: &House, resource: &str, more: &[&str]) -> Value {
    let told = house.json_elsewhere(["capacity", "--format", "json"].iter().chain(more));
    let rows = told["resources"].as_array().expect("rows").clone();
    rows.into_iter().find(|row| row["resource"] == resource).expect("the resource")
}

/// All that containers may have together.
fn room(house: &House, resource: &str) -> u64 {
    row(house, resource, &[])["room"].as_u64().expect("a number")
}

fn promised(house: &House, resource: &str) -> u64 {
    row(house, resource, &[])["promised"].as_u64().expect("a number")
}

/// A bit less than that share of the memory: it is promised whether this host can enforce it or not.
fn a_third(house: &House) -> String {
    format!("{}m", room(house, "memory") / 3 / MIB - 64)
}

fn run<'a>(name: &'a str, memory: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["run", "-d", "--best-effort", "--memory", memory, "--name", name];
    words.iter().chain(more).chain(&["web"]).copied().collect()
}

fn pid(house: &House, name: &str) -> u64 {
    house.json_elsewhere(["inspect", name])["state"]["pid"].as_u64().expect("a pid")
}

/// The parent of its first process.
fn kill_keeper_of(house: &House, name: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid(house, name))).expect("status");
    let keeper = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    let killed = std::process::Command::new("kill").args(["-9", keeper]).status().expect("kill");
    assert!(killed.success());
}

#[test]
fn no_start_breaks_what_running_containers_were_promised() {
    let Some(house) = house() else { return };
    let third = a_third(&house);
    for name in ["a", "b", "c"] {
        house.ok_elsewhere(run(name, &third, &[]));
    }
    let complaint = house.fails_elsewhere(125, run("d", &third, &[]));
    let needles = ["container d takes", "3 running containers", "missing", "--overcommit", "tsubo capacity"];
    one_clear_error(&complaint, &needles);
    assert!(!house.ok_elsewhere(["ps", "-a"]).contains(" d "), "it was made nevertheless");
    // Who asks for what is left, or for nothing, is let in.
    house.ok_elsewhere(run("little", "50m", &[]));
    house.ok_elsewhere(["run", "-d", "--name", "nothing", "web"]);
    // Nor does a change break it, unless it is less.
    one_clear_error(
        &house.fails_elsewhere(125, ["update", "--best-effort", "--memory", &third, "little"]),
        &["missing"],
    );
    house.ok_elsewhere(["update", "--best-effort", "--memory", "40m", "little"]);
    house.ok_elsewhere(["update", "--best-effort", "--overcommit", "--memory", &third, "little"]);
    house.ok_elsewhere(["rm", "-f", "little"]);
    // One that was made with it is started with it.
    house.ok_elsewhere(run("d", &third, &["--overcommit"]));
    house.ok_elsewhere(["restart", "-t", "0", "d"]);
    house.ok_elsewhere(["rm", "-f", "d"]);
    // A made one is refused when it is started, and stays.
    house.ok_elsewhere(["create", "--best-effort", "--memory", &third, "--name", "later", "web"]);
    one_clear_error(&house.fails_elsewhere(125, ["start", "later"]), &["container later takes"]);
    house.ok_elsewhere(["start", "--overcommit", "later"]);
    house.ok_elsewhere(["stop", "-t", "0", "later", "a"]);
    house.ok_elsewhere(["start", "later"]);
    one_clear_error(&house.fails_elsewhere(125, ["start", "a"]), &["container a takes"]);
    house.ok_elsewhere(["rm", "-f", "b"]);
    house.ok_elsewhere(["start", "a"]);
}

#[test]
fn who_is_promised_nothing_is_in_no_ledger() {
    let Some(house) = house() else { return };
    let file = house.elsewhere().join("run/promises");
    house.ok_elsewhere(["run", "-d", "--name", "a", "web"]);
    house.ok_elsewhere(["rm", "-f", "a"]);
    assert!(!file.exists());
    house.ok_elsewhere(run("b", "50m", &[]));
    assert_eq!(file.metadata().expect("the ledger").len(), 64);
    house.ok_elsewhere(["rm", "-f", "b"]);
    until("its slot is free", || file.metadata().is_ok_and(|meta| meta.len() == 0));
    // One that could not be started has none either.
    house.fails_elsewhere(127, ["run", "--rm", "--best-effort", "--memory", "50m", "web", "/bin/nothing"]);
    until("its slot is free", || file.metadata().is_ok_and(|meta| meta.len() == 0));
}

#[test]
fn what_a_killed_keeper_was_promised_is_free_for_the_next() {
    let Some(house) = house() else { return };
    let third = a_third(&house);
    for name in ["a", "b", "c"] {
        house.ok_elsewhere(run(name, &third, &[]));
    }
    let first = pid(&house, "b");
    kill_keeper_of(&house, "b");
    until("there is room again", || {
        house.command_elsewhere(run("d", &third, &[])).output().is_ok_and(|output| output.status.success())
    });
    // What it left running was ended before its memory was given away.
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
    house.fails_elsewhere(125, run("e", &third, &[]));
    kill_keeper_of(&house, "c");
    house.ok_elsewhere(["gc"]);
    // A process that was killed takes a moment to end.
    until("its promise is gone", || promised(&house, "memory") < room(&house, "memory") / 3 * 2);
}

#[test]
fn many_starts_at_once_never_get_more_than_there_is() {
    let Some(house) = house() else { return };
    let third = a_third(&house);
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| {
            house.command_elsewhere(run(name, &third, &[])).stderr(std::process::Stdio::null()).spawn()
        })
        .collect();
    let ended = children.into_iter().map(|child| child.expect("tsubo").wait().expect("its end").code());
    let started = ended.filter(|code| *code == Some(0)).count();
    assert_eq!(started, 3);
    let running = house.json_elsewhere(["ps", "--format", "json"]);
    assert_eq!(running.as_array().expect("rows").len(), 3);
    assert!(promised(&house, "memory") <= room(&house, "memory"));
}

#[test]
fn a_damaged_ledger_is_written_anew_from_what_runs() {
    let Some(house) = house() else { return };
    let third = a_third(&house);
    for name in ["a", "b", "c"] {
        house.ok_elsewhere(run(name, &third, &[]));
    }
    std::fs::write(house.elsewhere().join("run/promises"), "nonsense of some length ".repeat(20))
        .expect("write");
    house.fails_elsewhere(125, run("d", &third, &[]));
    house.ok_elsewhere(["rm", "-f", "a"]);
    house.ok_elsewhere(run("d", &third, &[]));
}

#[test]
fn as_many_fit_as_capacity_says() {
    let Some(house) = house() else { return };
    let each = (room(&house, "processes") / 4).to_string();
    let limits = ["--best-effort", "--pids-limit", &each];
    house.ok_elsewhere(["run", "-d", "--name", "first"].iter().chain(&limits).chain(&["web"]));
    let told = house.json_elsewhere(["capacity", "web", "--format", "json"].iter().chain(&limits));
    assert_eq!((told["fits"].as_u64(), told["first"].as_str()), (Some(3), Some("processes")), "{told:#}");
    let text = house.ok_elsewhere(["capacity", "web"].iter().chain(&limits));
    assert!(text.starts_with("3 more of web fit on this host now; processes run out first"), "{text}");
    assert!(text.contains("1 running container is promised something"), "{text}");
    let start = |number: u64| {
        let name = format!("more{number}");
        let mut command =
            house.command_elsewhere(["run", "-d", "--name", &name].iter().chain(&limits).chain(&["web"]));
        command.output().expect("tsubo").status.success()
    };
    assert_eq!((0..6).filter(|number| start(*number)).count(), 3);
    // A package file is looked at, not installed.
    let told = house.json_elsewhere(["capacity", "./web.tsubo", "--format", "json"].iter().chain(&limits));
    assert_eq!(told["fits"], 0);
    let text = house.ok_elsewhere(["capacity", "web"]);
    assert!(text.contains("nothing is known of what web takes"), "{text}");
    house.fails_elsewhere(125, ["capacity", "--memory", "1g"]);
    house.fails_elsewhere(125, ["capacity", "nothing"]);
}

#[test]
fn room_on_the_disk_that_was_said_is_promised_to_volumes() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"], "volumes": ["/srv"]}))
    else {
        return;
    };
    let disk = |share: u64| format!("disk={}M", room(&house, "disk") / MIB * share / 100);
    let run = |name: &str, share: u64| {
        let limit = disk(share);
        let words = ["run", "-d", "--best-effort", "--name", name, "--limit", &limit, "web"];
        house.command_elsewhere(words).output().expect("tsubo")
    };
    let first = run("a", 60);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let promised = promised(&house, "disk");
    assert!(promised > room(&house, "disk") / 2, "{promised}");
    // Nor is it by giving more later.
    let complaint = house.fails_elsewhere(125, ["update", "--limit", &disk(150), "a"]);
    one_clear_error(&complaint, &["of disk"]);
    let refused = run("b", 60);
    assert_eq!(refused.status.code(), Some(125));
    one_clear_error(
        &String::from_utf8_lossy(&refused.stderr),
        &["container b takes", "of disk", "--limit disk=SIZE"],
    );
    assert!(!house.elsewhere().join("volumes/b").exists(), "its volumes were made nevertheless");
    assert!(run("c", 20).status.success());
    // Without volumes it is room in memory.
    let Some(house) = house_of_memory() else { return };
    house.ok_elsewhere(["run", "-d", "--limit", "disk=64m", "web"]);
    assert!(!house.elsewhere().join("run/promises").exists());
}

/// It writes nowhere but to memory.
fn house_of_memory() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"], "writable": ["/tmp"]}))
}

#[test]
fn what_tests_used_is_promised_without_the_margin() {
    let used = json!({"peak": {"memory": 30 * MIB, "tasks": 3, "files": 4}, "cpu": 500, "millis": 1000});
    let spec = json!({
        "command": ["/bin/sleep", "1000"], "forecast": {"memory": "120M", "pids": 64}, "used": used,
    });
    let Some(house) = installed(|tar| tar, spec) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "web", "web"]);
    assert_eq!((promised(&house, "memory"), promised(&house, "processes")), (30 * MIB, 3));
    assert_eq!(promised(&house, "processor"), 500);
    assert_eq!(row(&house, "files", &["web"])["each"], 4);
    house.ok_elsewhere(["run", "-d", "--best-effort", "--memory", "100m", "--name", "more", "web"]);
    assert_eq!(promised(&house, "memory"), 130 * MIB);
    house.ok_elsewhere(["update", "--best-effort", "--memory", "60m", "more"]);
    assert_eq!(promised(&house, "memory"), 90 * MIB);
    house.ok_elsewhere(["stop", "-t", "0", "more"]);
    assert_eq!(promised(&house, "memory"), 30 * MIB);
}

#[test]
fn a_test_shows_how_limits_follow_from_what_was_used() {
    let house = House::new();
    let base = small(&house);
    house.dev("app", &base, "true");
    let service = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.5; echo done";
    house.test_job("app", &["sh", "-c", service]);
    let seen: Value = serde_json::from_slice(
        &std::fs::read(house.here().join("dev/app/observation.json")).expect("the observation"),
    )
    .expect("JSON");
    let run = &seen["runs"][0];
    if run["curve"].as_array().is_none_or(Vec::is_empty) {
        println!("SKIPPED: services get no control groups here");
        return;
    }
    assert!(run["curve"].as_array().is_some_and(|points| (5..=64).contains(&points.len())), "{run:#}");
    assert!(run["used"]["cpu"].as_u64() > Some(0) && run["used"]["millis"].as_u64() > Some(400), "{run:#}");
    assert!(run["used"]["busiest"].as_u64() <= run["used"]["cpu"].as_u64(), "{run:#}");
    let file = house.pack("app", "exact");
    let contents = house.ok(["contents", &file]);
    for word in ["memory ", " at most, ", "4 x ", ": limit ", "processor ", "in its busiest second", "█"] {
        assert!(contents.contains(word), "{word:?} in {contents}");
    }
    let told = house.contents(&file);
    assert_eq!(told["forecast"][0]["resource"], "memory");
    assert_eq!(told["forecast"][0]["margin"], 4);
    assert!(!told["curve"].as_array().expect("the curve").is_empty());
    // The peak of the test is what one more is promised.
    let peak = seen["peak"]["memory"].as_u64().expect("a peak");
    assert_eq!(
        row(&house, "memory", &[&file])["each"].as_u64(),
        Some(peak.min(told["forecast"][0]["limit"].as_u64().expect("a limit")))
    );
    assert!(house.ok(["observation", "show", "app"]).contains("of processor time"));
}
