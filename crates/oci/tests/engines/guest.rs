//! Podman where systemd is the first process and has all control groups, and `criu` knows the kernel:
//! see `./x guest`. Nobody else is there, so it needs no [`House`](crate::house::House).

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::image;
use crate::said::Said;

const PROGRAM: &str = "/usr/bin/podman";

struct Podman {
    directory: TempDir,
}

impl Podman {
    /// Nothing where something is missing, which is said.
    fn new() -> Option<Self> {
        let needed = [PROGRAM, "/usr/bin/conmon", "/run/systemd/private"];
        if let Some(missing) = needed.iter().find(|path| !Path::new(path).exists()) {
            println!("SKIPPED: there is no {missing}");
            return None;
        }
        let podman = Self { directory: tempfile::tempdir().expect("a directory") };
        let tar = podman.at("image.tar");
        image::tar(Path::new(&podman.at("image")), Path::new(&tar));
        // The first Podman of a boot makes locks for all, and a second one just then fails.
        let turn = File::create("/run/tsubo-podman.turn").expect("a file");
        rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive).expect("a turn");
        podman.call(&["import", "-q", &tar, "box"]).well();
        Some(podman)
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("text").to_owned()
    }

    fn call(&self, words: &[&str]) -> Said {
        let mut command = Command::new(PROGRAM);
        for (option, name) in [("--root", "store"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.at(name));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "systemd", "--events-backend", "file"]);
        command.args(["--runtime", env!("CARGO_BIN_EXE_tsubo-oci")]).args(words);
        let (out, error) = (self.at("out"), self.at("error"));
        let file = |path: &str| File::create(path).expect("a file");
        let mut output = command.stdout(file(&out)).stderr(file(&error)).output().expect("podman");
        (output.stdout, output.stderr) = (fs::read(out).expect("output"), fs::read(error).expect("errors"));
        Said::new(words.join(" "), &output)
    }

    fn start(&self, name: &str, options: &[&str], script: &str) -> String {
        let words = [&["run", "-d", "--network=none", "--name", name], options, &["box", "sh", "-c", script]];
        self.call(&words.concat()).well()
    }

    fn end(self) {
        self.call(&["rm", "-f", "-t", "0", "-a"]).well();
    }
}

fn property(unit: &str, name: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output();
    String::from_utf8_lossy(&output.expect("systemctl").stdout).trim().to_owned()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{what} has not come to be");
}

#[test]
#[ignore = "./x guest"]
fn podman_has_scopes_of_systemd() {
    let Some(podman) = Podman::new() else { return };
    let limits = ["--memory=64m", "--pids-limit=30", "--cpus=0.5"];
    let id = podman.start("one", &limits, "sleep 1000");
    let unit = format!("libpod-{id}.scope");
    let said = |names: [&str; 3]| names.map(|name| property(&unit, name)).join(" ");
    assert_eq!(said(["ActiveState", "Slice", "MemoryMax"]), "active machine.slice 67108864");
    assert_eq!(said(["TasksMax", "CPUQuotaPerSecUSec", "Delegate"]), "30 500ms yes");
    let inside = ["memory.max", "pids.max", "cpu.max"].map(|file| format!("/sys/fs/cgroup/{file}"));
    let read = || {
        let words = [&["exec", "one", "cat"][..], &inside.each_ref().map(String::as_str)].concat();
        podman.call(&words).well().lines().collect::<Vec<_>>().join(",")
    };
    assert_eq!(read(), "67108864,30,50000 100000");
    podman.call(&["update", "--cpus=0.25", "one"]).well();
    assert_eq!(read(), "67108864,30,25000 100000");
    assert_eq!(property(&unit, "CPUQuotaPerSecUSec"), "250ms");
    let greedy = ["run", "--rm", "--network=none", "--memory=32m", "box", "tail", "/dev/zero"];
    podman.call(&greedy).ended(137);
    podman.call(&["rm", "-f", "-t", "0", "one"]).well();
    let gone = || !Path::new("/sys/fs/cgroup/machine.slice").join(&unit).exists();
    until("the end of the scope", || gone() && property(&unit, "ActiveState") == "inactive");
    podman.end();
}

#[test]
#[ignore = "./x guest"]
fn podman_by_systemd_lets_a_container_go_on() {
    let Some(podman) = Podman::new() else { return };
    if !Path::new("/usr/sbin/criu").exists() {
        println!("SKIPPED: criu is not installed (package of Debian)");
        return;
    }
    podman.start(
        "one",
        &[],
        "echo begun; i=0; while :; do i=$((i+1)); echo $i >/data/count; sleep 0.1; done",
    );
    let count = || podman.call(&["exec", "one", "cat", "/data/count"]).out.parse().unwrap_or(0u64);
    until("a count", || count() > 3);
    let before = count();
    podman.call(&["container", "checkpoint", "--file-locks", "one"]).well();
    podman.call(&["inspect", "--format", "{{.State.Running}}", "one"]).says("false");
    podman.call(&["container", "restore", "--file-locks", "one"]).well();
    until("a higher count", || count() > before);
    podman.call(&["logs", "one"]).says("begun");
    podman.end();
}
