//! One more process.

use std::fs;

use serde_json::json;

use crate::harness::Ground;

fn running() -> (Ground, String) {
    let ground = Ground::new();
    let mut config = Ground::config("exec sleep 100");
    config["process"]["env"] = json!(["PATH=/bin", "WHERE=inside"]);
    let id = ground.write(&config).start();
    (ground, id)
}

#[test]
fn options_say_what_it_is() {
    let (ground, id) = running();
    let script = "echo $WHERE $MORE; id; pwd; readlink /proc/self/ns/pid; grep -E 'CapEff|NoNewPrivs' /proc/self/status";
    let said = ground.call(&[
        "exec",
        "--env",
        "MORE=x y",
        "--cwd",
        "/srv",
        "--user",
        "5:6",
        "-g",
        "7",
        "--cap",
        "CAP_CHOWN",
        &id,
        "sh",
        "-c",
        script,
    ]);
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", ground.pid(&id))).expect("namespace");
    let expected = format!(
        "inside x y\nuid=5 gid=6 groups=7\n/srv\n{}\nCapEff:\t0000000000000000\nNoNewPrivs:\t1",
        namespace.display()
    );
    assert_eq!(said.well(), expected);
    assert_eq!(ground.call(&["exec", &id, "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(ground.call(&["exec", &id, "sh", "-c", "kill -9 $$"]).code, 137);
    ground.call(&["exec", &id, "nothing"]).failed("executable file not found in $PATH");
    ground.call(&["exec", "--user", "4294967296", &id, "id"]).failed("no number of a user");
    ground.call(&["exec", "--user", "4294967295", &id, "id"]).failed("no number of a user");
    ground.call(&["exec", "--user", "name", &id, "id"]).failed("no number of a user");
    ground.call(&["exec", "--cwd", "/proc/self/fd/9", &id, "id"]).failed("");
    ground.call(&["exec", "--cwd", "srv", &id, "id"]).failed("no absolute path");
    ground.call(&["exec", &id]).failed("no command");
    ground.call(&["delete", "-f", &id]).well();
    ground.call(&["exec", &id, "true"]).failed("container does not exist");
    ground.clean();
}

#[test]
fn a_document_says_what_it_is() {
    let (ground, id) = running();
    let process = json!({
        "args": ["sh", "-c", "id -u; pwd; ls /proc/self/fd | xargs; echo $A"], "cwd": "/srv", "env": ["PATH=/bin", "A=b"],
        "user": { "uid": 3, "gid": 3 },
    });
    let path = ground.at("process.json");
    fs::write(&path, process.to_string()).expect("document");
    let path = path.to_str().expect("text");
    assert_eq!(ground.call(&["exec", "--process", path, &id]).well(), "3\n/srv\n0 1 2 3\nb");
    assert_eq!(ground.call(&["exec", &id, "--process", path]).well(), "3\n/srv\n0 1 2 3\nb");
    ground.call(&["delete", "-f", &id]).well();
}

#[test]
fn one_that_nobody_stays_with() {
    let (ground, id) = running();
    let file = ground.at("pid");
    let file = file.to_str().expect("text");
    ground.detached(&["exec", "--detach", "--pid-file", file, &id, "sleep", "90"]).well();
    let pid = fs::read_to_string(file).expect("pid file");
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it lives");
    assert_eq!(command, "sleep\x0090\0");
    let listed = ground.call(&["ps", "--format", "json", &id]).well();
    assert!(listed.contains(&pid), "{listed}");
    let table = ground.call(&["ps", &id, "-o", "pid,args"]).well();
    assert!(table.contains("sleep 90") && table.lines().count() == 3, "{table}");
    ground.call(&["delete", "-f", &id]).well();
    assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    ground.clean();
}

#[test]
fn attack_22_a_stopped_container_takes_none() {
    let ground = Ground::new();
    let id = ground.script("true").start();
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["exec", &id, "true"]).failed("cannot exec in a stopped container");
    ground.call(&["pause", &id]).failed("container not running");
    ground.call(&["delete", &id]).well();
    ground.clean();
}
