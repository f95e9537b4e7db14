//! A container for tests: an overlay over this machine's root in a mount namespace of the test's
//! own thread, and a first process in a pid namespace that waits at a gate with the filter loaded.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use spec::RootPath;
use spec::observation::{Stage, Use};
use tsubo_observe::{Opens, Seen, Settings, Watch, filter};

/// How a test wants its container.
pub(crate) struct Case {
    pub(crate) settings: Settings,
    pub(crate) directory: tempfile::TempDir,
}

/// A finished run.
pub(crate) struct Run {
    pub(crate) seen: spec::Result<Seen>,
    pub(crate) status: i32,
}

impl Case {
    /// A case with the given instruments; the container's root has an empty directory `/t`.
    pub(crate) fn new(opens: Opens) -> Self {
        // Not on the file system of `/`: the kernel refuses overlapping layers.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        for name in ["lower/t", "tmp"] {
            fs::create_dir_all(directory.path().join(name)).expect("directories");
        }
        Self { settings: Settings { opens }, directory }
    }

    /// A path in the part of the image that this test adds.
    pub(crate) fn lower(&self, path: &str) -> PathBuf {
        self.directory.path().join("lower").join(path.trim_start_matches('/'))
    }

    /// Puts a file into the image.
    pub(crate) fn file(&self, path: &str, content: &str) -> &Self {
        let path = self.lower(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, content).expect("file");
        self
    }

    /// Puts a symlink into the image.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.lower(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::os::unix::fs::symlink(target, path).expect("link");
        self
    }

    /// Compiles C into the image.
    pub(crate) fn compile(&self, path: &str, source: &Path, flags: &[&str]) -> &Self {
        let mut compiler = Command::new("gcc");
        compiler.args(["-O1", "-o"]).arg(self.lower(path)).arg(source).args(flags);
        assert!(compiler.status().expect("gcc").success());
        self
    }

    /// Runs the probe with `deeds` and returns what was seen of it; it must succeed.
    pub(crate) fn probe(&self, deeds: &[&str]) -> Seen {
        let run = self.probed(deeds);
        assert_eq!(run.status, 0, "{deeds:?}");
        run.seen.expect("a complete observation")
    }

    /// Runs the probe with `deeds`, however that ends.
    pub(crate) fn probed(&self, deeds: &[&str]) -> Run {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/observe/probe.c");
        self.compile("t/probe", &source, &["-pthread", "-ldl"]);
        let mut command = vec!["/t/probe"];
        command.extend(deeds);
        self.watched(&command, |_, _| {})
    }

    /// Runs a command and returns what was seen of it; it must succeed.
    pub(crate) fn run(&self, command: &[&str]) -> Seen {
        let run = self.watched(command, |_, _| {});
        assert_eq!(run.status, 0, "{command:?}");
        run.seen.expect("a complete observation")
    }

    /// Runs a command; `meanwhile` runs beside it and gets the watch and the command's pid.
    pub(crate) fn watched(&self, command: &[&str], meanwhile: impl FnOnce(&Watch, i32) + Send) -> Run {
        std::thread::scope(|scope| {
            scope.spawn(|| self.in_own_mounts(command, meanwhile)).join().expect("no panic")
        })
    }

    /// The overlay's writable layer.
    pub(crate) fn upper(&self) -> PathBuf {
        self.directory.path().join("tmp/upper")
    }

    /// Runs a command in a container whose root is the test's own tree, without any layer, seen by
    /// the listener alone.
    pub(crate) fn in_plain_tree(&self, command: &[&str]) -> Seen {
        for name in ["proc", "dev"] {
            fs::create_dir(self.lower(name)).expect("directory");
        }
        let run = || {
            own_mounts();
            let root = self.directory.path().join("tmp");
            mount(self.lower("").to_str().expect("UTF-8"), &root, "", libc::MS_BIND, "");
            let mut watch = Watch::listen(&self.lower("")).expect("prepared");
            let child = Child::spawn(&root, command, &filter(&Settings { opens: Opens::Listener }));
            watch.start(child.listener(), child.pid).expect("started");
            child.release();
            assert_eq!(child.wait(), 0);
            watch.finish().expect("a complete observation")
        };
        std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
    }

    /// Runs a command in the same container without watching it.
    pub(crate) fn unwatched(&self, command: &[&str], meanwhile: impl FnOnce(i32) + Send) {
        std::thread::scope(|scope| {
            let run = || {
                let merged = self.mount();
                let child = Child::spawn(&merged, command, &[]);
                child.release();
                meanwhile(child.pid);
                child.wait();
            };
            scope.spawn(run).join().expect("no panic");
        });
    }

    fn in_own_mounts(&self, command: &[&str], meanwhile: impl FnOnce(&Watch, i32)) -> Run {
        let merged = self.mount();
        let mut watch = Watch::prepare(&merged, &self.parts(&merged), self.settings).expect("prepared");
        let child = Child::spawn(&merged, command, &filter(&self.settings));
        watch.start(child.listener(), child.pid).expect("started");
        child.release();
        meanwhile(&watch, child.pid);
        let status = child.wait();
        Run { seen: watch.finish(), status }
    }

    /// The file systems of the image: `/`, and `/t/second` if the test has made `/second`.
    fn parts(&self, merged: &Path) -> Vec<PathBuf> {
        let second = self.lower("second").is_dir().then(|| merged.join("t/second"));
        std::iter::once(merged.to_owned()).chain(second).collect()
    }

    /// Mounts the container's root where this thread alone sees it.
    fn mount(&self) -> PathBuf {
        own_mounts();
        let top = self.directory.path().join("tmp");
        for name in ["upper", "work", "merged"] {
            fs::create_dir_all(top.join(name)).expect("directory");
        }
        let lower = self.lower("");
        let lower = lower.to_str().expect("UTF-8").trim_end_matches('/');
        let merged = top.join("merged");
        let shown = top.display();
        let options = format!("lowerdir={lower}:/,upperdir={shown}/upper,workdir={shown}/work");
        mount("overlay", &merged, "overlay", 0, &options);
        mount("/dev", &merged.join("dev"), "", libc::MS_BIND, "");
        if let Some(second) = self.parts(&merged).get(1) {
            for name in ["upper-second", "work-second"] {
                fs::create_dir_all(top.join(name)).expect("directory");
            }
            let options =
                format!("lowerdir={lower}/second,upperdir={shown}/upper-second,workdir={shown}/work-second");
            mount("overlay", second, "overlay", 0, &options);
        }
        merged
    }
}

/// What this thread mounts from now on it alone sees.
fn own_mounts() {
    // SAFETY: affects this thread alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_FS) }, 0);
    mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "");
}

fn mount(source: &str, target: &Path, kind: &str, flags: libc::c_ulong, data: &str) {
    let [source, kind, data] = [source, kind, data].map(|text| CString::new(text).expect("no NUL"));
    let target = CString::new(target.to_str().expect("UTF-8")).expect("no NUL");
    // SAFETY: all strings live through the call.
    let done =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    assert_eq!(done, 0, "mount {target:?}: {}", std::io::Error::last_os_error());
}

impl Drop for Child {
    /// Nothing of a failed test stays: with its first process the whole container ends.
    fn drop(&mut self) {
        // SAFETY: our own child, which is at most a zombie by now.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

struct Child {
    pid: i32,
    number: OwnedFd,
    gate: OwnedFd,
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

impl Child {
    fn spawn(root: &Path, command: &[&str], filter: &[sys::seccomp::Instruction]) -> Self {
        let root = CString::new(root.to_str().expect("UTF-8")).expect("no NUL");
        let arguments: Vec<CString> =
            command.iter().map(|text| CString::new(*text).expect("no NUL")).collect();
        let mut argv: Vec<_> = arguments.iter().map(|text| text.as_ptr()).collect();
        argv.push(std::ptr::null());
        let path = c"PATH=/usr/sbin:/usr/bin:/sbin:/bin";
        let envp = [path.as_ptr(), c"HOME=/".as_ptr(), std::ptr::null()];
        let (number, number_write) = pipe();
        let (gate_read, gate) = pipe();
        let flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::SIGCHLD;
        // SAFETY: without CLONE_VM this is fork; the child calls only what is safe after it.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as i32;
        assert!(pid >= 0, "clone: {}", std::io::Error::last_os_error());
        if pid == 0 {
            enter(&root);
            let load = || match filter {
                [] => Err(rustix::io::Errno::INVAL),
                filter => sys::seccomp::load_with_listener(filter),
            };
            let listener = load().map_or(-1, |fd| {
                let raw = fd.as_raw_fd();
                std::mem::forget(fd);
                raw
            });
            let _ = rustix::io::write(&number_write, &listener.to_ne_bytes());
            let _ = rustix::io::read(&gate_read, &mut [0u8; 1]);
            // SAFETY: both arrays end with a null pointer and live on in this process.
            unsafe {
                libc::execve(argv[0], argv.as_ptr(), envp.as_ptr());
                libc::_exit(127);
            }
        }
        Self { pid, number, gate }
    }

    fn listener(&self) -> OwnedFd {
        let mut number = [0u8; 4];
        rustix::io::read(&self.number, &mut number).expect("a number");
        let number = i32::from_ne_bytes(number);
        assert!(number >= 0, "the child could not load its filter");
        // SAFETY: plain integers; the results are checked before they are owned.
        unsafe {
            let process = libc::syscall(libc::SYS_pidfd_open, self.pid, 0) as i32;
            assert!(process >= 0, "pidfd_open");
            let process = OwnedFd::from_raw_fd(process);
            let fd = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) as i32;
            assert!(fd >= 0, "pidfd_getfd");
            OwnedFd::from_raw_fd(fd)
        }
    }

    fn release(&self) {
        rustix::io::write(&self.gate, b"x").expect("written");
    }

    fn wait(&self) -> i32 {
        let mut status = 0;
        for _ in 0..6000 {
            // SAFETY: the pointer is valid; the pid is our own child.
            match unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } {
                0 => std::thread::sleep(std::time::Duration::from_millis(10)),
                done => {
                    assert_eq!(done, self.pid);
                    return status;
                }
            }
        }
        panic!("the container does not end")
    }
}

/// In the child: goes into the new root with a /proc of its own.
fn enter(root: &CString) {
    // SAFETY: static or prepared strings; nothing allocates.
    unsafe {
        let ok = libc::chdir(root.as_ptr()) == 0
            && libc::mount(c"proc".as_ptr(), c"proc".as_ptr(), c"proc".as_ptr(), 0, std::ptr::null()) == 0
            && libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) == 0
            && libc::umount2(c".".as_ptr(), libc::MNT_DETACH) == 0
            && libc::chdir(c"/".as_ptr()) == 0;
        if !ok {
            libc::_exit(126);
        }
    }
}

/// The uses of a path.
pub(crate) fn uses(seen: &Seen, path: &str) -> Vec<Use> {
    let path: RootPath = path.parse().expect("a path");
    seen.paths.get(&path).map(|entry| entry.how.iter().copied().collect()).unwrap_or_default()
}

/// Asserts that a path was used in exactly these ways.
#[track_caller]
pub(crate) fn used(seen: &Seen, path: &str, wanted: &[Use]) {
    assert_eq!(uses(seen, path), wanted, "{path}");
}

/// The stage and the programs of a path.
pub(crate) fn by(seen: &Seen, path: &str) -> (Stage, Vec<String>) {
    let path: RootPath = path.parse().expect("a path");
    let entry = &seen.paths[&path];
    (entry.stage, entry.by.iter().cloned().collect())
}
