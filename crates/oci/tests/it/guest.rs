//! What takes a kernel that `criu` knows, or systemd as the first process: see `./x guest`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::Ground;

/// Counts in a file, and on its output; says when it begins.
const COUNTER: &str = "echo begun; i=0; while :; do i=$((i+1)); echo $i >/srv/count; sleep 0.1; done";

fn has(program: &str) -> bool {
    let found = ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !found {
        println!("SKIPPED: {program} is not installed (package of Debian)");
    }
    found
}

fn count(ground: &Ground) -> u64 {
    let text = fs::read_to_string(ground.at("bundle/rootfs/srv/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn counts_on(ground: &Ground, from: u64) {
    ground.until("a higher count", || count(ground) > from);
}

/// With the end of criu's log, where it fails. What was a file has to be a file again.
fn call(ground: &Ground, words: &[&str]) {
    let said = ground.detached(words);
    if said.code != 0 {
        for log in ["dump.log", "restore.log"] {
            let text = fs::read_to_string(ground.at("work").join(log)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("{log}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        panic!("{words:?}: {said:?}");
    }
}

fn paths(ground: &Ground) -> [String; 2] {
    ["images", "work"].map(|name| ground.at(name).to_str().expect("text").to_owned())
}

/// A counter goes on where it was: the same processes, memory and descriptors, in control groups with
/// the same limits.
#[test]
#[ignore = "./x guest"]
fn criu_lets_a_program_go_on_where_it_was() {
    if !has("criu") {
        return;
    }
    let ground = Ground::new();
    let mut config = Ground::config(COUNTER);
    config["root"]["readonly"] = json!(false);
    config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 } });
    let id = ground.write(&config).start();
    counts_on(&ground, 5);
    let [images, work] = paths(&ground);
    let options =
        ["--image-path", &images, "--work-path", &work, "--tcp-established", "--file-locks", "--shell-job"];
    call(&ground, &[&["checkpoint"], &options[..], &["--leave-running", &id]].concat());
    counts_on(&ground, count(&ground));
    let pid = ground.pid(&id);
    call(&ground, &[&["checkpoint"], &options[..], &[&id]].concat());
    ground.call(&["state", &id]).failed("container does not exist");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let before = count(&ground);
    call(&ground, &[&["restore"], &options[..], &["--detach", &id]].concat());
    counts_on(&ground, before);
    assert_eq!(ground.status(&id), "running");
    // It has not begun anew.
    assert_eq!(ground.output(), "begun");
    let inside =
        ground.call(&["exec", &id, "sh", "-c", "cat /proc/1/comm; hostname; cat /sys/fs/cgroup/memory.max"]);
    assert_eq!(inside.well(), "sh\ntsubo\n67108864");
    let group = fs::read_to_string(format!("/proc/{}/cgroup", ground.pid(&id))).expect("a group");
    assert!(group.contains(&id), "{group}");
    // And once more.
    call(&ground, &[&["checkpoint"], &options[..], &[&id]].concat());
    let before = count(&ground);
    call(&ground, &[&["restore"], &options[..], &["-d", &id]].concat());
    counts_on(&ground, before);
    ground.call(&["kill", &id, "KILL"]).well();
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    ground.clean();
}

/// As engines have it: pipes, a volume, the network namespace of somebody else, and a container that was
/// paused.
#[test]
#[ignore = "./x guest"]
fn criu_gives_pipes_volumes_and_networks_back() {
    if !has("criu") {
        return;
    }
    let ground = Ground::new();
    let volume = ground.at("volume");
    fs::create_dir(&volume).expect("dir");
    let mut network = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().expect("unshare");
    let space = format!("/proc/{}/ns/net", network.id());
    let own = fs::read_link("/proc/self/ns/net").expect("ours");
    ground.until("another network", || fs::read_link(&space).is_ok_and(|theirs| theirs != own));
    let mut config =
        Ground::config("echo begun; while read -r word; do echo $word; echo $word >/srv/word; done");
    let bind = json!({ "destination": "/srv", "type": "bind", "source": volume, "options": ["bind"] });
    config["mounts"].as_array_mut().expect("mounts").push(bind);
    let spaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    spaces.retain(|one| one["type"] != "network");
    spaces.push(json!({ "type": "network", "path": space }));
    ground.write(&config);
    let id = ground.id();
    let pipe = |words: &[&str]| {
        let mut command = ground.command(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("tsubo-oci");
        let ends = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        (child, ends)
    };
    let (mut run, (mut to, from)) = pipe(&["run", "--detach", &id]);
    assert!(run.wait().expect("the end").success());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(from));
    assert_eq!(lines.next().expect("a line").expect("text"), "begun");
    std::io::Write::write_all(&mut to, b"one\n").expect("a word");
    assert_eq!(lines.next().expect("a line").expect("text"), "one");
    let [images, work] = paths(&ground);
    let options = ["--image-path", &images, "--work-path", &work];
    ground.call(&["pause", &id]).well();
    call(&ground, &[&["checkpoint"], &options[..], &[&id]].concat());
    let (mut restore, (mut to, from)) = pipe(&[&["restore"], &options[..], &["--detach", &id]].concat());
    if !restore.wait().expect("the end").success() {
        println!("{}", fs::read_to_string(Path::new(&work).join("restore.log")).unwrap_or_default());
        panic!("it was not restored");
    }
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(from));
    std::io::Write::write_all(&mut to, b"two\n").expect("a word");
    assert_eq!(lines.next().expect("a line").expect("text"), "two");
    ground.until("the word", || fs::read_to_string(volume.join("word")).is_ok_and(|word| word == "two\n"));
    let theirs = fs::read_link(format!("/proc/{}/ns/net", ground.pid(&id))).expect("a network");
    assert_eq!(theirs, fs::read_link(&space).expect("a network"));
    drop(to);
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    network.kill().and_then(|()| network.wait()).expect("the end");
    ground.clean();
}

fn by_systemd() -> bool {
    let here = Path::new("/run/systemd/private").exists();
    if !here {
        println!("SKIPPED: systemd is not process 1");
    }
    here
}

/// What systemd says of a unit.
fn property(unit: &str, name: &str) -> String {
    let output =
        Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output().expect("systemctl");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn file(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).expect(name).trim().to_owned()
}

#[test]
#[ignore = "./x guest"]
fn systemd_has_a_scope_of_the_container() {
    if !by_systemd() {
        return;
    }
    let ground = Ground::new();
    let mut config = Ground::config("cat /proc/self/cgroup; exec sleep 1000");
    let id = ground.id();
    config["linux"]["cgroupsPath"] = json!(format!("tsubotest-oci.slice:oci:{id}"));
    config["linux"]["resources"] = json!({
        "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 },
        "cpu": { "shares": 2048, "quota": 50_000, "period": 100_000 },
    });
    ground.write(&config);
    let unit = format!("oci-{id}.scope");
    let group = PathBuf::from(format!("/sys/fs/cgroup/tsubotest.slice/tsubotest-oci.slice/{unit}"));
    ground.detached(&["--systemd-cgroup", "create", &id]).well();
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Slice"), "tsubotest-oci.slice");
    assert_eq!(file(&group, "cgroup.procs"), ground.pid(&id).to_string());
    let limits = || {
        let said = ["MemoryMax", "TasksMax", "CPUQuotaPerSecUSec"].map(|name| property(&unit, name));
        let kernel = ["memory.max", "pids.max", "cpu.max"].map(|name| file(&group, name));
        (said.join(" "), kernel.join(" "))
    };
    let wanted = |said: &str, kernel: &str| (said.to_owned(), kernel.to_owned());
    assert_eq!(limits(), wanted("67108864 50 500ms", "67108864 50 50000 100000"));
    ground.call(&["start", &id]).well();
    // Of its own, so that it sees no more than that.
    ground.until("its word", || ground.output() == "0::/");
    let inside = ground.call(&["exec", &id, "sh", "-c", "cat /proc/self/cgroup; sleep 0.1"]).well();
    assert_eq!(inside, "0::/");
    ground
        .call(&[
            "update",
            "--memory",
            "128m",
            "--pids-limit",
            "60",
            "--cpu-quota",
            "25000",
            "--cpu-period",
            "100000",
            &id,
        ])
        .well();
    let updated = wanted("134217728 60 250ms", "134217728 60 25000 100000");
    assert_eq!(limits(), updated);
    assert!(Command::new("systemctl").arg("daemon-reload").status().expect("systemctl").success());
    assert_eq!(limits(), updated, "systemd undoes what it was not told");
    let metrics = ground.call(&["events", "--stats", &id]).well();
    assert!(metrics.contains("134217728"), "{metrics}");
    ground.call(&["pause", &id]).well();
    assert_eq!(ground.status(&id), "paused");
    ground.call(&["resume", &id]).well();
    ground.call(&["--systemd-cgroup", "create", &format!("{id}-2")]).failed("UnitExists");
    ground.call(&["kill", &id, "KILL"]).well();
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["--systemd-cgroup", "delete", &id]).well();
    ground.until("the end of the scope", || !group.exists() && property(&unit, "ActiveState") == "inactive");
    ground.clean();
}

#[test]
#[ignore = "./x guest"]
fn systemd_scopes_end_with_their_containers() {
    if !by_systemd() {
        return;
    }
    let ground = Ground::new();
    let id = ground.id();
    let mut config = Ground::config("echo there");
    config["linux"]["cgroupsPath"] = json!(format!(":oci:{id}"));
    let unit = format!("oci-{id}.scope");
    let group = PathBuf::from(format!("/sys/fs/cgroup/system.slice/{unit}"));
    assert_eq!(ground.write(&config).call(&["--systemd-cgroup", "run", &id]).well(), "there");
    ground.until("the end of the scope", || !group.exists());
    // One that runs is ended with all that it has begun.
    config["process"]["args"] = json!(["/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait"]);
    ground.write(&config).detached(&["--systemd-cgroup", "run", "--detach", &id]).well();
    ground.until("its word", || ground.output() == "up");
    assert_eq!(property(&unit, "ActiveState"), "active");
    ground.call(&["delete", "--force", &id]).well();
    ground.until("the end of the scope", || !group.exists() && property(&unit, "ActiveState") == "inactive");
    // A container that fails to be made leaves no scope.
    config["process"]["args"] = json!(["/no/such"]);
    ground.write(&config).call(&["--systemd-cgroup", "run", &id]).failed("executable file not found");
    ground.until("the end of the scope", || !group.exists());
    config["linux"]["cgroupsPath"] = json!("/a/path");
    ground.write(&config).call(&["--systemd-cgroup", "run", &id]).failed("slice:prefix:name");
    ground.clean();
}
