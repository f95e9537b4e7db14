//! What every test of the gateway needs: a state directory of its own, and proof that nothing is left of it.

#[allow(dead_code, reason = "others use more of it")]
#[path = "../../../../tsubo/tests/it/support/base.rs"]
pub mod base;
pub mod client;
#[path = "../../../../tsubo/tests/it/support/clock.rs"]
pub mod clock;
#[allow(dead_code, reason = "others use more of it")]
#[path = "../../../../store/tests/store/forge.rs"]
pub mod forge;
pub mod gateway;
#[allow(dead_code, reason = "others use more of it")]
#[path = "../../../../tsubo/tests/it/support/leftovers.rs"]
pub mod leftovers;
pub mod load;
pub mod nginx;
pub mod package;
#[allow(dead_code, reason = "others use more of it")]
#[path = "../../../../tsubo/tests/it/support/user.rs"]
pub mod user;

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A workplace: a temporary folder with a state directory.
pub struct House {
    dir: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        for name in ["tsubo", "tsubo-keeper"] {
            let program = beside(name);
            assert!(program.is_file(), "{} is not built: ./x test builds it first", program.display());
        }
        let parent = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
        let dir = tempfile::Builder::new().prefix("tsubo-gw-").tempdir_in(parent).expect("tempdir");
        let house = Self { dir };
        std::fs::create_dir(house.path("src")).expect("src");
        house
    }

    /// A path in the temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    pub fn root(&self) -> PathBuf {
        self.path("state")
    }

    /// `tsubo` with the state directory, in the temporary folder.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(beside("tsubo"));
        command.arg("--root").arg(self.root()).args(args).current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    /// Runs `tsubo`, which must succeed; returns its output.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        succeed(self.command(args))
    }

    /// The containers that there are.
    #[track_caller]
    pub fn containers(&self) -> Vec<Value> {
        let listed = self.ok(["ps", "-a", "--format", "json"]);
        serde_json::from_str(&listed).expect("a list")
    }

    /// Shows what the containers have said.
    pub fn tell_logs(&self) {
        for id in ids(self) {
            let logs = self.command(["logs", &id]).output().expect("tsubo logs");
            let said = [logs.stdout, logs.stderr].concat();
            eprintln!("--- {id} said\n{}", String::from_utf8_lossy(&said));
        }
    }

    /// The first process of a running container.
    #[track_caller]
    pub fn pid(&self, container: &str) -> u64 {
        let all = self.containers();
        let row = all.iter().find(|row| row["name"] == container);
        row.and_then(|row| row["pid"].as_u64()).unwrap_or_else(|| panic!("no pid of {container} in {all:#?}"))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if !self.root().exists() {
            return;
        }
        let left = leftovers::of(&self.root(), &remove_containers(self));
        if !left.is_empty() {
            let text = format!("left behind: {left:#?}");
            // A second panic would hide the first.
            if std::thread::panicking() { eprintln!("{text}") } else { panic!("{text}") }
        }
    }
}

/// Of all containers; none where they cannot be listed.
fn ids(house: &House) -> Vec<String> {
    let listed = house.command(["ps", "-a", "--format", "json"]).output().expect("tsubo ps");
    let rows: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    let id = |row: &Value| row["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    rows.as_array().into_iter().flatten().filter_map(id).collect()
}

fn remove_containers(house: &House) -> Vec<String> {
    let ids = ids(house);
    if !ids.is_empty() {
        let args = ["rm", "-f"].into_iter().chain(ids.iter().map(String::as_str));
        let removed = house.command(args).output().expect("tsubo rm");
        if !removed.status.success() {
            eprintln!("tsubo rm: {}", String::from_utf8_lossy(&removed.stderr));
        }
    }
    ids
}

/// A program that was built beside the gateway.
pub fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tsubod")).with_file_name(name)
}

/// Runs a command that must succeed.
#[track_caller]
pub fn succeed(mut command: Command) -> String {
    let output = command.output().expect("spawn");
    assert!(output.status.success(), "{}", told(&command, &output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(command: &Command, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{command:?}: {}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}

/// Whether every one of `programs` is there; if not, says so loudly.
pub fn have(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    let found = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let missing: Vec<_> = programs.iter().filter(|program| !found(program)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: needs {missing:?}");
    }
    missing.is_empty()
}

/// A free TCP port, below those that the kernel gives to clients; other tests of this process and
/// of others look elsewhere.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + (std::process::id() % 2_000) as u16 * 10;
    loop {
        let port = start.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed));
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sets permission bits.
pub fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Waits until `what` is true.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
