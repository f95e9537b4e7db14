//! Namespaces for one engine: it, its shims and its containers are processes there, and end with
//! the test however that ends; so do its mounts, its loopback, and a `/run` of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::said::Said;

/// The first process of the namespaces: it reaps, and ends with the standard input of which the
/// test has the other end.
const HOLDER: &str = "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock && \
                      busybox ip link set lo up && echo ready && cat >/dev/null";

/// Seconds after which a call is taken to hang.
const PATIENCE: &str = "90";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where an engine lives.
pub(crate) struct House {
    pub(crate) directory: TempDir,
    /// A control group's name; all groups of the engine are below.
    pub(crate) name: String,
    unshare: Child,
    first: u32,
}

impl House {
    /// Nothing where one of the `programs` is missing, which is said.
    pub(crate) fn for_programs(programs: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root may start {}", programs[0]);
            return None;
        }
        let missing = programs.iter().find(|program| !Path::new(program).exists());
        if let Some(program) = missing {
            println!("SKIPPED: {program} is not installed (package of Debian)");
            return None;
        }
        Some(Self::new())
    }

    fn new() -> Self {
        // Short: engines make sockets deep below it.
        let directory = tempfile::Builder::new().prefix("e").tempdir_in("/tmp").expect("a directory");
        // Users that are mapped come through.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let name = format!("tsuboengine{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--mount-proc", "sh", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut ready = [0; 6];
        unshare.stdout.take().expect("a pipe").read_exact(&mut ready).expect("namespaces");
        let first = children(unshare.id())[0];
        Self { directory, name, unshare, first }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        self.directory.path().join(path).to_str().expect("text").to_owned()
    }

    /// A command in the namespaces.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--mount", "--pid", "--net", "--"]);
        // To enter is to stand in the root.
        command.args(["env", "-C", &self.at("")]).args(words);
        command.env("HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, words: &[&str]) -> Said {
        self.call_with(words, Stdio::null())
    }

    fn call_with(&self, words: &[&str], input: Stdio) -> Said {
        let mut patient = vec!["timeout", "--foreground", "--kill-after", "5", PATIENCE];
        patient.extend(words);
        // Files, not pipes: what an engine leaves running would keep those open.
        let (out, error) = (self.at("out"), self.at("error"));
        let file = |path: &str| File::create(path).expect("a file");
        let mut output = self
            .command(&patient)
            .stdout(file(&out))
            .stderr(file(&error))
            .stdin(input)
            .output()
            .expect("nsenter");
        output.stdout = fs::read(out).expect("output");
        output.stderr = fs::read(error).expect("errors");
        Said::new(words.join(" "), &output)
    }

    /// In a terminal. Its input has no end: script(1) would pass that on, and engines stop to
    /// copy the output then.
    pub(crate) fn in_terminal(&self, words: &[&str]) -> Said {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let (input, _open) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        self.call_with(&["script", "-q", "-e", "-c", &quoted.join(" "), "/dev/null"], input.into())
    }

    /// A daemon; what it says goes to a file. It ends with the house.
    pub(crate) fn daemon(&self, words: &[&str]) -> Child {
        let log = File::create(self.at("daemon.log")).expect("a file");
        let errors = log.try_clone().expect("a descriptor");
        self.command(words).stdout(log).stderr(errors).spawn().expect("nsenter")
    }

    pub(crate) fn left(&self) -> Left {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.first)).expect("mounts");
        let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
        let mut groups = self.groups();
        // Podman's own, for its monitors.
        groups.retain(|group| !group.ends_with("conmon"));
        Left { mounts: mounts.collect(), groups, processes: self.processes() }
    }

    /// That all is as it was before. Engines clean up after they have answered.
    #[track_caller]
    pub(crate) fn only(&self, before: &Left) {
        for _ in 0..100 {
            if self.left() == *before {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(self.left(), *before, "something is left");
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        for _ in 0..300 {
            if so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.at("daemon.log")).unwrap_or_default();
        panic!("{what} has not come to be\n{log}");
    }

    /// The control groups of containers, and of what the engine has put beside them.
    fn groups(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for parent in self.parents() {
            groups_below(&parent, &mut found);
        }
        found
    }

    /// The group of this name in each hierarchy.
    fn parents(&self) -> Vec<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        hierarchies.map(|entry| entry.path().join(&self.name)).filter(|path| path.is_dir()).collect()
    }

    /// The programs in the namespaces, by their names.
    fn processes(&self) -> Vec<String> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let inside = namespace(&self.first.to_string());
        let mut names = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if pid.bytes().all(|b| b.is_ascii_digit()) && namespace(&pid) == inside {
                names.extend(fs::read_to_string(format!("/proc/{pid}/comm")));
            }
        }
        names.sort();
        names
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.unshare.stdin.take());
        // Returns when the kernel has ended every process of the namespace.
        let _ = self.unshare.wait();
        let mut groups = self.groups();
        groups.extend(self.parents());
        for _ in 0..50 {
            groups.retain(|group| fs::remove_dir(group).is_err() && group.exists());
            if groups.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What may be left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    mounts: BTreeSet<String>,
    groups: BTreeSet<PathBuf>,
    processes: Vec<String>,
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
}

fn groups_below(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            groups_below(&entry.path(), found);
            found.insert(entry.path());
        }
    }
}
