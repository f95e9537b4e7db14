//! What every test of the built programs needs: state directories of its own, and proof that
//! nothing is left of them.

pub mod base;
pub mod busybox;
pub mod clock;
#[path = "../../../../store/tests/store/forge.rs"]
pub mod forge;
pub mod leftovers;
pub mod user;
pub mod wires;

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A workplace: a temporary folder with two state directories, one to develop in, one to run in.
pub struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// A new one, the containers of which have the host's network where nobody says otherwise: tests make
    /// nothing in this machine's own.
    pub fn new() -> Self {
        let keeper = Path::new(env!("CARGO_BIN_EXE_tsubo")).with_file_name("tsubo-keeper");
        assert!(
            keeper.is_file(),
            "{} is not built: cargo build -p tsubo-keeper (in the same profile) comes first",
            keeper.display()
        );
        // Not below /tmp, which may be a tmpfs; a soak has places of its own.
        let parent = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
        let dir = tempfile::Builder::new().prefix("tsubo-it-").tempdir_in(parent).expect("tempdir");
        let house = Self { dir };
        // Tests that run the service as somebody else read their files here.
        mode(house.dir(), 0o755);
        std::fs::create_dir(house.path("src")).expect("src");
        for presets in house.presets() {
            std::fs::create_dir_all(&presets).expect("presets");
            let usual = "extends = \"default\"\n[namespaces]\nnet = \"host\"\n";
            std::fs::write(presets.join("default.toml"), usual).expect("preset");
        }
        house
    }

    fn presets(&self) -> [PathBuf; 2] {
        [self.here(), self.elsewhere()].map(|state| state.join("presets"))
    }

    /// As anybody has it. Only for tests that are on a host of their own ([`wires`]).
    pub fn with_what_is_usual(self) -> Self {
        self.presets().iter().for_each(|presets| std::fs::remove_dir_all(presets).expect("presets"));
        self
    }

    /// The temporary folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The state directory in which tests develop and pack.
    pub fn here(&self) -> PathBuf {
        self.path("here")
    }

    /// The state directory in which packages are installed and run: another machine, almost.
    pub fn elsewhere(&self) -> PathBuf {
        self.path("elsewhere")
    }

    /// `tsubo` with the first state directory, in the temporary folder.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command_in(&self.here(), args)
    }

    /// `tsubo` with the second.
    pub fn command_elsewhere<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command_in(&self.elsewhere(), args)
    }

    fn command_in<S: AsRef<OsStr>>(&self, root: &Path, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsubo"));
        command.arg("--root").arg(root).args(args).current_dir(self.dir()).stdin(Stdio::null());
        command
    }

    /// Runs `tsubo`, which must succeed; returns its output.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        succeed(self.command(args))
    }

    /// The same with the second state directory.
    #[track_caller]
    pub fn ok_elsewhere<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        succeed(self.command_elsewhere(args))
    }

    /// Runs `tsubo`, which must fail with `code`; returns what it complained about.
    #[track_caller]
    pub fn fails<S: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = S>) -> String {
        fail(self.command(args), code)
    }

    /// The same with the second state directory.
    #[track_caller]
    pub fn fails_elsewhere<S: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = S>) -> String {
        fail(self.command_elsewhere(args), code)
    }

    /// The JSON that a command prints.
    #[track_caller]
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        serde_json::from_str(&self.ok(args)).expect("JSON")
    }

    /// The same with the second state directory.
    #[track_caller]
    pub fn json_elsewhere<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        serde_json::from_str(&self.ok_elsewhere(args)).expect("JSON")
    }

    /// Writes a file below `src`, which development containers see as /src.
    pub fn source(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("src").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(&path, content).expect("write");
        path
    }

    /// Runs a shell script in the development container `name`, with `src` at /src.
    #[track_caller]
    pub fn dev(&self, name: &str, from: &Path, script: &str) -> String {
        let from = from.to_str().expect("UTF-8");
        let volume = format!("{}:/src:ro", self.path("src").display());
        let made = self.here().join("dev").join(name).exists();
        let base = if made { vec![] } else { vec!["--from", from] };
        let args = ["dev", name].into_iter().chain(base);
        self.ok(args.chain(["-v", &volume, "--", "/bin/sh", "-ec", script]))
    }

    /// Tests `name` with a service that ends by itself.
    #[track_caller]
    pub fn test_job(&self, name: &str, service: &[&str]) -> String {
        self.ok(["test", name, "--"].iter().chain(service))
    }

    /// Makes `app` from `base` by `script`, tests `command` with `options`, packs it at both levels and
    /// runs both elsewhere: each must print `expected`. Returns the package files, the exact one first.
    #[track_caller]
    pub fn everywhere(
        &self,
        base: &Path,
        script: &str,
        options: &[&str],
        command: &[&str],
        expected: &str,
    ) -> [String; 2] {
        self.dev("app", base, script);
        self.ok(["test", "app"].iter().chain(options).chain(&["--"]).chain(command));
        ["exact", "package"].map(|closure| {
            let file = self.pack("app", closure);
            assert_eq!(self.run(&file, &[]), expected, "at {closure}");
            self.ok_elsewhere(["rmi", "app"]);
            file
        })
    }

    /// Packs `name` at `closure`, with replay; returns the file.
    #[track_caller]
    pub fn pack(&self, name: &str, closure: &str) -> String {
        self.pack_with(name, closure, &[])
    }

    /// The same with more options.
    #[track_caller]
    pub fn pack_with(&self, name: &str, closure: &str, options: &[&str]) -> String {
        let file = self.path(&format!("{name}-{closure}.tsubo")).display().to_string();
        self.ok(["pack", name, "-o", &file, "--closure", closure].iter().chain(options));
        file
    }

    /// The report of a package.
    #[track_caller]
    pub fn contents(&self, file: &str) -> Value {
        self.json(["contents", file, "--format", "json"])
    }

    /// Runs the package in the second state directory to its end; returns its output.
    #[track_caller]
    pub fn run(&self, file: &str, args: &[&str]) -> String {
        self.ok_elsewhere(["run", "--rm", file].iter().chain(args))
    }

    /// Starts the package in the second state directory in the background.
    #[track_caller]
    pub fn start(&self, name: &str, file: &str) {
        self.ok_elsewhere(["run", "-d", "--name", name, file]);
    }

    /// The tree of an installed image of the second state directory.
    #[track_caller]
    pub fn tree(&self, image: &str) -> PathBuf {
        let value = self.json_elsewhere(["inspect", "--image", image]);
        value["tree"].as_str().expect("a tree").into()
    }

    /// Installs `file` in the second state directory and returns its tree.
    #[track_caller]
    pub fn install(&self, name: &str, file: &str) -> PathBuf {
        self.ok_elsewhere(["install", file]);
        self.tree(name)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let mut left = Vec::new();
        for root in [self.here(), self.elsewhere()].into_iter().filter(|root| root.exists()) {
            let ids = remove_containers(self, &root);
            if root.join("networks").is_dir() {
                // The usual one is made for whoever says nothing of networks; others are their tests' own.
                let _ = self.command_in(&root, ["network", "rm", "tsubo"]).output();
            }
            left.extend(leftovers::of(&root, &ids));
        }
        if !left.is_empty() {
            let text = format!("left behind: {left:#?}");
            // A second panic would hide the first.
            if std::thread::panicking() { eprintln!("{text}") } else { panic!("{text}") }
        }
    }
}

fn remove_containers(house: &House, root: &Path) -> Vec<String> {
    let listed = house.command_in(root, ["ps", "-a", "--format", "json"]).output().expect("tsubo ps");
    let rows: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    let id = |row: &Value| row["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    let ids: Vec<String> = rows.as_array().into_iter().flatten().filter_map(id).collect();
    if !ids.is_empty() {
        let args = ["rm", "-f"].into_iter().chain(ids.iter().map(String::as_str));
        let removed = house.command_in(root, args).output().expect("tsubo rm");
        if !removed.status.success() {
            eprintln!("tsubo rm: {}", String::from_utf8_lossy(&removed.stderr));
        }
    }
    remove_networks(house, root);
    ids
}

/// With whoever answers for names there.
fn remove_networks(house: &House, root: &Path) {
    let files = std::fs::read_dir(root.join("networks")).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.path().file_stem()?.to_str().map(str::to_owned));
    for name in names {
        let removed = house.command_in(root, ["network", "rm", &name]).output().expect("tsubo network rm");
        if !removed.status.success() {
            eprintln!("tsubo network rm: {}", String::from_utf8_lossy(&removed.stderr));
        }
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub fn succeed(mut command: Command) -> String {
    let output = command.output().expect("spawn");
    assert!(output.status.success(), "{}", told(&command, &output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that must fail with `code`.
#[track_caller]
pub fn fail(mut command: Command, code: i32) -> String {
    let output = command.output().expect("spawn");
    assert_eq!(output.status.code(), Some(code), "{}", told(&command, &output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn told(command: &Command, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{command:?}: {}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}

/// A complaint is one line that begins with `error:` and names `needles`; ways out may follow.
#[track_caller]
pub fn one_clear_error(complaint: &str, needles: &[&str]) {
    let errors: Vec<&str> = complaint.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{complaint}");
    for needle in needles {
        assert!(complaint.contains(needle), "{needle:?} in {complaint}");
    }
    assert!(!complaint.contains("panicked") && !complaint.contains('\x1b'), "{complaint}");
}

/// Runs a command of the host's shell, which must succeed.
#[track_caller]
pub fn shell(script: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", script]);
    succeed(command)
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
pub fn until(what: &str, is: impl FnMut() -> bool) {
    until_within(60, what, is);
}

/// The same for what takes longer.
#[track_caller]
pub fn until_within(seconds: u64, what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !is() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until somebody listens on `port`.
#[track_caller]
pub fn until_listening(port: u16) {
    until("somebody listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// One HTTP/1.0 request to loopback: the status and the body.
#[track_caller]
pub fn get(port: u16, path: &str) -> (u16, String) {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("write");
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("read");
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// A child that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a child that must not hang.
#[track_caller]
pub fn ended(mut child: Child, what: &str) -> Output {
    // What it says is read meanwhile, so that it never waits for us.
    let [out, error] = [readers(child.stdout.take()), readers(child.stderr.take())];
    let end = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{what} hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Output { status, stdout: out.join().expect("output"), stderr: error.join().expect("errors") }
}

fn readers(stream: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until then is what there is.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        bytes
    })
}

/// Runs a script in a mount namespace of its own with a small tmpfs at `at`.
pub fn with_small_disk(house: &House, options: &str, script: &str) -> Output {
    let at = house.path("small");
    std::fs::create_dir_all(&at).expect("mkdir");
    let mut unshare = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o {options} small {}; {script}", at.display());
    unshare.args(["-m", "sh", "-c", &mount]).env("TSUBO", env!("CARGO_BIN_EXE_tsubo")).env("S", &at);
    unshare.current_dir(house.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ended(unshare.spawn().expect("unshare"), script)
}
