//! A state directory and a busybox tree, both gone at the end, with every container in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lifecycle::{Container, Containers, Home, Launch, RunOptions, Session, Source};
use spec::Result;
use spec::limits::{Count, Size};
use spec::portable::Portable;
use spec::protocol::Stream;
use spec::resources::Limit;
use tempfile::TempDir;

pub(crate) struct World {
    directory: TempDir,
    pub(crate) containers: Containers,
    pub(crate) portable: Portable,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tree = directory.path().join("tree");
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "srv", "data"] {
            fs::create_dir_all(tree.join(name)).expect(name);
        }
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).expect("mode");
        fs::copy("/bin/busybox", tree.join("bin/busybox")).expect("busybox-static");
        for applet in "sh true false cat ls grep sleep echo kill head yes stty tty id ps wc test readlink dd touch tr trap pwd env".split(' ') {
            symlink("busybox", tree.join("bin").join(applet)).expect(applet);
        }
        let home = Home::open(Some(&directory.path().join("state")), None).expect("a state directory");
        let mut portable = Portable::new("box".parse().expect("name"), vec!["/bin/true".into()]);
        portable.env.insert("PATH".into(), "/bin".into());
        portable.writable.insert("/tmp".parse().expect("path"));
        Self { containers: Containers::of(&home), directory, portable }
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn create(
        &self,
        name: &str,
        remove: bool,
        change: impl FnOnce(&mut RunOptions),
    ) -> Result<Container> {
        let mut options = RunOptions::named(name.parse().expect("name"));
        // Tests make nothing in this machine's own network.
        options.network.networks.push("host".to_owned());
        if !self.portable.volumes.is_empty() {
            // So that a test can look into them from outside.
            options.limits.disk = Some(Size(Limit::Max));
            options.limits.inodes = Some(Count(Limit::Max));
        }
        change(&mut options);
        let tree = self.tree();
        let source = Source { portable: &self.portable, tree: &tree, image: "box" };
        self.containers.create(source, options, remove)
    }

    pub(crate) fn shell(&self, name: &str, remove: bool, script: &str) -> Result<Container> {
        self.create(name, remove, |options| {
            options.args = ["/bin/sh", "-c", script].map(String::from).to_vec()
        })
    }

    /// Starts a shell script and leaves it alone.
    pub(crate) fn detached(&self, name: &str, script: &str) -> Container {
        self.shell(name, false, script).expect("create").start(launch(false, false)).expect("start");
        self.containers.find(name).expect("find")
    }

    /// Runs a shell script to its end with `--rm`; what it said and its exit code.
    pub(crate) fn run(&self, name: &str, script: &str) -> (String, i32) {
        let session =
            self.shell(name, true, script).expect("create").start(launch(true, false)).expect("start");
        relay(session)
    }

    /// Nothing is left of any container.
    pub(crate) fn assert_empty(&self) {
        for dir in ["containers", "run/containers"] {
            let left: Vec<_> = fs::read_dir(self.state().join(dir))
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for container in self.containers.list().unwrap_or_default() {
            let _ = container.remove(true);
        }
    }
}

pub(crate) fn launch(attached: bool, input: bool) -> Launch {
    // The keeper as built for these tests, or the one that is to be measured.
    let keeper = std::env::var_os("TSUBO_KEEPER").unwrap_or(env!("CARGO_BIN_EXE_tsubo-keeper").into());
    Launch { attached, input, keeper: Some(keeper.into()), ..Launch::default() }
}

pub(crate) fn relay(session: Session) -> (String, i32) {
    let mut said = Vec::new();
    let mut take = |_: Stream, bytes: &[u8]| {
        said.extend_from_slice(bytes);
        Ok(())
    };
    let code = session.relay_to(&mut take).expect("relay");
    (String::from_utf8_lossy(&said).trim_end().to_owned(), code)
}

pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn log_of(container: &Container) -> String {
    let mut reader = container.logs();
    let mut text = Vec::new();
    while let Some(line) = reader.next_line().expect("log") {
        text.extend(line.text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
