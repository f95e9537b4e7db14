//! containerd, driven by `ctr`.

use std::fs;
use std::path::Path;
use std::process::Child;

use serde_json::json;

use crate::house::House;
use crate::image;
use crate::like_docker as like;
use crate::said::Said;

const DAEMON: &str = "/usr/bin/containerd";
const CLIENT: &str = "/usr/bin/ctr";
pub(crate) const IMAGE: &str = "docker.io/library/box:latest";

/// What would want other file systems, or the network.
const UNUSED: &str = "\"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\", \
    \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.aufs\"";

/// What pods come by.
const PODS: &str = "\"io.containerd.grpc.v1.cri\"";

pub(crate) struct Containerd {
    pub(crate) house: House,
    daemon: Child,
}

impl Containerd {
    fn new() -> Option<Self> {
        Self::with(&format!("{UNUSED}, {PODS}"), "", "default")
    }

    /// One that has pods; the paths of its `settings` that begin with `CNI` are its own.
    pub(crate) fn for_pods(settings: &str) -> Option<Self> {
        Self::with(UNUSED, settings, "k8s.io")
    }

    fn with(unused: &str, settings: &str, namespace: &str) -> Option<Self> {
        let house = House::for_programs(&[DAEMON, CLIENT])?;
        let at = |name: &str| house.at(name);
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [{unused}]\n\
             [grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{}\"\n{}",
            at("root"),
            at("state"),
            at("sock"),
            at("ttrpc"),
            at("opt"),
            settings.replace("CNI", &at("cni")),
        );
        fs::write(at("config.toml"), config).expect("a file");
        let daemon = house.daemon(&[DAEMON, "-c", &at("config.toml")]);
        let containerd = Self { house, daemon };
        containerd.house.until("containerd", || containerd.ctr(&["version"]).code == 0);
        containerd.ctr(&["-n", namespace, "image", "import", &archive(&containerd.house)]).well();
        Some(containerd)
    }

    /// Ends it.
    pub(crate) fn end(mut self) {
        drop(self.house);
        let _ = self.daemon.wait();
    }

    fn all<'a>(socket: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        [&[CLIENT, "-a", socket], words].concat()
    }

    fn ctr(&self, words: &[&str]) -> Said {
        self.house.call(&Self::all(&self.house.at("sock"), words))
    }

    /// Runs a script as container `id`.
    fn run(&self, id: &str, options: &[&str], script: &str) -> Said {
        let group = format!("/{}/{id}", self.house.name);
        self.ctr(&run_words(&group, id, options, &["sh", "-c", script]))
    }

    fn start(&self, id: &str, options: &[&str], script: &str) {
        self.run(id, &[&["-d"], options].concat(), script).well();
    }

    fn exec(&self, id: &str, name: &str, script: &str) -> Said {
        self.ctr(&["task", "exec", "--exec-id", name, id, "sh", "-c", script])
    }

    fn task(&self, verb: &str, id: &str) -> Said {
        self.ctr(&["task", verb, id])
    }

    /// Waits until the task is in this state.
    #[track_caller]
    fn is(&self, id: &str, state: &str) {
        let line = || {
            self.ctr(&["task", "ls"]).out.lines().any(|line| line.starts_with(id) && line.ends_with(state))
        };
        self.house.until(state, line);
    }

    fn remove(&self, id: &str) {
        // It tells by its exit code how the task has ended.
        self.ctr(&["task", "rm", "-f", id]);
        self.ctr(&["container", "rm", id]).well();
    }
}

fn run_words<'a>(group: &'a str, id: &'a str, options: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
    let runtime = ["--runtime", "io.containerd.runc.v2", "--runc-binary", env!("CARGO_BIN_EXE_tsubo-oci")];
    [&["run", "--cgroup", group], &runtime[..], options, &[IMAGE, id], program].concat()
}

/// The image as `docker save` would write it.
fn archive(house: &House) -> String {
    let save = house.at("save");
    fs::create_dir(&save).expect("a directory");
    let layer = Path::new(&save).join("layer.tar");
    image::tar(Path::new(&house.at("image")), &layer);
    let sum = house.call(&["sha256sum", layer.to_str().expect("text")]).well();
    let digest = format!("sha256:{}", sum.split(' ').next().expect("a sum"));
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Env": ["PATH=/bin"], "Cmd": ["sleep", "1000"] },
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["box:latest"], "Layers": ["layer.tar"] }]);
    fs::write(format!("{save}/config.json"), config.to_string()).expect("a file");
    fs::write(format!("{save}/manifest.json"), manifest.to_string()).expect("a file");
    let to = house.at("image.tar");
    image::pack(Path::new(&save), Path::new(&to));
    to
}

fn with(what: impl FnOnce(&Containerd)) {
    if let Some(containerd) = Containerd::new() {
        let left = containerd.house.left();
        what(&containerd);
        containerd.ctr(&["task", "ls", "-q"]).says("");
        containerd.house.only(&left);
        containerd.house.call(&["sh", "-c", "ls /run/containerd/runc/default 2>/dev/null; :"]).says("");
        containerd.end();
    }
}

#[test]
fn containerd_runs() {
    with(|containerd| {
        containerd.run("a", &["--rm", "--env", "A=b", "--cwd", "/data"], "echo $A; pwd; exit 6").ended(6);
        containerd
            .run(
                "b",
                &["--rm", "--read-only", "--seccomp"],
                "touch /x 2>/dev/null || grep ^Seccomp: /proc/self/status",
            )
            .says("Seccomp:\t2");
        let group = format!("/{}/t", containerd.house.name);
        let words =
            run_words(&group, "t", &["--rm", "-t"], &["sh", "-c", "tty; test -t 0 && echo yes; exit 5"]);
        let socket = containerd.house.at("sock");
        let said = containerd.house.in_terminal(&Containerd::all(&socket, &words)).ended(5);
        assert!(said.contains("/dev/pts/0") && said.contains("yes"), "{said}");
        let mount = format!("type=bind,src={},dst=/mnt,options=rbind:ro", containerd.house.at("image"));
        containerd
            .run("m", &["--rm", "--mount", &mount], "touch /mnt/x 2>/dev/null || cat /mnt/etc/plain")
            .says("no program");
        let missing = containerd.ctr(&run_words(&group, "n", &["--rm"], &["/no/such"]));
        assert!(missing.code != 0 && missing.error.contains("no such file"), "{missing:?}");
        containerd.ctr(&["container", "rm", "n"]);
    });
}

#[test]
fn containerd_executes_and_ends() {
    with(|containerd| {
        containerd.start("c", &[], "trap 'exit 9' TERM; while :; do sleep 0.1; done");
        containerd.exec("c", "one", "echo there; exit 3").ended(3);
        containerd
            .ctr(&["task", "exec", "--exec-id", "two", "--user", "1000:1000", "c", "id", "-u"])
            .says("1000");
        let socket = containerd.house.at("sock");
        let words = Containerd::all(
            &socket,
            &["task", "exec", "--exec-id", "three", "-t", "c", "sh", "-c", "tty; exit 4"],
        );
        let said = containerd.house.in_terminal(&words).ended(4);
        assert!(said.contains("/dev/pts/"), "{said}");
        containerd.ctr(&["task", "exec", "--exec-id", "four", "-d", "c", "touch", "/tmp/done"]).well();
        containerd.house.until("the file", || containerd.exec("c", "look", "test -e /tmp/done").code == 0);
        containerd.task("ps", "c").mentions("PID");
        containerd.task("pause", "c").well();
        containerd.is("c", "PAUSED");
        containerd.task("resume", "c").well();
        containerd.is("c", "RUNNING");
        containerd.task("kill", "c").well();
        containerd.is("c", "STOPPED");
        let removed = containerd.task("rm", "c");
        assert!(removed.error.contains("exit code 9"), "{removed:?}");
        containerd.ctr(&["task", "start", "-d", "c"]).well();
        containerd.is("c", "RUNNING");
        containerd.ctr(&["task", "kill", "-s", "SIGKILL", "-a", "c"]).well();
        containerd.is("c", "STOPPED");
        containerd.remove("c");
    });
}

#[test]
fn containerd_limits() {
    with(|containerd| {
        containerd.start("l", &["--memory-limit", "33554432", "--cpus", "0.5"], "sleep 100");
        let file = format!("/sys/fs/cgroup/memory/{}/l/memory.limit_in_bytes", containerd.house.name);
        assert_eq!(fs::read_to_string(file).expect("a limit").trim(), "33554432");
        containerd.ctr(&["task", "metrics", "--format", "json", "l"]).mentions("\"memory\"");
        let socket = containerd.house.at("sock");
        let words =
            [&["setpriv", "--pdeathsig", "KILL"], &Containerd::all(&socket, &["events"])[..]].concat();
        let mut events = containerd.house.command(&words);
        let heard = containerd.house.at("events");
        let mut events = events.stdout(fs::File::create(&heard).expect("a file")).spawn().expect("ctr");
        containerd.exec("l", "greedy", "tail /dev/zero; exit $?").ended(137);
        let told = || fs::read_to_string(&heard).is_ok_and(|text| text.contains("/tasks/oom"));
        containerd.house.until("word of the OOM", told);
        events.kill().expect("an end");
        let _ = events.wait();
        containerd.remove("l");
    });
}

#[test]
fn containerd_maps_users_and_shares_namespaces() {
    with(|containerd| {
        let map = ["--rm", "--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"];
        let said = containerd.run("u", &map, "cat /proc/self/uid_map").well();
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "1000"]);
        containerd.start("back", &["--net-host"], like::SERVICE);
        containerd.run("front", &["--rm", "--net-host"], like::CLIENT).says("hello");
        containerd.remove("back");
    });
}
