//! Engines from the distribution, with this program for their runtime.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Ground, Said};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tsubo-oci");

fn installed(program: &str) -> bool {
    let there =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        println!("SKIPPED: {program} is not installed");
    }
    there
}

/// Podman with a store of its own; a short path, as it refuses long ones.
fn podman(ground: &Ground, words: &str) -> Said {
    let at = |name: &str| ground.at(name).display().to_string();
    let mut command = Command::new("podman");
    command.args([
        "--root",
        &at("s"),
        "--runroot",
        &at("r"),
        "--tmpdir",
        &at("t"),
        "--storage-driver",
        "vfs",
    ]);
    command.args(["--cgroup-manager", "cgroupfs", "--runtime", PROGRAM]);
    let mut words: Vec<&str> = words.split(' ').collect();
    let script = words.iter().position(|word| *word == "SCRIPT");
    let rest = script.map(|at| words.split_off(at)[1..].join(" "));
    command.args(words).args(rest).stdin(Stdio::null());
    command.output().expect("podman").into()
}

/// It makes directories in the root.
fn start(ground: &Ground, options: &str, script: &str) -> Said {
    let root = ground.at("bundle/rootfs").display().to_string();
    let limits = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --network none";
    podman(ground, &format!("run {options} {limits} --rootfs {root} sh -c SCRIPT {script}"))
}

/// What a failed test leaves.
struct Podman<'a>(&'a Ground);

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        podman(self.0, "rm --all --force --time 0");
    }
}

#[test]
fn podman_runs_stops_and_executes() {
    if !installed("podman") || !Path::new("/usr/bin/conmon").exists() {
        return;
    }
    let ground = Ground::new();
    let _podman = Podman(&ground);
    let name = ground.name.clone();
    let said = start(&ground, "--rm --memory 64m --pids-limit 50", "echo out; echo error >&2; exit 3");
    assert_eq!((said.code, said.out.as_str(), said.error.as_str()), (3, "out", "error"));
    // With a terminal, users, a volume, a tmpfs.
    fs::create_dir(ground.at("volume")).expect("dir");
    fs::write(ground.at("volume/file"), "shared").expect("file");
    fs::create_dir(ground.at("bundle/rootfs/volume")).expect("dir");
    let volume = format!("-v {}:/volume:ro --tmpfs /tmp:size=1m", ground.at("volume").display());
    assert_eq!(
        start(&ground, &format!("--rm -t {volume}"), "tty; cat /volume/file").well(),
        "/dev/pts/0\r\nshared"
    );
    let users = format!("--rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 {volume}");
    let mapped = start(&ground, &users, "cat /proc/self/uid_map | xargs; cat /volume/file").well();
    assert_eq!(mapped, "0 100000 65536\nshared");
    let root = ground.at("bundle/rootfs").display().to_string();
    let limits = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --network none";
    for (program, code) in [("nothing", 127), ("/etc", 126)] {
        assert_eq!(podman(&ground, &format!("run --rm {limits} --rootfs {root} {program}")).code, code);
    }
    // One that stays.
    let script = "trap 'echo asked; exit 5' TERM; echo began; while :; do sleep 0.1; done";
    start(&ground, &format!("-d --name {name}"), script).well();
    assert_eq!(podman(&ground, &format!("exec {name} sh -c SCRIPT id -u; exit 4")).code, 4);
    assert_eq!(podman(&ground, &format!("exec -t {name} tty")).well(), "/dev/pts/0");
    assert_eq!(podman(&ground, &format!("exec {name} nothing")).code, 127);
    podman(&ground, &format!("pause {name}")).well();
    assert!(podman(&ground, "ps -a").well().contains("Paused"));
    podman(&ground, &format!("unpause {name}")).well();
    podman(&ground, &format!("restart -t 5 {name}")).well();
    podman(&ground, &format!("stop -t 5 {name}")).well();
    let logs = podman(&ground, &format!("logs {name}")).well();
    assert_eq!(logs.lines().collect::<Vec<_>>(), ["began", "asked", "began", "asked"]);
    assert!(podman(&ground, "ps -a").well().contains("Exited (5)"));
    podman(&ground, &format!("rm {name}")).well();
    ground.clean();
}

/// Ended with the test.
struct Containerd(std::process::Child);

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = sys::process::kill(self.0.id() as i32, 15);
        let _ = self.0.wait();
    }
}

#[test]
fn containerd_runs_stops_and_executes() {
    if !installed("containerd") || !installed("ctr") {
        return;
    }
    let ground = Ground::new();
    let at = |name: &str| ground.at(name).display().to_string();
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
        at("root"),
        at("run"),
        at("c.sock"),
        at("t.sock")
    );
    fs::write(ground.at("config.toml"), config).expect("configuration");
    let log = fs::File::create(ground.at("log")).expect("log");
    let mut command = Command::new("containerd");
    command.arg("-c").arg(ground.at("config.toml")).stdout(log.try_clone().expect("dup")).stderr(log);
    let _containerd = Containerd(command.spawn().expect("containerd"));
    let call = |words: &[&str]| {
        let mut command = Command::new("ctr");
        command.args(["-a", &at("c.sock"), "-n", &ground.name]).args(words).stdin(Stdio::null());
        Said::from(command.output().expect("ctr"))
    };
    ground.until("containerd", || call(&["version"]).code == 0);
    let (id, root) = (ground.id(), at("bundle/rootfs"));
    let run = |options: &[&str], script: &str| {
        let state = at("state");
        let words = [&["run", "--runc-binary", PROGRAM, "--runc-root", &state, "--rootfs"][..], options];
        call(&[&words.concat()[..], &[&root, &id, "sh", "-c", script]].concat())
    };
    let said = run(&["--rm"], "echo out; exit 3");
    assert_eq!((said.code, said.out.as_str()), (3, "out"));
    run(&["-d", "--memory-limit", "67108864"], "trap 'exit 5' TERM; while :; do sleep 0.1; done").well();
    assert!(call(&["task", "ls"]).well().contains("RUNNING"));
    let said = call(&["task", "exec", "--exec-id", "e", &id, "sh", "-c", "echo inside; exit 4"]);
    assert_eq!((said.code, said.out.as_str()), (4, "inside"));
    call(&["task", "pause", &id]).well();
    assert!(call(&["task", "ls"]).well().contains("PAUSED"));
    call(&["task", "resume", &id]).well();
    assert!(call(&["task", "metrics", &id]).well().contains("memory.usage_in_bytes"));
    call(&["task", "kill", &id]).well();
    ground.until("its end", || call(&["task", "ls"]).well().contains("STOPPED"));
    let _ = call(&["task", "rm", &id]);
    call(&["c", "rm", &id]).well();
    let words = ["run", "--rm", "--runc-binary", PROGRAM, "--rootfs", &root, &id, "nothing"];
    call(&words).failed("OCI runtime create failed: exec: \"nothing\": executable file not found in $PATH");
}
