//! What Podman and Docker have in common: their command lines.

use std::fs;
use std::path::Path;

use crate::house::{House, Left};
use crate::said::Said;

/// A service that says hello to who connects on loopback.
pub(crate) const SERVICE: &str = "while :; do echo hello | nc -l -p 8080; done";

/// Who connects, as soon as the service is there.
pub(crate) const CLIENT: &str = "for i in 0 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 8080 </dev/null 2>/dev/null && exit 0; sleep 0.3; done; exit 1";

/// Ends well when it is asked to, and says so.
const POLITE: &str =
    "trap 'echo bye; exit 0' TERM; trap 'echo user' USR1; echo up; while :; do sleep 0.1; done";

/// Podman or Docker.
pub(crate) struct Engine {
    pub(crate) house: House,
    /// The program and its options.
    pub(crate) words: Vec<String>,
    /// Options of `run`.
    pub(crate) run: Vec<String>,
    pub(crate) podman: bool,
}

impl Engine {
    fn all<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        self.words.iter().map(String::as_str).chain(words.iter().copied()).collect()
    }

    pub(crate) fn call(&self, words: &[&str]) -> Said {
        self.house.call(&self.all(words))
    }

    pub(crate) fn in_terminal(&self, words: &[&str]) -> Said {
        self.house.in_terminal(&self.all(words))
    }

    /// The words of `run` up to the image.
    fn run_words<'a>(&'a self, options: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["run"];
        words.extend(self.run.iter().map(String::as_str));
        words.extend(options);
        words.push("box");
        words
    }

    /// Runs a script.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> Said {
        self.run_program(options, &["sh", "-c", script])
    }

    fn run_program(&self, options: &[&str], program: &[&str]) -> Said {
        self.call(&[&self.run_words(options)[..], program].concat())
    }

    /// Runs a script in the background.
    pub(crate) fn start(&self, name: &str, options: &[&str], script: &str) {
        self.run(&[&["-d", "--name", name], options].concat(), script).well();
    }

    #[track_caller]
    pub(crate) fn inspect(&self, name: &str, field: &str, is: &str) {
        let said = self.call(&["inspect", "--format", &format!("{{{{{field}}}}}"), name]);
        said.says(is);
    }

    /// Waits until the log of a container has this.
    pub(crate) fn logged(&self, name: &str, words: &str) {
        self.house.until(words, || self.call(&["logs", name]).out.contains(words));
    }

    pub(crate) fn remove(&self, names: &[&str]) {
        // Docker does not wait by itself.
        let force: &[&str] = if self.podman { &["rm", "-f", "-t", "0"] } else { &["rm", "-f"] };
        self.call(&[force, names].concat()).well();
    }

    /// That no container is left, and nothing of one: no mount, group, process, or state.
    #[track_caller]
    pub(crate) fn nothing_left(&self, before: &Left) {
        self.call(&["ps", "-aq"]).says("");
        self.house.only(before);
        // Podman leaves the place of the state to the runtime, Docker's shim names one.
        for root in
            ["/run/tsubo-oci", "/run/docker/runtime-runc/moby", &self.house.at("exec/runtime-runc/moby")]
        {
            self.house.call(&["sh", "-c", &format!("ls {root} 2>/dev/null; :")]).says("");
        }
    }
}

/// Two services as a compose file would have them: a network in which they have names, a volume that
/// both see, one that waits for the other's health, and a restart of that.
pub(crate) fn stack(engine: &Engine) {
    let left = engine.house.left();
    engine.call(&["network", "create", "inner"]).well();
    engine.call(&["volume", "create", "shared"]).well();
    let own: Vec<&str> =
        engine.run.iter().map(String::as_str).filter(|word| *word != "--network=none").collect();
    let run = |name: &str, options: &[&str], script: &str| {
        let common = ["--network=inner", "-v", "shared:/data", "--name", name];
        engine.call(&[&["run"], &own[..], &common, options, &["box", "sh", "-c", script]].concat())
    };
    let clock = if engine.podman { "disable" } else { "500ms" };
    let health =
        ["--health-cmd", "grep kept /data/file", "--health-interval", clock, "--health-retries", "1"];
    let script = format!("sleep 1; echo kept >/data/file; {SERVICE}");
    run("db", &[&["-d", "--restart=always"], &health[..]].concat(), &script).well();
    engine.house.until("health", || {
        // Podman leaves the clock to systemd.
        let asked = engine.podman && engine.call(&["healthcheck", "run", "db"]).code == 0;
        asked || engine.call(&["inspect", "--format", "{{.State.Health.Status}}", "db"]).out == "healthy"
    });
    let script = format!("cat /data/file; {}", CLIENT.replace("127.0.0.1", "db"));
    run("web", &["--rm"], &script).says("kept\nhello");
    let pid = engine.call(&["inspect", "--format", "{{.State.Pid}}", "db"]).well();
    engine.house.call(&["kill", "-9", &pid]).well();
    let state = ["inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "db"];
    engine.house.until("the restart", || engine.call(&state).out == "1 running");
    run("web", &["--rm"], &script).says("kept\nhello");
    engine.remove(&["db"]);
    engine.call(&["volume", "rm", "shared"]).well();
    engine.call(&["network", "rm", "inner"]).well();
    engine.nothing_left(&left);
}

/// Output, input, exit codes and terminals.
pub(crate) fn runs(engine: &Engine) {
    let left = engine.house.left();
    engine
        .run(&["--rm", "-e", "A=b", "-w", "/data", "--hostname", "here"], "echo $A; pwd; hostname")
        .says("b\n/data\nhere");
    engine.run(&["--rm", "--user", "guest"], "id -u; exit 7").ended(7);
    engine.run_program(&["--rm"], &["/no/such"]).ended(127);
    engine.run_program(&["--rm"], &["/etc/plain"]).ended(126);
    let words =
        [&engine.run_words(&["--rm", "-it"])[..], &["sh", "-c", "tty; test -t 0 && echo yes; exit 5"]]
            .concat();
    let said = engine.in_terminal(&words).ended(5);
    assert!(said.contains("/dev/pts/0") || said.contains("/dev/console"), "{said}");
    assert!(said.contains("yes"), "{said}");
    engine.nothing_left(&left);
}

/// `exec`, of all kinds.
pub(crate) fn executes(engine: &Engine) {
    let left = engine.house.left();
    engine.start("one", &[], "sleep 100");
    engine.call(&["exec", "one", "echo", "there"]).says("there");
    engine
        .call(&[
            "exec",
            "--user",
            "1000:1000",
            "-w",
            "/data",
            "-e",
            "X=y",
            "one",
            "sh",
            "-c",
            "id -u; pwd; echo $X",
        ])
        .says("1000\n/data\ny");
    engine.call(&["exec", "one", "sh", "-c", "exit 3"]).ended(3);
    let missing = engine.call(&["exec", "one", "/no/such"]);
    assert!([126, 127].contains(&missing.code), "{missing:?}");
    engine.call(&["exec", "-d", "one", "touch", "/tmp/done"]).well();
    engine.house.until("the file", || engine.call(&["exec", "one", "test", "-e", "/tmp/done"]).code == 0);
    let said = engine.in_terminal(&["exec", "-it", "one", "sh", "-c", "tty; exit 4"]).ended(4);
    assert!(said.contains("/dev/pts/"), "{said}");
    engine.call(&["top", "one"]).mentions("sleep 100");
    engine.remove(&["one"]);
    engine.nothing_left(&left);
}

/// Limits are what was asked for, and who breaks them is told.
pub(crate) fn limits(engine: &Engine) {
    let left = engine.house.left();
    engine.start("small", &["--memory=64m", "--pids-limit=30", "--cpus=0.5"], "sleep 100");
    let read = |file: &str| {
        let text = engine.call(&["exec", "small", "cat", &format!("/sys/fs/cgroup/{file}")]).well();
        text.trim().to_owned()
    };
    assert_eq!(read("memory/memory.limit_in_bytes"), "67108864");
    assert_eq!(read("pids/pids.max"), "30");
    assert_eq!(read("cpu/cpu.cfs_quota_us"), "50000");
    engine.call(&["update", "--cpus=0.25", "small"]).well();
    assert_eq!(read("cpu/cpu.cfs_quota_us"), "25000");
    engine.call(&["stats", "--no-stream", "small"]).mentions("small");
    engine.start("greedy", &["--memory=32m", "--memory-swap=32m"], "tail /dev/zero; exit $?");
    engine.call(&["wait", "greedy"]).well();
    told_of_oom(engine, "greedy");
    engine.inspect("greedy", ".State.ExitCode", "137");
    engine.remove(&["small", "greedy"]);
    engine.nothing_left(&left);
}

/// Podman 4.3 looks for conmon's word in the bundle, conmon 2.1.6 leaves it where podman was called:
/// with runc as with any other runtime its `inspect` says `false`.
fn told_of_oom(engine: &Engine, name: &str) {
    if engine.podman {
        engine.house.until("the monitor's word", || Path::new(&engine.house.at("oom")).exists());
    } else {
        engine.inspect(name, ".State.OOMKilled", "true");
    }
}

/// Logs, stops of both kinds, signals, pauses and restarts.
pub(crate) fn ends_and_restarts(engine: &Engine) {
    let left = engine.house.left();
    engine.start("polite", &[], POLITE);
    engine.logged("polite", "up");
    engine.call(&["kill", "-s", "USR1", "polite"]).well();
    engine.logged("polite", "user");
    engine.call(&["pause", "polite"]).well();
    engine.inspect("polite", ".State.Status", "paused");
    engine.call(&["unpause", "polite"]).well();
    engine.inspect("polite", ".State.Status", "running");
    engine.call(&["stop", "polite"]).well();
    engine.inspect("polite", ".State.ExitCode", "0");
    engine.call(&["logs", "polite"]).says("up\nuser\nbye");
    engine.call(&["start", "polite"]).well();
    engine.call(&["restart", "polite"]).well();
    engine.inspect("polite", ".State.Running", "true");
    engine.start("deaf", &[], "trap '' TERM; echo up; while :; do sleep 0.1; done");
    engine.logged("deaf", "up");
    engine.call(&["stop", "-t", "1", "deaf"]).well();
    engine.inspect("deaf", ".State.ExitCode", "137");
    engine.remove(&["polite", "deaf"]);
    engine.nothing_left(&left);
}

/// Volumes, file systems in memory, devices, copies.
pub(crate) fn files(engine: &Engine) {
    let left = engine.house.left();
    let volume = engine.house.at("volume");
    fs::create_dir(&volume).expect("a directory");
    let writable = format!("{volume}:/v");
    engine.run(&["--rm", "-v", &writable], "echo in >/v/file").well();
    assert_eq!(fs::read_to_string(format!("{volume}/file")).expect("the file"), "in\n");
    let only = format!("{volume}:/v:ro");
    engine.run(&["--rm", "-v", &only], "cat /v/file; touch /v/other 2>/dev/null || echo no").says("in\nno");
    let sealed = ["--rm", "--read-only", "--tmpfs", "/data:size=1m", "--device", "/dev/null:/dev/hole"];
    let script = "touch /etc/x 2>/dev/null || echo no; touch /data/x && echo yes; test -c /dev/hole && echo x >/dev/hole && echo hole; \
                  dd if=/dev/zero of=/data/big bs=1024 count=2048 2>/dev/null || echo full";
    engine.run(&sealed, script).says("no\nyes\nhole\nfull");
    engine.start("files", &[], "echo made >/tmp/made; sleep 100");
    fs::write(engine.house.at("sent"), "sent").expect("a file");
    engine.call(&["cp", &engine.house.at("sent"), "files:/etc/sent"]).well();
    engine.call(&["exec", "files", "cat", "/etc/sent"]).says("sent");
    engine.call(&["cp", "files:/tmp/made", &engine.house.at("made")]).well();
    assert_eq!(fs::read_to_string(engine.house.at("made")).expect("the file"), "made\n");
    engine.remove(&["files"]);
    engine.nothing_left(&left);
}

/// Capabilities, filters, privileges and a first process that reaps.
pub(crate) fn confines(engine: &Engine) {
    let left = engine.house.left();
    let status = |options: &[&str], words: &str, what: &str| {
        let options = [&["--rm"], options].concat();
        engine.run(&options, &format!("grep -E '{words}' /proc/self/status")).mentions(what);
    };
    status(&["--cap-drop", "ALL"], "^(CapEff|Seccomp):", "CapEff:\t0000000000000000\nSeccomp:\t2");
    let open = [
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "no-new-privileges",
        "--cap-add",
        "SYS_ADMIN",
    ];
    status(&open, "^(NoNewPrivs|Seccomp):", "NoNewPrivs:\t1\nSeccomp:\t0");
    reaps(engine);
    privileged(engine);
    engine.run(&["--rm", "--pid=host", "--ipc=host", "--uts=host"], "ps | grep -c timeout").well();
    engine.run(&["--rm", "--shm-size=1m"], "grep -c /dev/shm /proc/mounts").says("1");
    engine.nothing_left(&left);
}

/// The first process is the engine's.
fn reaps(engine: &Engine) {
    const TINI: &str = "--init-path=/usr/bin/tini-static";
    let options: &[&str] = if engine.podman { &["--rm", "--init", TINI] } else { &["--rm", "--init"] };
    if engine.podman && !Path::new("/usr/bin/tini-static").exists() {
        println!("SKIPPED: no tini-static for podman run --init");
        return;
    }
    engine.run(options, "test $$ != 1 && grep -c . /proc/1/comm").says("1");
}

fn privileged(engine: &Engine) {
    let said = engine.run(&["--rm", "--privileged"], "mount -t tmpfs x /data && echo mounted");
    // Docker asks for all that there are; here runc fails as well.
    if said.error.contains("which this host does not let us have") {
        println!("SKIPPED: a capability that privileged containers have is missing here");
    } else {
        said.says("mounted");
    }
}
