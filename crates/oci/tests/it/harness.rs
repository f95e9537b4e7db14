//! A bundle over busybox, a root for the state, and the program that is tested.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

const APPLETS: &str = "sh true false cat ls mount grep stat readlink touch mkdir id sleep kill ps mknod hostname echo \
                       wc tty head pwd env test seq dd xargs sort chroot cut umount ln tr rm chmod";

/// No other test's, and no other run's.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Removed with everything that is left in it.
pub(crate) struct Ground {
    pub(crate) directory: TempDir,
    /// A prefix of ids, and of the names of control groups.
    pub(crate) name: String,
    before: Left,
}

/// What may be left behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    mounts: usize,
    groups: Vec<PathBuf>,
    states: usize,
    processes: Vec<String>,
}

impl Left {
    fn of(name: &str, states: &Path) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let mut groups = Vec::new();
        groups_named(Path::new("/sys/fs/cgroup"), name, 3, &mut groups);
        Self {
            mounts: mounts.lines().filter(|line| line.contains(name)).count(),
            groups,
            states: fs::read_dir(states).map_or(0, Iterator::count),
            processes: processes_of(states.parent().expect("a directory"), name),
        }
    }
}

/// Those that are of a ground: it is in their command line, or they are in its control groups. The
/// numbers of what a test starts are above its own.
fn processes_of(place: &Path, name: &str) -> Vec<String> {
    let place = place.to_str().expect("text");
    let own = std::process::id();
    let of = |pid: &String| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let has = |file: &str, word: &str| String::from_utf8_lossy(&read(file)).contains(word);
        // One that has ended may wait for whoever reaps on this host.
        !has("stat", ") Z") && (has("cmdline", place) || has("cgroup", name))
    };
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let all = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let numbers = all.filter(|name| name.parse::<u32>().is_ok_and(|number| number > own));
    numbers.filter(of).map(|pid| format!("process {pid}")).collect()
}

fn groups_named(directory: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(name) {
            found.push(entry.path());
        // Those of `tsubo` may be many, and are no business of ours.
        } else if depth > 0 && entry.file_name() != "tsubo" {
            groups_named(&entry.path(), name, depth - 1, found);
        }
    }
}

/// So many attempts; in a soak many more.
pub(crate) fn rounds(few: u32) -> u32 {
    if std::env::var_os("TSUBO_SOAK").is_some() { 10 * few } else { few }
}

/// How a call has ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(&output.stdout), error: text(&output.stderr) }
    }
}

impl Said {
    /// That it has ended well; what it said.
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// That it has failed with these words.
    pub(crate) fn failed(self, words: &str) {
        assert!(self.code != 0 && self.error.contains(words), "{words}: {self:?}");
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let name = format!("ocit{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = directory.path().join("bundle/rootfs");
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "srv"] {
            fs::create_dir_all(root.join(name)).expect(name);
        }
        for path in [directory.path(), &directory.path().join("bundle"), &root] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static");
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", root.join("bin").join(applet)).expect(applet);
        }
        let before = Left::of(&name, &directory.path().join("state"));
        Self { directory, name, before }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.at("bundle")
    }

    /// What `spec` writes, without a terminal, to run a script.
    pub(crate) fn config(script: &str) -> Value {
        let mut config = spec::oci::example(None);
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["process"]["env"] = json!(["PATH=/bin"]);
        config
    }

    pub(crate) fn write(&self, config: &Value) -> &Self {
        fs::write(self.at("bundle/config.json"), config.to_string()).expect("configuration");
        self
    }

    pub(crate) fn script(&self, script: &str) -> &Self {
        self.write(&Self::config(script))
    }

    /// The program with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsubo-oci"));
        command.arg("--root").arg(self.at("state")).args(words).current_dir(self.bundle());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, words: &[&str]) -> Said {
        self.command(words).output().expect("tsubo-oci").into()
    }

    /// Without pipes: what is started keeps them open. Its output goes to the file `out`.
    pub(crate) fn detached(&self, words: &[&str]) -> Said {
        let out = File::options().create(true).append(true).open(self.at("out")).expect("a file");
        let error = File::create(self.at("error")).expect("a file");
        let status = self.command(words).stdout(out).stderr(error).status().expect("tsubo-oci");
        Said {
            code: status.code().unwrap_or(-1),
            out: self.output(),
            error: fs::read_to_string(self.at("error")).expect("text"),
        }
    }

    /// What detached containers have said so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.at("out")).unwrap_or_default().trim_end().to_owned()
    }

    /// Runs the bundle to its end.
    pub(crate) fn run(&self) -> Said {
        self.call(&["run", &self.id()])
    }

    pub(crate) fn id(&self) -> String {
        format!("{}-c", self.name)
    }

    /// Starts it, and comes back.
    pub(crate) fn start(&self) -> String {
        let id = self.id();
        self.detached(&["run", "--detach", &id]).well();
        id
    }

    pub(crate) fn status(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.call(&["state", id]).well()).expect("JSON");
        state["status"].as_str().expect("a word").to_owned()
    }

    pub(crate) fn pid(&self, id: &str) -> i32 {
        let state: Value = serde_json::from_str(&self.call(&["state", id]).well()).expect("JSON");
        state["pid"].as_i64().expect("a number") as i32
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        for _ in 0..1000 {
            if so() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{what} has not come to be");
    }

    /// That nothing is left.
    #[track_caller]
    pub(crate) fn clean(&self) {
        self.clean_after("everything");
    }

    /// The same; after what is told.
    #[track_caller]
    pub(crate) fn clean_after(&self, what: &str) {
        if let Err(left) = self.left() {
            panic!("{left} is left after {what}");
        }
    }

    /// Nothing, or what is left. Who is dying may take a moment.
    pub(crate) fn left(&self) -> Result<(), String> {
        for _ in 0..100 {
            if Left::of(&self.name, &self.at("state")) == self.before {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(format!("{:?}", Left::of(&self.name, &self.at("state"))))
    }

    /// What is listed.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let listed = self.call(&["list", "--format", "json"]).well();
        serde_json::from_str::<Option<Vec<Value>>>(&listed).expect("JSON").unwrap_or_default()
    }

    /// A static program of C; None where there is no compiler for it, which is said.
    pub(crate) fn compile(&self, name: &str, source: &str) -> Option<PathBuf> {
        let (file, program) = (self.at(&format!("{name}.c")), self.at(name));
        fs::write(&file, source).expect("source");
        let ended = Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(&file).output();
        if ended.as_ref().is_ok_and(|ended| ended.status.success()) {
            return Some(program);
        }
        println!("SKIPPED: no compiler for a static program: {ended:?}");
        None
    }

    /// The same, as a program of the bundle.
    pub(crate) fn program(&self, name: &str, source: &str) -> Option<String> {
        let program = self.compile(name, source)?;
        fs::rename(program, self.at("bundle/rootfs/bin").join(name)).expect("a program");
        Some(format!("/bin/{name}"))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.at("state")).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            let _ = self.command(&["delete", "--force", &id]).output();
        }
    }
}
