//! The audit is audited: of containers from which one limit is taken that line turns red, and no other of
//! its resource; what is killed leaves the host as it was. Needs root, and the other programs beside ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A state directory of its own.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// None, loudly, where containers cannot be had.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return None;
        }
        for name in ["tsubo", "tsubo-keeper", "tsubo-attack"] {
            let path = program(name);
            assert!(path.is_file(), "{} is not built: cargo build comes first", path.display());
        }
        let dir = tempfile::Builder::new().prefix("tsubo-audit-it-").tempdir_in("/var/tmp").expect("tempdir");
        Some(Self { dir })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// `tsubo audit`, by its own name.
    fn audit(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsubo-audit"));
        command.arg("--root").arg(self.root()).args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Verdicts by name, and the exit code.
    #[track_caller]
    fn verdicts(&self, only: &str, flags: &[&str]) -> (BTreeMap<String, String>, i32) {
        let args: Vec<&str> =
            ["--quick", "--format", "json", "--only", only].iter().chain(flags).copied().collect();
        let output = self.audit(&args).output().expect("audit");
        let value = json(&output);
        let rows = value["attacks"].as_array().expect("attacks").iter();
        let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
        let verdicts = rows.map(|row| (text(row, "name"), text(row, "verdict"))).collect();
        println!("{flags:?}: {value:#}");
        (verdicts, output.status.code().expect("a code"))
    }

    /// These turn red and nothing else does.
    #[track_caller]
    fn only_red(&self, only: &str, flags: &[&str], red: &[&str]) {
        let (verdicts, code) = self.verdicts(only, flags);
        let found: Vec<&str> = verdicts
            .iter()
            .filter(|(_, verdict)| *verdict != "held")
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(found, red, "{flags:?}: {verdicts:#?}");
        assert!(!verdicts.values().any(|verdict| verdict == "unknown"), "{verdicts:#?}");
        assert_eq!(code, i32::from(!red.is_empty()));
    }

    fn containers(&self) -> usize {
        let mut command = Command::new(program("tsubo"));
        let output = command.arg("--root").arg(self.root()).args(["ps", "-a", "--format", "json"]).output();
        let value: Value = serde_json::from_slice(&output.expect("ps").stdout).expect("JSON");
        value.as_array().expect("rows").len()
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tsubo-audit")).with_file_name(name)
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Small, and everything is held.
const SMALL: [&str; 8] =
    ["-m", "96m", "--pids-limit", "60", "--limit", "tcp_memory=24M", "--network", "none"];

/// The same without one flag and its value.
fn without(flag: &str, value: &str, more: &[&'static str]) -> Vec<&'static str> {
    let pairs = SMALL.chunks(2).filter(|pair| !(pair[0] == flag && pair[1].contains(value)));
    pairs.flatten().copied().chain(more.iter().copied()).collect()
}

const MEMORY: &str = "pages,tmpfs,memfd,shared-memory,pipes,unix-sockets,tcp-buffers,dentries";
const TASKS: &str = "tasks,pages";

#[test]
fn with_all_limits_all_is_held() {
    let Some(house) = House::new() else { return };
    house.only_red(
        &format!("{MEMORY},{TASKS},storage,handles,network,kernel,information,escape"),
        &SMALL,
        &[],
    );
}

#[test]
fn without_a_limit_of_memory_only_that_is_red() {
    let Some(house) = House::new() else { return };
    house.only_red(MEMORY, &without("-m", "", &["-m", "max"]), &["pages"]);
}

#[test]
fn without_a_limit_of_tcp_only_that_is_red() {
    let Some(house) = House::new() else { return };
    // Version 2 counts it to the memory.
    if !Path::new("/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes").exists() {
        eprintln!("SKIPPED: needs the memory controller of version 1");
        return;
    }
    house.only_red(MEMORY, &without("--limit", "tcp", &["--limit", "tcp_memory=max"]), &["tcp-buffers"]);
}

#[test]
fn without_a_limit_of_processes_only_they_are_red() {
    let Some(house) = House::new() else { return };
    let red = ["processes", "sessions", "threads", "zombies"];
    // What they take together is bounded by memory, which is another line.
    let flags = without("--pids-limit", "", &["--pids-limit", "max"]);
    let flags: Vec<&str> = flags.iter().map(|flag| if *flag == "96m" { "800m" } else { *flag }).collect();
    house.only_red("tasks,memfd", &flags, &red);
}

#[test]
fn without_a_fair_share_of_processors_only_that_is_red() {
    let Some(house) = House::new() else { return };
    house.only_red("spin,pages", &SMALL, &[]);
    house.only_red("spin,pages", &without("", "", &["--cpu-weight", "10000"]), &["spin"]);
    // A quota helps, too.
    house.only_red("spin,pages", &without("", "", &["--cpu-weight", "10000", "--cpus", "0.3"]), &[]);
}

#[test]
fn a_directory_of_the_host_is_without_a_limit_and_nothing_stays_in_it() {
    let Some(house) = House::new() else { return };
    let place = house.dir.path().join("place");
    std::fs::create_dir(&place).expect("mkdir");
    let volume = format!("{}:/srv", place.display());
    let flags: Vec<&str> = SMALL.iter().copied().chain(["-v", volume.as_str()]).collect();
    house.only_red("storage,page-cache", &flags, &["disk-bytes", "disk-files"]);
    assert_eq!(std::fs::read_dir(&place).expect("place").count(), 0);
}

#[test]
fn questions_are_answered_by_what_was_taken_away() {
    let Some(house) = House::new() else { return };
    let questions = "kernel,network,information,escape";
    let host = without("--network", "", &["--network", "host"]);
    house.only_red(questions, &host, &["abstract-sockets", "loopback", "ports"]);
    let privileged = without("", "", &["--isolation", "no_new_privileges=false"]);
    house.only_red(questions, &privileged, &["new-privileges"]);
    let seen = without("", "", &["--pid", "host"]);
    house.only_red("information", &seen, &["host-processes"]);
    let (verdicts, code) = house.verdicts(questions, &without("", "", &["--seccomp", "none"]));
    assert_eq!(
        (code, verdicts["user-namespace"].as_str(), verdicts["filter"].as_str()),
        (1, "not-limited", "not-limited")
    );
    assert_eq!((verdicts["core-pattern"].as_str(), verdicts["kcore"].as_str()), ("held", "held"));
    let (verdicts, _) = house.verdicts("escape,inotify", &without("", "", &["--userns", "host"]));
    assert_eq!(
        (verdicts["root-is-root"].as_str(), verdicts["inotify"].as_str()),
        ("not-limited", "host-at-risk")
    );
}

#[test]
fn what_cannot_be_audited_is_125_and_nothing_is_left() {
    let Some(house) = House::new() else { return };
    let cases: [&[&str]; 5] = [
        &["--only", "nothing"],
        &["no-such-image"],
        &["--no-such-flag"],
        &["--preset", "nothing"],
        &["-m", "much"],
    ];
    for args in cases {
        let output = house.audit(args).output().expect("audit");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{args:?}: {said}");
        assert!(said.starts_with("error:") && !said.contains("panicked"), "{args:?}: {said}");
    }
    assert!(!house.root().join("audit").exists());
    let listed = house.audit(&["--list"]).output().expect("list");
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).lines().count() > 90);
}

#[test]
fn the_shape_of_json_and_a_picture() {
    let Some(house) = House::new() else { return };
    let mut args = vec!["--quick", "--only", "memfd,mount", "--format", "json", "--html", "audit.html"];
    args.extend(SMALL);
    let output = house.audit(&args).output().expect("audit");
    let value = json(&output);
    assert_eq!(
        (output.status.code(), value["held"].as_bool(), value["runtime"].as_str()),
        (Some(0), Some(true), Some("tsubo"))
    );
    let row = &value["attacks"][0];
    assert_eq!(
        (row["name"].as_str(), row["resource"].as_str(), row["unit"].as_str()),
        (Some("memfd"), Some("memory"), Some("bytes"))
    );
    assert!(row["got"].as_u64().is_some_and(|got| got > 1 << 20) && row["mend"].is_null(), "{row}");
    let during = &row["neighbour"]["requests"]["during"];
    assert!(during["count"].as_u64().is_some() && during["p99"].as_u64().is_some(), "{row}");
    let page = std::fs::read_to_string(house.dir.path().join("audit.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("memfd") && page.contains("prefers-color-scheme"));
}

/// What a killed audit could leave: its processes, groups, mounts.
fn traces(token: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(token) {
            found.push(words);
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    found.extend(mounts.lines().filter(|line| line.contains(token)).map(str::to_owned));
    found
}

#[test]
fn killed_at_any_moment_it_leaves_the_host_as_it_was() {
    let Some(house) = House::new() else { return };
    let root = house.root();
    for wait in [30, 200, 450, 700, 1000, 1600, 2200] {
        let mut args = vec!["--only", "tasks,memory,open-files,message-queues,kernel"];
        args.extend(SMALL);
        let mut audit = house.audit(&args);
        let mut child = audit.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("audit");
        let token = format!("tsubo-audit-{}-", child.id());
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("kill");
        child.wait().expect("wait");
        let end = Instant::now() + Duration::from_secs(20);
        while (house.containers(), traces(&token).len()) != (0, 0) {
            assert!(Instant::now() < end, "after {wait} ms: {:#?}", traces(&token));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // What is left of those is a directory and an image: `tsubo gc` takes them along, or the next audit.
    assert!(root.join("audit").exists());
    let collected = Command::new(program("tsubo")).arg("--root").arg(&root).arg("gc").output().expect("gc");
    let said = String::from_utf8_lossy(&collected.stdout).into_owned();
    assert!(said.contains("what an audit has left") && !root.join("audit").exists(), "{said}");
    house.only_red("mount", &SMALL, &[]);
    assert!(!root.join("audit").exists());
    let mut images = Command::new(program("tsubo"));
    let listed =
        images.arg("--root").arg(&root).args(["images", "--format", "json"]).output().expect("images");
    assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), "[]");
}
