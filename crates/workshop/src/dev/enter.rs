//! Running a command in a development container.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use lifecycle::Bind;
use runtime::{Child, Options, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spec::container::{
    self, Capabilities, DEFAULT_CAPABILITIES, Mount, MountFlags, MountKind, Namespace, Nodes, Process, Root,
    Spec,
};
use spec::portable::Ids;
use spec::seccomp::Choice;
use spec::{Error, ErrorKind, Id, Name, Result, ResultExt, RootPath};

use super::Development;
use super::stack::Stack;
use crate::interrupt::Interrupt;
use crate::terminal;

/// Where programs are looked for if nothing else is said.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Size of /dev/shm, as Docker's.
const SHM: u64 = 64 << 20;

/// The spec of a container that runs over a mounted, writable root: a development container or
/// the throw-away copy of one.
pub fn spec_over(stack: &Stack, name: &Name, id: Id, process: Process, binds: &[Bind]) -> Spec {
    let rootless = lifecycle::rootless::inside();
    let mut mounts = vec![
        mount("/proc", MountKind::Proc),
        system(rootless),
        mount("/dev", MountKind::Dev { shm: SHM, nodes: Nodes::Bound }),
    ];
    // An ordinary user has groups where some were delegated to him, and else none.
    let groups = !rootless || cgroup::Group::available().is_ok();
    if groups {
        mounts.insert(2, mount("/sys/fs/cgroup", MountKind::Cgroup { writable: false }));
    }
    mounts.extend(binds.iter().map(|bind| Mount {
        at: bind.at.clone(),
        what: MountKind::Bind(container::Bind::of(&bind.source)),
        flags: MountFlags { read_only: bind.read_only, ..MountFlags::default() },
    }));
    let root = Root::Mounted { path: stack.root.clone() };
    let mut spec = Spec::new(id, name.clone(), root, process);
    spec.mounts = mounts;
    spec.namespaces =
        container::own([Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup]);
    spec.hostname = Some(name.as_str().to_owned());
    spec.masked = lifecycle::MASKED.iter().filter_map(|path| path.parse().ok()).collect();
    spec.read_only = lifecycle::READ_ONLY.iter().filter_map(|path| path.parse().ok()).collect();
    spec.cgroup = groups;
    spec
}

fn mount(at: &str, what: MountKind) -> Mount {
    Mount { at: at.parse().unwrap_or_else(|_| RootPath::root()), what, flags: MountFlags::default() }
}

/// The kernel gives a user no sysfs of a network that is not his: then the host's is shown.
fn system(rootless: bool) -> Mount {
    let own = mount("/sys", MountKind::Sys { writable: false });
    let hosts = Mount {
        flags: MountFlags { read_only: true, ..MountFlags::default() },
        ..mount("/sys", MountKind::Bind(container::Bind::of("/sys")))
    };
    if rootless { hosts } else { own }
}

/// A process with the defaults of a container: Docker's capabilities and system call filter.
pub fn process(argv: Vec<String>, env: &BTreeMap<String, String>, cwd: RootPath, user: Ids) -> Process {
    Process {
        env: env.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        cwd,
        user,
        capabilities: Capabilities::of(DEFAULT_CAPABILITIES),
        seccomp: Choice::Default,
        rlimits: lifecycle::default_limits(),
        ..Process::new(argv)
    }
}

/// The environment of a development container: nothing of the caller's but what names the
/// terminal and the way to the network.
pub fn environment(interactive: bool) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> =
        [("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("USER", "root")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let proxies = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let passed: BTreeSet<&str> = proxies.into_iter().chain(interactive.then_some("TERM")).collect();
    env.extend(passed.into_iter().filter_map(|key| Some((key.to_owned(), std::env::var(key).ok()?))));
    if !interactive {
        // Nobody is there to answer a package's questions.
        env.insert("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned());
    }
    env
}

/// The environment of a service where nothing else is said: where programs are, and the home of
/// its user in the container's `root`. It goes into the package.
pub fn service_environment(root: &Path, user: &Ids) -> BTreeMap<String, String> {
    let home = crate::passwd::home(root, user.uid);
    [("PATH", PATH.to_owned()), ("HOME", home)].map(|(key, value)| (key.to_owned(), value)).into()
}

/// Runs `argv` (a shell if empty) in the container; returns its exit code.
///
/// # Errors
/// As of the runtime; interrupted.
pub fn enter(
    development: &Development,
    argv: Vec<String>,
    binds: &[Bind],
    id: Id,
    interrupt: &Interrupt,
) -> Result<i32> {
    sys::private_mounts::enter().doing(|| "making a private mount namespace")?;
    let stack = development.mount()?;
    let argv = if argv.is_empty() { vec![shell(&stack.root).to_owned()] } else { argv };
    let interactive = terminal::is_interactive();
    let mut process = process(argv, &environment(interactive), home(&stack.root), Ids::default());
    process.terminal = interactive;
    let mut spec = spec_over(&stack, &development.record.name, id, process, binds);
    // Daemons of installation scripts are reaped, and ^C works for programs that do not expect to be process 1.
    spec.init = true;
    spec.cgroup = false;
    let mut options = Options::new(Stdio::inherit()?);
    options.die_with_parent = true;
    let mut child = runtime::spawn(&spec::plan::plan(&spec), options)?;
    child.release()?;
    match child.terminal() {
        Some(master) => {
            terminal::relay(&master, &mut || Ok(child.try_wait()?.is_some()))?;
            child.wait()
        }
        None => wait(&mut child, interrupt),
    }
}

/// Waits for the command; the first interruption is passed on to it, the second ends it.
fn wait(child: &mut Child, interrupt: &Interrupt) -> Result<i32> {
    let mut asked = false;
    loop {
        if let Some(code) = child.try_wait()? {
            return Ok(code);
        }
        if let Some(signal) = interrupt.take() {
            child.signal(if asked { 9 } else { signal })?;
            if asked {
                return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
            }
            asked = true;
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(Duration::from_millis(200).subsec_nanos()) };
        // A signal ends the poll early, which is the point.
        let _ = poll(&mut [PollFd::new(&child.pidfd(), PollFlags::IN)], Some(&pause));
    }
}

fn shell(root: &Path) -> &'static str {
    let there = |path: &str| std::fs::symlink_metadata(root.join(path)).is_ok();
    if there("bin/bash") || there("usr/bin/bash") { "/bin/bash" } else { "/bin/sh" }
}

/// /root where there is one.
fn home(root: &Path) -> RootPath {
    let there = std::fs::symlink_metadata(root.join("root")).is_ok_and(|meta| meta.is_dir());
    if there { RootPath::root().join(b"root") } else { RootPath::root() }
}
