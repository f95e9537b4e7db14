//! The figures of the past: what a sampler has seen of containers that come, work, and go.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::{House, Running, one_clear_error, until_within};

fn house() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]}))
}

fn sampler(house: &House) -> Running {
    let mut command = house.command_elsewhere(["sampler"]);
    Running(command.stdout(Stdio::null()).spawn().expect("spawn"))
}

fn kill(mut sampler: Running) {
    let child: &mut Child = &mut sampler.0;
    child.kill().expect("kill");
    child.wait().expect("wait");
}

fn history(house: &House, name: &str) -> Option<Value> {
    let args = ["history", "--since", "10m", "--format", "json", name];
    let output = house.command_elsewhere(args).output().expect("history");
    serde_json::from_slice(&output.stdout).ok()
}

/// What is known of a figure, without gaps.
fn known(history: &Value, figure: &str) -> Vec<f64> {
    history["samples"].as_array().into_iter().flatten().filter_map(|row| row[figure].as_f64()).collect()
}

fn events(history: &Value) -> Vec<&str> {
    history["events"].as_array().into_iter().flatten().filter_map(|mark| mark["event"].as_str()).collect()
}

#[test]
fn what_containers_did_is_known_afterwards_also_when_the_sampler_was_killed() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "busy", "web", "/bin/sh", "-c", "while :; do :; done"]);
    house.ok_elsewhere(["run", "-d", "--name", "idle", "web"]);
    let complaint = house.fails_elsewhere(125, ["history", "busy"]);
    one_clear_error(&complaint, &["busy", "no sampler is running", "tsubo sampler"]);
    let running = sampler(&house);
    let is_known =
        |name: &str| history(&house, name).is_some_and(|past| known(&past, "cpu_percent").len() > 1);
    until_within(60, "it was seen three times", || is_known("busy") && is_known("idle"));
    kill(running);
    let busy = history(&house, "busy").expect("busy");
    let most = |past: &Value| known(past, "cpu_percent").into_iter().fold(0.0, f64::max);
    assert!(most(&busy) > 5.0 && most(&busy) < 105.0, "{busy:#}");
    assert!(known(&busy, "memory_bytes").iter().all(|bytes| *bytes > 0.0), "{busy:#}");
    let idle = history(&house, "idle").expect("idle");
    assert!(most(&idle) < 5.0, "{idle:#}");
    // The next one goes on in the same files, and tells what happened in between.
    house.ok_elsewhere(["stop", "-t", "0", "busy"]);
    let running = sampler(&house);
    until_within(60, "the end is known", || {
        history(&house, "busy").is_some_and(|past| events(&past).contains(&"stop"))
    });
    let busy = history(&house, "busy").expect("busy");
    assert!(events(&busy).starts_with(&["start"]) && events(&busy).contains(&"die"), "{busy:#}");
    assert!(most(&busy) > 5.0, "{busy:#}");
    let text = house.ok_elsewhere(["history", "busy"]);
    for word in ["cpu", "memory", "FROM", "start", "die (exit code"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let host = house.json_elsewhere(["history", "--since", "10m", "--format", "json"]);
    assert_eq!(host["watched"], true);
    kill(running);
}

#[test]
fn one_sampler_is_enough_and_its_files_go_with_their_containers() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "a", "web"]);
    let running = sampler(&house);
    let file = |name: &str| house.elsewhere().join("containers").join(name).join("history");
    until_within(60, "it is sampled", || file("a").exists());
    let complaint = house.fails_elsewhere(125, ["sampler"]);
    one_clear_error(&complaint, &["at work already", &format!("process {}", running.0.id())]);
    let size = fs::metadata(file("a")).expect("history").len();
    assert!(size < 300_000, "{size}");
    house.ok_elsewhere(["rename", "a", "b"]);
    assert!(file("b").exists() && !file("a").exists());
    house.ok_elsewhere(["rm", "-f", "b"]);
    assert!(!file("b").exists());
    kill(running);
    // Nobody has to be asked before the next.
    house.ok_elsewhere(["sampler", "--steps", "1"]);
}

#[test]
fn load_averages_are_known_from_the_first_look_on() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "busy", "web", "/bin/sh", "-c", "while :; do :; done"]);
    let running = sampler(&house);
    let load = || {
        let args = ["stats", "--no-stream", "--interval", "100ms", "--format", "json", "busy"];
        house.json_elsewhere(args)["containers"][0]["load"].clone()
    };
    // Of a start that was seen the averages of 15 minutes begin at nothing.
    until_within(60, "the load is known", || load()[0].as_f64() > Some(0.05));
    let load = load();
    assert!(load[0].as_f64() > load[2].as_f64() && load[2].as_f64() > Some(0.0), "{load}");
    kill(running);
}
