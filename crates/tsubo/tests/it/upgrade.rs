//! Containers outlive the programs that started them: an upgrade and a downgrade while they run, and
//! keepers that speak as no version of ours ever did.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::base::compile;
use crate::support::busybox::installed;
use crate::support::{House, ended, fail, have, one_clear_error, succeed, until};

/// `tsubo` and `tsubo-keeper` somewhere.
struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// As they were built.
    fn built() -> Self {
        Self { dir: Path::new(env!("CARGO_BIN_EXE_tsubo")).with_file_name("") }
    }

    /// Puts other programs there, as a package manager does: under another name first. `mark` makes
    /// them different files.
    fn put(dir: PathBuf, mark: &str) -> Self {
        std::fs::create_dir_all(&dir).expect("mkdir");
        for name in ["tsubo", "tsubo-keeper"] {
            let mut bytes = std::fs::read(Self::built().dir.join(name)).expect("read");
            bytes.extend(mark.as_bytes());
            let new = dir.join(format!("{name}.new"));
            std::fs::write(&new, bytes).expect("write");
            crate::support::mode(&new, 0o755);
            std::fs::rename(&new, dir.join(name)).expect("rename");
        }
        Self { dir }
    }

    fn command(&self, house: &House, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("tsubo"));
        command.arg("--root").arg(house.elsewhere()).args(args).current_dir(house.dir());
        command.env_remove("TSUBO_KEEPER").stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn ok(&self, house: &House, args: &[&str]) -> String {
        succeed(self.command(house, args))
    }

    #[track_caller]
    fn row(&self, house: &House, name: &str) -> Value {
        let rows: Value =
            serde_json::from_str(&self.ok(house, &["ps", "-a", "--format", "json"])).expect("JSON");
        let row = rows.as_array().into_iter().flatten().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("no {name} in {rows:#}")).clone()
    }
}

const SCRIPT: &str = "echo up; while test ! -e /tmp/go; do sleep 0.02; done; exit 3";

/// Containers of every state, started by `old`.
fn start(house: &House, old: &Programs, running: usize) {
    for number in 0..running {
        old.ok(house, &["run", "-d", "--name", &format!("c{number}"), "web"]);
    }
    old.ok(house, &["run", "-d", "--name", "policy", "--restart", "always", "web"]);
    old.ok(house, &["run", "-d", "--name", "paused", "web"]);
    old.ok(house, &["pause", "paused"]);
    old.ok(house, &["create", "--name", "made", "web"]);
    old.ok(house, &["run", "-d", "--name", "ended", "web", "/bin/sh", "-c", "echo bye; exit 7"]);
    until("its end", || old.row(house, "ended")["exit_code"] == 7);
}

/// Everything that can be done to them, by `new`.
fn manage(house: &House, new: &Programs, running: usize) {
    for number in 0..running {
        let name = format!("c{number}");
        assert_eq!(new.row(house, &name)["status"], "running");
        assert_eq!(new.ok(house, &["exec", &name, "/bin/echo", "in"]), "in\n");
        until("its log", || new.ok(house, &["logs", &name]).contains("up"));
        assert!(new.ok(house, &["top", &name]).contains("/bin/sh"));
    }
    let mut wait = new.command(house, &["wait", "c0"]);
    let wait = wait.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wait");
    new.ok(house, &["update", "--ulimit", "nofile=100", "c0"]);
    new.ok(house, &["rename", "c1", "other"]);
    new.ok(house, &["exec", "c0", "/bin/touch", "/tmp/go"]);
    let waited = ended(wait, "tsubo wait");
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "3\n", "{waited:?}");
    for name in ["c0", "ended", "made"] {
        new.ok(house, &["start", name]);
    }
    assert_eq!(new.ok(house, &["exec", "c0", "/bin/sh", "-c", "ulimit -n"]), "100\n");
    // Its keeper, of the old programs, starts it again by itself, whatever has become of those.
    new.ok(house, &["exec", "policy", "/bin/touch", "/tmp/go"]);
    until("another life", || new.row(house, "policy")["restarts"] == 1);
    until("it runs", || new.row(house, "policy")["status"] == "running");
    assert_eq!(new.ok(house, &["exec", "policy", "/bin/echo", "in"]), "in\n");
    new.ok(house, &["unpause", "paused"]);
    new.ok(house, &["restart", "-t", "0", "paused"]);
    new.ok(house, &["stop", "-t", "0", "other", "policy", "paused", "made"]);
    new.ok(house, &["rm", "other", "paused", "made"]);
    new.ok(house, &["rm", "-f", "c0", "policy", "ended"]);
    (2..running).for_each(|number| _ = new.ok(house, &["rm", "-f", &format!("c{number}")]));
    assert_eq!(new.ok(house, &["ps", "-a", "--format", "json"]).trim(), "[]");
}

#[test]
fn fault_f16_the_programs_are_replaced_while_containers_run() {
    let running = if std::env::var_os("TSUBO_SOAK").is_some() { 50 } else { 3 };
    let command = json!({"command": ["/bin/sh", "-c", SCRIPT], "writable": ["/tmp"]});
    let Some(house) = installed(|tar| tar, command) else { return };
    // In the same place, as a package manager does it.
    let old = Programs::put(house.path("programs"), "the first");
    start(&house, &old, running);
    let new = Programs::put(house.path("programs"), "the second");
    manage(&house, &new, running);
    // To another place, the first gone; and back.
    for (from, to) in [("one", "two"), ("two", "one")] {
        let old = Programs::put(house.path(from), from);
        start(&house, &old, running);
        std::fs::remove_dir_all(&old.dir).expect("remove");
        manage(&house, &Programs::put(house.path(to), to), running);
    }
}

/// Adds what a later version may write; the objects at `places` get a word that nobody knows.
fn as_of_later(file: &Path, version: Option<u32>, places: &[&str]) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(file).expect("read")).expect("JSON");
    for place in places {
        value.pointer_mut(place).unwrap_or_else(|| panic!("{place}"))["of a later version"] = json!([1]);
    }
    version.into_iter().for_each(|version| value["version"] = json!(version));
    std::fs::write(file, value.to_string()).expect("write");
}

#[test]
fn fault_f16_containers_of_a_later_version_can_be_seen_stopped_and_removed() {
    let command = json!({"command": ["/bin/sh", "-c", SCRIPT], "writable": ["/tmp"]});
    let Some(house) = installed(|tar| tar, command) else { return };
    let own = Programs::built();
    for version in [None, Some(2)] {
        let id = own.ok(&house, &["run", "-d", "--name", "x", "--restart", "always", "web"]);
        assert_eq!(id, "x\n");
        let id = own.row(&house, "x")["id"].as_str().expect("id").to_owned();
        let record = house.elsewhere().join("containers/x/container.json");
        as_of_later(&record, version, &["", "/spec", "/spec/process", "/life"]);
        let state = house.elsewhere().join("run/containers").join(&id).join("state.json");
        as_of_later(&state, None, &["", "/keeper", "/group"]);
        assert_eq!(own.row(&house, "x")["status"], "running");
        assert_eq!(own.ok(&house, &["exec", "x", "/bin/echo", "in"]), "in\n");
        assert!(own.ok(&house, &["logs", "x"]).contains("up"));
        own.ok(&house, &["pause", "x"]);
        own.ok(&house, &["unpause", "x"]);
        if version.is_some() {
            // What it says there may be what keeps people safe: nothing of it may be lost.
            for verb in [&["update", "--restart", "no", "x"][..], &["rename", "x", "y"]] {
                one_clear_error(&fail(own.command(&house, verb), 125), &["x", "later version"]);
            }
            own.ok(&house, &["stop", "-t", "0", "x"]);
            one_clear_error(&fail(own.command(&house, &["start", "x"]), 125), &["x", "later version"]);
        } else {
            own.ok(&house, &["stop", "-t", "0", "x"]);
            own.ok(&house, &["start", "x"]);
        }
        own.ok(&house, &["rm", "-f", "x"]);
    }
}

/// A greeting of this version of the protocol.
fn hello(version: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, version]
}

/// Answers every connection with `bytes` and closes it when the other has closed, or at once.
fn keeper_that_says(listener: UnixListener, bytes: Vec<u8>, closes: bool) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&bytes);
            while !closes && stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
        }
    });
}

#[test]
fn fault_f16_keepers_of_another_version_are_told_of_and_never_hang() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    let own = Programs::built();
    let unknown = [&hello(1)[..], &[1, 0, 0, 0, 99]].concat();
    let later = [&hello(7)[..], &[1, 0, 0, 0, 99]].concat();
    let greetings: [(&str, Vec<u8>, bool); 7] = [
        ("an older one", hello(0).to_vec(), false),
        ("a later one, with an answer that nobody knows", later, false),
        ("an answer that nobody knows", unknown, false),
        ("none at all", Vec::new(), true),
        ("nothing but a greeting", hello(1).to_vec(), true),
        ("another language", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), false),
        ("a frame without end", vec![0xff; 64], false),
    ];
    for (what, bytes, closes) in greetings {
        own.ok(&house, &["run", "-d", "--name", "x", "--restart", "always", "web"]);
        let id = own.row(&house, "x")["id"].as_str().expect("id").to_owned();
        let run = house.elsewhere().join("run/containers").join(&id);
        std::fs::rename(run.join("control"), run.join("real")).expect("rename");
        keeper_that_says(UnixListener::bind(run.join("control")).expect("bind"), bytes, closes);
        let verbs: [&[&str]; 7] = [
            &["exec", "x", "/bin/true"],
            &["pause", "x"],
            &["attach", "x"],
            &["wait", "x"],
            &["rename", "x", "y"],
            &["update", "--restart", "no", "x"],
            &["stop", "-t", "0", "x"],
        ];
        for verb in verbs {
            let mut command = own.command(&house, verb);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
            let output = ended(child, &format!("{verb:?} with a keeper that says {what}"));
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(125), "{verb:?}, {what}: {complaint}");
            one_clear_error(&complaint, &["keeper"]);
            // One that closes without a word may as well be ending.
            assert!(closes || complaint.contains("version"), "{verb:?}, {what}: {complaint}");
        }
        assert_eq!(own.row(&house, "x")["status"], "running", "nothing was half done");
        // That needs nobody to answer.
        own.ok(&house, &["rm", "-f", "x"]);
    }
}

/// In the middle of an upgrade one program is new and the other is not: whoever starts a container
/// then is told, and nothing stays of it.
#[test]
fn fault_f16_a_keeper_that_does_not_understand_its_job_is_told_of() {
    if !have(&["gcc"]) {
        return;
    }
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let programs = Programs::put(house.path("programs"), "");
    let keepers = [
        "return 1;",
        "read(0, job, sizeof job); return 1;",
        "read(0, job, sizeof job); write(0, \"\\377\\377\\377\\377\", 4); pause();",
        "read(0, job, sizeof job); write(0, \"\\1\\0\\0\\0\\143\", 5); pause();",
        "abort();",
    ];
    for body in keepers {
        let code = format!("char job[1 << 20]; int main(void) {{ {body} }}");
        let keeper = compile(&house, "keeper", &code, &["-include", "unistd.h", "-include", "stdlib.h"]);
        std::fs::rename(keeper, programs.dir.join("tsubo-keeper")).expect("rename");
        let mut command = programs.command(&house, &["run", "--name", "x", "web"]);
        // It is executed from the beginning, not only when there is nothing to do.
        command.env("TSUBO_KEEPER", programs.dir.join("tsubo-keeper"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run");
        let output = ended(child, body);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{body}: {complaint}");
        one_clear_error(&complaint, &["keeper"]);
        assert_eq!(Programs::built().ok(&house, &["ps", "-a", "--format", "json"]).trim(), "[]");
        assert_eq!(running(&programs.dir.join("tsubo-keeper")), [] as [PathBuf; 0], "{body}");
    }
}

/// Processes that execute this file, under whatever name.
fn running(program: &Path) -> Vec<PathBuf> {
    let inode = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let own = inode(program);
    let all = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    all.filter(|process| inode(&process.join("exe")) == own).collect()
}
