//! A root file system of busybox, a spec over it, and a run of it that captures its output.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use spec::container::{
    Bind, Capabilities, DEFAULT_CAPABILITIES, Mount, MountFlags, MountKind, Namespace, Nodes, Process, Room,
    Root, Spec, own,
};
use spec::seccomp::Choice;
use spec::{Id, Result, RootPath};
use tempfile::TempDir;
use tsubo_runtime::{Child, Options, Stdio};

pub(crate) struct Box {
    pub(crate) directory: TempDir,
    pub(crate) spec: Spec,
}

pub(crate) fn path(text: &str) -> RootPath {
    text.parse().expect("a path")
}

pub(crate) fn mount(at: &str, what: MountKind) -> Mount {
    Mount { at: path(at), what, flags: MountFlags::default() }
}

/// A bind of a host's path.
pub(crate) fn bind(at: &str, source: &Path, read_only: bool) -> Mount {
    let flags = MountFlags { read_only, ..MountFlags::default() };
    Mount { flags, ..mount(at, MountKind::Bind(Bind::of(source))) }
}

/// A read-only root with all mounts and confinement of a production container.
pub(crate) fn container(argv: &[&str]) -> Box {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tree = directory.path();
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "srv", "run", "var"] {
        fs::create_dir(tree.join(name)).expect(name);
    }
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).expect("mode");
    fs::copy("/bin/busybox", tree.join("bin/busybox")).expect("busybox-static");
    let applets = "sh true false cat ls mount grep stat readlink touch mkdir id sleep kill ps ulimit mknod hostname echo \
                   find wc tty stty setsid chmod unshare head pwd env test seq dd ln sync xargs sort nc sed";
    for applet in applets.split_whitespace() {
        symlink("busybox", tree.join("bin").join(applet)).expect(applet);
    }
    let process = Process {
        env: vec!["PATH=/bin".into()],
        capabilities: Capabilities::of(DEFAULT_CAPABILITIES),
        no_new_privs: true,
        seccomp: Choice::Default,
        ..Process::new(argv.iter().map(ToString::to_string).collect())
    };
    let name = "box".parse().expect("a name");
    let mut spec = Spec::new(Id::from_bytes([7; 6]), name, Root::Tree { path: tree.to_owned() }, process);
    spec.mounts = vec![
        mount("/proc", MountKind::Proc),
        mount("/sys", MountKind::Sys { writable: false }),
        mount("/sys/fs/cgroup", MountKind::Cgroup { writable: false }),
        mount("/dev", MountKind::Dev { shm: 64 << 20, nodes: Nodes::Bound }),
    ];
    spec.namespaces =
        own([Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup]);
    spec.hostname = Some("inside".into());
    spec.masked = vec![path("/proc/kcore"), path("/proc/acpi"), path("/proc/nothing-here")];
    spec.read_only = vec![path("/proc/sys")];
    Box { directory, spec }
}

pub(crate) fn shell(script: &str) -> Box {
    container(&["/bin/sh", "-c", script])
}

pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Box {
    pub(crate) fn tree(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn mount(mut self, at: &str, what: MountKind) -> Self {
        self.spec.mounts.push(mount(at, what));
        self
    }

    pub(crate) fn bind(mut self, at: &str, source: &Path, read_only: bool) -> Self {
        self.spec.mounts.push(bind(at, source, read_only));
        self
    }

    /// A writable root.
    pub(crate) fn scratch(mut self) -> Self {
        let path = self.directory.path().to_owned();
        self.spec.root = Root::Scratch { path };
        self.spec.room = Room { bytes: 16 << 20, inodes: 4096 };
        self
    }

    pub(crate) fn start(&self) -> Result<(Child, File)> {
        let (read, write) = pipe();
        let mut child = self.gated(write)?;
        child.release()?;
        Ok((child, File::from(read)))
    }

    pub(crate) fn gated(&self, output: OwnedFd) -> Result<Child> {
        tsubo_runtime::spawn(&spec::plan::plan(&self.spec), Options::new(stdio(output)))
    }

    pub(crate) fn run(&self) -> Ended {
        let (mut child, mut pipe) = self.start().unwrap_or_else(|error| panic!("{error:?}"));
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("reading");
        let code = child.wait().expect("waiting");
        Ended { code, output: String::from_utf8_lossy(&bytes).trim_end().to_owned() }
    }

    /// Runs it, expects exit code 0, returns what it said.
    pub(crate) fn said(&self) -> String {
        let ended = self.run();
        assert_eq!(ended.code, 0, "{}", ended.output);
        ended.output
    }

    pub(crate) fn fails(&self) -> spec::Error {
        match self.start() {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    }
}

pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

pub(crate) fn stdio(output: OwnedFd) -> Stdio {
    let null = Stdio::null().expect("/dev/null");
    Stdio { stdin: null.stdin, stderr: output.try_clone().expect("dup"), stdout: output }
}
