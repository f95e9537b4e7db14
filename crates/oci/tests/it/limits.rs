//! Control groups: limits, figures, changes, and their end.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::Ground;

fn with_memory(ground: &Ground, script: &str) -> Value {
    let mut config = Ground::config(script);
    config["linux"]["cgroupsPath"] = json!(format!("/{}/deep/group", ground.name));
    config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    config["linux"]["resources"]["pids"] = json!({ "limit": 32 });
    config
}

/// Where a process is, by controller; version 2 where there is no such hierarchy.
fn group(pid: i32, controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = |wanted: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let names = fields.next()?;
            names.split(',').any(|name| name == wanted).then(|| fields.next().map(str::to_owned))?
        })
    };
    match path(controller) {
        Some(path) => Some(PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}"))),
        None => Some(PathBuf::from(format!("/sys/fs/cgroup{}", path("")?))),
    }
}

fn number(directory: &Path, names: &[&str]) -> String {
    let text = names.iter().find_map(|name| fs::read_to_string(directory.join(name)).ok());
    text.expect("a file").trim().to_owned()
}

#[test]
fn limits_are_there_before_the_program_and_can_be_changed() {
    let ground = Ground::new();
    let config = with_memory(&ground, "exec sleep 100");
    let id = ground.write(&config).id();
    ground.detached(&["create", &id]).well();
    let directory = group(ground.pid(&id), "memory").expect("a group");
    assert!(directory.ends_with(format!("{}/deep/group", ground.name)), "{}", directory.display());
    let files = ["memory.limit_in_bytes", "memory.max"];
    assert_eq!(number(&directory, &files), (64 << 20).to_string());
    ground.call(&["start", &id]).well();
    ground.call(&["update", "--memory", "32m", "--pids-limit", "16", &id]).well();
    assert_eq!(number(&directory, &files), (32 << 20).to_string());
    let pids = group(ground.pid(&id), "pids").expect("a group");
    assert_eq!(number(&pids, &["pids.max"]), "16");
    let mut update = ground.command(&["update", "-r", "-", &id]);
    let mut update = update.stdin(std::process::Stdio::piped()).spawn().expect("tsubo-oci");
    let document = json!({ "memory": { "limit": 48 << 20 } }).to_string();
    std::io::Write::write_all(&mut update.stdin.take().expect("input"), document.as_bytes())
        .expect("document");
    assert!(update.wait().expect("the end").success());
    assert_eq!(number(&directory, &files), (48 << 20).to_string());
    ground.call(&["update", "--memory", "much", &id]).failed("--memory much");
    ground.call(&["update", "--l3-cache-schema", "x", &id]).failed("resctrl");
    let stats: Value = serde_json::from_str(&ground.call(&["events", "--stats", &id]).well()).expect("JSON");
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(id)));
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], json!(48 << 20));
    assert_eq!(stats["data"]["pids"]["limit"], json!(16));
    ground.call(&["delete", "--force", &id]).well();
    assert!(!directory.exists() && !directory.parent().expect("above").exists());
    ground.clean();
}

#[test]
fn lack_of_memory_is_an_event() {
    let ground = Ground::new();
    let mut config = with_memory(
        &ground,
        "while [ ! -e /tmp/go ]; do sleep 0.05; done; x=$(dd if=/dev/zero bs=1M count=200 | tr '\\0' a); echo survived",
    );
    config["root"]["readonly"] = json!(false);
    config["linux"]["resources"]["memory"] = json!({ "limit": 24 << 20, "swap": 24 << 20 });
    let id = ground.write(&config).start();
    let out = fs::File::create(ground.at("events")).expect("a file");
    let mut events =
        ground.command(&["events", "--interval", "50ms", &id]).stdout(out).spawn().expect("tsubo-oci");
    let told = || fs::read_to_string(ground.at("events")).expect("text");
    ground.until("figures", || told().contains("\"stats\""));
    fs::write(ground.at("bundle/rootfs/tmp/go"), "").expect("a file");
    assert!(events.wait().expect("the end").success());
    let told = told();
    assert!(told.contains(&format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}")), "{told}");
    assert!(!ground.output().contains("survived"));
    ground.call(&["delete", &id]).well();
    ground.clean();
}

#[test]
fn attack_32_devices_are_closed_but_for_the_usual_ones() {
    let ground = Ground::new();
    let mut config = Ground::config(
        "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk 2>&1; head -c 1 /dev/zero | wc -c; echo x > /dev/null",
    );
    config["root"]["readonly"] = json!(false);
    let all = json!(["CAP_MKNOD"]);
    config["process"]["capabilities"] = json!({ "bounding": all, "permitted": all, "effective": all });
    let said = ground.write(&config).run().well();
    assert!(said.ends_with("\n1") && said.contains("Operation not permitted"), "{said}");
    ground.clean();
}

#[test]
fn a_process_that_joins_is_in_the_groups_too() {
    let ground = Ground::new();
    let id = ground.write(&with_memory(&ground, "exec sleep 100")).start();
    ground
        .detached(&["exec", "-d", "--pid-file", ground.at("pid").to_str().expect("text"), &id, "sleep", "99"])
        .well();
    let pid: i32 = fs::read_to_string(ground.at("pid")).expect("pid").parse().expect("a number");
    for controller in ["memory", "pids", "cpu"] {
        assert_eq!(group(pid, controller), group(ground.pid(&id), controller));
    }
    ground.call(&["kill", "--all", &id, "KILL"]).well();
    ground.until("their end", || {
        ground.status(&id) == "stopped" && !Path::new(&format!("/proc/{pid}/exe")).exists()
    });
    ground.call(&["delete", &id]).well();
    ground.clean();
}

#[test]
fn what_the_host_cannot_enforce_is_refused_before_anything_is_made() {
    let ground = Ground::new();
    let mut config = with_memory(&ground, "true");
    config["linux"]["resources"]["memory"]["kernel"] = json!(1 << 20);
    ground.write(&config).run().failed("kernel");
    ground.clean();
    let mut config = with_memory(&ground, "true");
    config["linux"]["cgroupsPath"] = json!("/../up");
    ground.write(&config).run().failed("cgroupsPath");
    let said = ground.script("true").call(&["--systemd-cgroup", "run", &ground.id()]);
    if !Path::new("/run/systemd/system").is_dir() {
        said.failed("groups cannot be had from systemd");
    }
    ground.clean();
}
