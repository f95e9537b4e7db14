//! The command line itself.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Ground;

#[test]
fn options_stand_where_engines_put_them() {
    let ground = Ground::new();
    ground.script("echo said");
    let id = ground.id();
    let bundle = ground.bundle();
    let bundle = bundle.to_str().expect("text");
    for words in [
        &["run", "--bundle", bundle, &id][..],
        &["run", &id, "-b", bundle],
        &[
            "--rootless=false",
            "--log-format",
            "json",
            "run",
            &format!("--bundle={bundle}"),
            "--keep=false",
            &id,
        ],
    ] {
        assert_eq!(ground.call(words).well(), "said");
    }
    for words in
        [&["run"][..], &["run", &id, "more"], &["run", "--nothing", &id], &["nothing"], &["--nothing"]]
    {
        assert_eq!(ground.call(words).code, 1);
    }
    assert_eq!(ground.call(&["exec", "--nothing"]).code, 255);
    for id in ["..", "a/b", ".", "x y", "~1"] {
        ground.call(&["run", id]).failed("invalid container ID format");
        ground.call(&["delete", "--force", id]).failed("invalid container ID format");
    }
    ground.clean();
}

#[test]
fn help_and_version() {
    let ground = Ground::new();
    let help = ground.call(&["--help"]).well();
    let verbs = "create start state kill delete run exec ps list pause resume events update features spec checkpoint restore";
    for verb in verbs.split(' ') {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}");
        let of_verb = ground.call(&[verb, "--help"]).well();
        assert!(
            of_verb.contains("Examples:\n  tsubo-oci") || of_verb.contains("Examples:\n  mkdir"),
            "{of_verb}"
        );
    }
    let version = ground.call(&["--version"]).well();
    let lines: Vec<_> = version.lines().collect();
    assert!(lines[0].starts_with("tsubo-oci version 0.") && lines[1].starts_with("commit: "), "{version}");
    assert_eq!(lines[2], "spec: 1.3.0");
    let features: Value = serde_json::from_str(&ground.call(&["features"]).well()).expect("JSON");
    assert_eq!(features["ociVersionMax"], json!("1.3.0"));
}

#[test]
fn failures_are_logged_as_engines_read_them() {
    let ground = Ground::new();
    let log = ground.at("log.json");
    let path = log.to_str().expect("text");
    ground
        .call(&["--log", path, "--log-format", "json", "state", "nobody"])
        .failed("container does not exist");
    let line: Value = serde_json::from_str(&fs::read_to_string(&log).expect("log")).expect("JSON");
    assert_eq!(line["level"], json!("error"));
    assert!(line["msg"].as_str().expect("text").starts_with("container does not exist: nobody"), "{line}");
    assert!(line["time"].as_str().expect("text").ends_with('Z'));
    ground.call(&["--log", path, "--log-format", "text", "state", "nobody"]).failed("");
    assert!(
        fs::read_to_string(&log)
            .expect("log")
            .contains("level=error msg=\"container does not exist: nobody\"")
    );
}

#[test]
fn spec_writes_what_can_be_run() {
    let ground = Ground::new();
    ground.call(&["spec"]).well();
    ground.call(&["spec"]).failed("config.json");
    let path = ground.at("bundle/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("file")).expect("JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/hostname"]);
    assert_eq!(ground.write(&config).run().well(), "tsubo");
}

#[test]
fn lists() {
    let ground = Ground::new();
    assert_eq!(ground.call(&["list"]).well(), "ID  PID  STATUS  BUNDLE  CREATED  OWNER");
    assert_eq!(ground.call(&["list", "--format", "json"]).well(), "[]");
    let id = ground.script("exec sleep 100").start();
    assert_eq!(ground.call(&["list", "-q"]).well(), id);
    let table = ground.call(&["list"]).well();
    assert!(table.contains(&id) && table.contains("running") && table.contains("root"), "{table}");
    // A directory that is none of ours, and half of a container, are nothing to be listed.
    fs::create_dir(ground.at("state/half")).expect("dir");
    fs::write(ground.at("state/file"), "").expect("file");
    assert_eq!(ground.call(&["list", "-q"]).well(), id);
    ground.call(&["delete", "-f", &id]).well();
    ground.call(&["delete", "-f", "half"]).well();
    fs::remove_file(ground.at("state/file")).expect("clean");
    ground.clean();
}
