//! A state directory of its own, and audits in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Moves this thread, and what it starts from now on, to a network of its own: audited containers are on a
/// network that their host makes.
fn be_apart() {
    // SAFETY: a network namespace changes nothing that other threads rely on.
    #[allow(unsafe_code)]
    unsafe {
        rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET).expect("a network namespace");
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
    assert!(up.success());
}

/// A state directory of its own.
pub struct House {
    pub dir: tempfile::TempDir,
}

impl House {
    /// None, loudly, where containers cannot be had.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return None;
        }
        for name in ["tsubo", "tsubo-keeper", "tsubo-attack"] {
            let path = program(name);
            assert!(path.is_file(), "{} is not built: cargo build comes first", path.display());
        }
        be_apart();
        let dir = tempfile::Builder::new().prefix("tsubo-audit-it-").tempdir_in("/var/tmp").expect("tempdir");
        Some(Self { dir })
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// `tsubo audit`, by its own name.
    pub fn audit(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsubo-audit"));
        command.arg("--root").arg(self.root()).args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Verdicts by name, and the exit code.
    #[track_caller]
    pub fn verdicts(&self, only: &str, flags: &[&str]) -> (BTreeMap<String, String>, i32) {
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
    pub fn only_red(&self, only: &str, flags: &[&str], red: &[&str]) {
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

    /// `tsubo` with these words; what it prints.
    pub fn tsubo(&self, args: &[&str]) -> String {
        let mut command = Command::new(program("tsubo"));
        let output = command.arg("--root").arg(self.root()).args(args).output().expect("tsubo");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn containers(&self) -> usize {
        let value: Value =
            serde_json::from_str(&self.tsubo(&["ps", "-a", "--format", "json"])).expect("JSON");
        value.as_array().expect("rows").len()
    }

    /// Names and digests of images, the one that is meant by a name first.
    pub fn images(&self) -> Vec<(String, String)> {
        let value: Value = serde_json::from_str(&self.tsubo(&["images", "--format", "json"])).expect("JSON");
        let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
        let rows = value.as_array().expect("rows").iter();
        rows.map(|row| (text(row, "name"), text(row, "digest"))).collect()
    }

    /// A package file of this name, of which there are two.
    pub fn package(&self, file: &str, name: &str, is_other: bool) -> PathBuf {
        let (bare, path) = (self.dir.path().join("bare"), self.dir.path().join(file));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
        audit::host::root::write(&program("tsubo-attack"), is_other, &bare).expect("a package");
        audit::host::package::rename(&bare, &path, name).expect("a name");
        path
    }
}

pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tsubo-audit")).with_file_name(name)
}

#[track_caller]
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Small, and everything is held.
pub const SMALL: [&str; 8] =
    ["-m", "96m", "--pids-limit", "60", "--limit", "tcp_memory=24M", "--network", "none"];

/// The same without one flag and its value.
pub fn without(flag: &str, value: &str, more: &[&'static str]) -> Vec<&'static str> {
    let pairs = SMALL.chunks(2).filter(|pair| !(pair[0] == flag && pair[1].contains(value)));
    pairs.flatten().copied().chain(more.iter().copied()).collect()
}
