//! Programs at turns of a container's life.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Ground;

const OUTSIDE: [&str; 3] = ["prestart", "createRuntime", "poststart"];

/// Every kind writes its name, the state that it is told, and where it is.
fn config(ground: &Ground) -> Value {
    let log = ground.at("hooks").display().to_string();
    let mut config = Ground::config("cat /tmp/inner; echo program");
    config["root"]["readonly"] = json!(false);
    config["annotations"] = json!({ "a": "b" });
    let outer = |kind: &str| {
        let script = format!(
            "read -r state; s=${{state#*\\\"status\\\":\\\"}}; echo {kind} ${{s%%\\\"*}} $(readlink /proc/self/ns/mnt) $A >> {log}"
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "A=b"] }])
    };
    for kind in OUTSIDE.into_iter().chain(["createContainer", "poststop"]) {
        config["hooks"][kind] = outer(kind);
    }
    config["hooks"]["startContainer"] =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/inner; echo >> /tmp/inner"] }]);
    config
}

fn told(ground: &Ground) -> Vec<String> {
    let text = fs::read_to_string(ground.at("hooks")).unwrap_or_default();
    let _ = fs::remove_file(ground.at("hooks"));
    let host = fs::read_link("/proc/self/ns/mnt").expect("namespace");
    text.lines().map(|line| line.replace(&host.display().to_string(), "host")).collect()
}

#[test]
fn each_in_its_turn_and_place() {
    let ground = Ground::new();
    ground.write(&config(&ground));
    let id = ground.id();
    let check = |told: Vec<String>| {
        let words: Vec<_> = told.iter().map(|line| line.split(' ').collect::<Vec<_>>()).collect();
        let expected = [
            ["prestart", "creating", "host"],
            ["createRuntime", "creating", "host"],
            ["createContainer", "creating", "mnt"],
            ["poststart", "running", "host"],
            ["poststop", "stopped", "host"],
        ];
        assert_eq!(words.len(), expected.len(), "{told:?}");
        for (words, expected) in words.iter().zip(expected) {
            assert!(
                words[..2] == expected[..2] && words[2].starts_with(expected[2]) && words[3] == "b",
                "{told:?}"
            );
        }
    };
    let said = ground.run().well();
    let (state, rest) = said.split_once('\n').expect("two lines");
    let state: Value = serde_json::from_str(state).expect("a state");
    assert_eq!((&state["id"], &state["status"]), (&json!(id), &json!("created")));
    assert_eq!(state["annotations"], json!({ "a": "b" }));
    assert_eq!(rest, "program");
    check(told(&ground));
    ground.detached(&["create", &id]).well();
    assert_eq!(told(&ground).len(), 3);
    ground.call(&["start", &id]).well();
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    assert_eq!(told(&ground).len(), 2);
    ground.clean();
}

#[test]
fn one_that_fails_ends_the_container() {
    let ground = Ground::new();
    let id = ground.id();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let mut config = config(&ground);
        config["hooks"][kind] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo oh no >&2; exit 4"] }]);
        ground.write(&config);
        let said = ground.run();
        assert!(
            said.error.contains(&format!("{kind} hook #0 (/bin/sh): exit status 4, output: \"oh no\"")),
            "{said:?}"
        );
        assert!(said.code != 0 && !said.out.contains("program"), "{said:?}");
        assert_eq!(told(&ground).last().map(|line| line.starts_with("poststop")), Some(true));
        ground.clean();
    }
    // What start runs ends it too, and leaves it to be deleted.
    ground.detached(&["create", &id]).well();
    ground.call(&["start", &id]).failed("startContainer hook");
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    ground.clean();
    // Later ones are told of only.
    for kind in ["poststart", "poststop"] {
        let mut config = config(&ground);
        config["hooks"][kind] = json!([{ "path": "/bin/false" }]);
        ground.write(&config);
        let log = ground.at("log");
        ground.call(&["--log", log.to_str().expect("text"), "run", &id]).well();
        let log = fs::read_to_string(log).expect("log");
        assert!(log.contains(&format!("{kind} hook #0 (/bin/false)")), "{log}");
    }
    ground.clean();
}

#[test]
fn attack_12_one_that_takes_too_long_is_killed_with_all_that_it_has_started() {
    let ground = Ground::new();
    for kind in ["createRuntime", "createContainer"] {
        let mut config = config(&ground);
        let mark = format!("90.{}", std::process::id());
        let script = format!("sleep {mark} & sleep {mark}");
        config["hooks"][kind] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"], "timeout": 1 }]);
        ground.write(&config).run().failed("it has not ended within 1 s, and was killed");
        let alive = || {
            fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
                let command = fs::read_to_string(entry.path().join("cmdline"));
                command.is_ok_and(|command| command.starts_with("sleep") && command.contains(&mark))
            })
        };
        ground.until("their end", || !alive());
        ground.clean();
    }
}

#[test]
fn attack_12_one_that_reads_nothing_keeps_nobody_waiting() {
    let ground = Ground::new();
    let mut config = Ground::config("true");
    config["annotations"] = json!({ "long": "x".repeat(1 << 20) });
    config["hooks"]["prestart"] = json!([{ "path": "/bin/true" }]);
    ground.write(&config).run().well();
    ground.clean();
}
