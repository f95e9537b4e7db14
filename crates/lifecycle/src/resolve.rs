//! From a portable spec to a spec: every default of a production container, for this host.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use runtime::seed::Size;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use spec::container::{
    self, Capabilities, DEFAULT_CAPABILITIES, Mount, MountFlags, MountKind, Namespace, Nodes, Process, Root,
    Spec, own,
};
use spec::life::Life;
use spec::portable::{Ids, Portable, is_reserved, volume_name};
use spec::seccomp::Choice;
use spec::{Error, Name, Result, ResultExt, RootPath};

/// Paths that are hidden, as Docker hides them.
pub const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that cannot be written, as with Docker.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Files of the host that a package may ask for.
const HOST_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Least size of a directory that is fresh at each start, in bytes; memory is used as it fills.
const FRESH_BYTES: u64 = 256 << 20;
/// Its inodes, at the least.
const FRESH_INODES: u64 = 65_536;
/// Size of /dev/shm in bytes, as Docker's.
const SHM_BYTES: u64 = 64 << 20;

/// A directory or file of the host that is shown in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Its path on the host.
    pub source: PathBuf,
    /// Where, inside.
    pub at: RootPath,
    /// Shown read-only.
    pub read_only: bool,
}

/// What the command line says beyond the package.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The container's name.
    pub name: Name,
    /// A command line in place of the package's; empty for the package's.
    pub args: Vec<String>,
    /// Environment on top of the package's.
    pub env: Vec<(String, String)>,
    /// Parts of the host that are shown.
    pub binds: Vec<Bind>,
    /// A pseudo-terminal.
    pub terminal: bool,
    /// A writable root in memory.
    pub writable_root: bool,
    /// Somebody else than the package says.
    pub user: Option<Ids>,
    /// A reaping init of ours is process 1.
    pub init: bool,
    /// Where declared volumes that are not given with `binds` are kept on the host; None makes
    /// them fresh at each start.
    pub volumes: Option<PathBuf>,
    /// How it lives.
    pub life: Life,
}

impl RunOptions {
    /// Nothing but a name.
    pub fn named(name: Name) -> Self {
        Self {
            name,
            args: Vec::new(),
            env: Vec::new(),
            binds: Vec::new(),
            terminal: false,
            writable_root: false,
            user: None,
            init: false,
            volumes: None,
            life: Life::default(),
        }
    }
}

/// Fills in every default. `tree` is the image's root on this host.
///
/// # Errors
/// What [`Portable::check`] refuses; a bind whose source does not exist or that would lie over the
/// kernel's own files; a command that is empty.
pub fn resolve(portable: &Portable, tree: &Path, options: &RunOptions) -> Result<Spec> {
    portable.check()?;
    let process = process(portable, options);
    if process.argv.first().is_none_or(String::is_empty) {
        return Err(Error::user(format!("{} has no command to run", portable.name))
            .hint("give one: tsubo run IMAGE COMMAND"));
    }
    let writable_root = portable.writable_root || options.writable_root;
    let root = match writable_root {
        true => Root::Scratch { path: tree.to_owned(), bytes: FRESH_BYTES, inodes: FRESH_INODES },
        false => Root::Tree { path: tree.to_owned() },
    };
    let mut mounts = kernel_mounts()?;
    if !writable_root {
        for at in outermost(&portable.writable) {
            mounts.push(fresh(tree, at)?);
        }
    }
    mounts.extend(volumes(portable, tree, options)?);
    mounts.extend(portable.host_files.iter().filter_map(|path| host_file(tree, path)));
    mounts.extend(binds(&options.binds)?);
    mounts.sort_by_key(|mount| mount.at.as_bytes().iter().filter(|byte| **byte == b'/').count());
    let mut spec = Spec::new(crate::new_id()?, options.name.clone(), root, process);
    spec.mounts = mounts;
    spec.namespaces =
        own([Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup]);
    spec.hostname = Some(options.name.as_str().to_owned());
    spec.masked = paths(&MASKED)?;
    spec.read_only = paths(&READ_ONLY)?;
    spec.init = options.init;
    spec.cgroup = true;
    spec.stop_signal = portable.stop_signal;
    Ok(spec)
}

fn process(portable: &Portable, options: &RunOptions) -> Process {
    let mut env = portable.env.clone();
    if options.terminal {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    env.extend(options.env.iter().cloned());
    let argv = if options.args.is_empty() { portable.command.clone() } else { options.args.clone() };
    Process {
        env: env.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
        cwd: portable.cwd.clone(),
        user: options.user.clone().unwrap_or_else(|| portable.user.clone()),
        capabilities: Capabilities::of(DEFAULT_CAPABILITIES),
        no_new_privs: !portable.gain_privilege,
        seccomp: Choice::Default,
        terminal: options.terminal,
        rlimits: default_limits(),
        ..Process::new(argv)
    }
}

/// The resource limits of every container, whatever the shell that starts it has: number as in
/// resource.h, soft, hard. Where the host allows less, that is what it gets.
pub fn default_limits() -> Vec<(u32, u64, u64)> {
    vec![(CORE, 0, 0), (OPEN_FILES, 1024, 524_288)]
}

/// RLIMIT_CORE: a dump in a container is lost with it, or lands wherever the host's pattern says.
const CORE: u32 = 4;
/// RLIMIT_NOFILE: soft as for every program that uses select, hard as systemd has it.
const OPEN_FILES: u32 = 7;

fn kernel_mounts() -> Result<Vec<Mount>> {
    let mount = |at: &str, what| -> Result<Mount> {
        Ok(Mount { at: at.parse()?, what, flags: MountFlags::default() })
    };
    Ok(vec![
        mount("/proc", MountKind::Proc)?,
        mount("/sys", MountKind::Sys { writable: false })?,
        mount("/sys/fs/cgroup", MountKind::Cgroup { writable: false })?,
        mount("/dev", MountKind::Dev { shm: SHM_BYTES, nodes: Nodes::Bound })?,
    ])
}

fn paths(list: &[&str]) -> Result<Vec<RootPath>> {
    list.iter().map(|path| path.parse()).collect()
}

/// The directories that do not lie in another of them.
fn outermost(dirs: &BTreeSet<RootPath>) -> Vec<RootPath> {
    let inner = |dir: &RootPath| dir.ancestors().any(|above| dirs.contains(&above));
    dirs.iter().filter(|dir| !inner(dir)).cloned().collect()
}

/// Room for what the image has there and as much again.
fn fresh(tree: &Path, at: RootPath) -> Result<Mount> {
    let shared = matches!(at.as_bytes(), b"/tmp" | b"/var/tmp" | b"/run/lock");
    let mode = if shared { 0o1777 } else { 0o755 };
    let seed = size_in(tree, &at).doing(|| format!("measuring {at} of the image"))?;
    let bytes = seed.bytes.saturating_mul(2).max(FRESH_BYTES);
    let inodes = seed.inodes.saturating_mul(2).max(FRESH_INODES);
    let what = MountKind::Tmpfs { bytes, inodes, seeded: true, mode };
    Ok(Mount { at, what, flags: MountFlags::default() })
}

fn size_in(tree: &Path, at: &RootPath) -> std::io::Result<Size> {
    let root = std::fs::File::open(tree)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, at.relative(), flags, Mode::empty(), inside) {
        Ok(directory) => runtime::seed::measure_tree(directory.as_fd()),
        Err(Errno::NOENT) => Ok(Size::default()),
        Err(error) => Err(error.into()),
    }
}

/// Declared volumes, but for those that are given on the command line.
fn volumes(portable: &Portable, tree: &Path, options: &RunOptions) -> Result<Vec<Mount>> {
    let given = |at: &&RootPath| !options.binds.iter().any(|bind| bind.at == **at);
    let mount = |at: &RootPath| match &options.volumes {
        Some(dir) => {
            let source = dir.join(volume_name(at));
            Ok(bound(source, at.clone(), false))
        }
        None => fresh(tree, at.clone()),
    };
    portable.volumes.iter().filter(given).map(mount).collect()
}

fn bound(source: PathBuf, at: RootPath, read_only: bool) -> Mount {
    let flags = MountFlags { read_only, ..MountFlags::default() };
    Mount { at, what: MountKind::Bind(container::Bind::of(source)), flags }
}

/// A file of this host in the image's place, if both are there. A package may ask for the few
/// files that say how to reach the network, and for no other file of the host.
fn host_file(tree: &Path, path: &RootPath) -> Option<Mount> {
    HOST_FILES.iter().find(|allowed| allowed.as_bytes() == path.as_bytes())?;
    let source = std::fs::canonicalize(path.as_path()).ok().filter(|source| source.is_file())?;
    let there = std::fs::symlink_metadata(tree.join(path.relative())).is_ok_and(|meta| meta.is_file());
    there.then(|| bound(source, path.clone(), true))
}

fn binds(binds: &[Bind]) -> Result<Vec<Mount>> {
    let mount = |bind: &Bind| {
        let source = std::fs::canonicalize(&bind.source).map_err(|cause| {
            Error::io(format!("cannot show {} in the container", bind.source.display()), cause)
                .hint("make it first; -v takes SOURCE:DESTINATION[:ro]")
        })?;
        if is_reserved(&bind.at) || hides_devices(&source, &bind.at) {
            let source = bind.source.display();
            return Err(Error::user(format!("cannot show {source} at {}: the kernel's own files are there", bind.at))
                .hint("any place will do that is not / and not in /proc, /sys or /dev; devices and /dev/shm may be given"));
        }
        Ok(bound(source, bind.at.clone(), bind.read_only))
    };
    binds.iter().map(mount).collect()
}

/// A directory in /dev would lie over devices; single devices and sockets are given on purpose.
fn hides_devices(source: &Path, at: &RootPath) -> bool {
    let dev = RootPath::root().join(b"dev");
    at.is_within(&dev) && *at != dev.join(b"shm") && source.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portable() -> Portable {
        Portable::new("web".parse().expect("name"), vec!["/bin/true".to_owned()])
    }

    fn path(text: &str) -> RootPath {
        text.parse().expect(text)
    }

    #[test]
    fn written_directories_become_fresh_ones_outermost_only() {
        let mut portable = portable();
        portable.writable = [path("/var/lib"), path("/var/lib/nginx"), path("/tmp")].into();
        let spec = resolve(
            &portable,
            Path::new(env!("CARGO_MANIFEST_DIR")),
            &RunOptions::named(portable.name.clone()),
        )
        .expect("spec");
        let fresh: Vec<String> = spec
            .mounts
            .iter()
            .filter(|mount| matches!(mount.what, MountKind::Tmpfs { .. }))
            .map(|mount| mount.at.to_string())
            .collect();
        assert_eq!(fresh, ["/tmp", "/var/lib"]);
        assert!(matches!(spec.root, Root::Tree { .. }));
        assert!(spec.process.no_new_privs);
    }

    #[test]
    fn volumes_are_kept_where_told_and_given_ones_win() {
        let mut portable = portable();
        portable.volumes = [path("/var/lib/db"), path("/data")].into();
        let mut options = RunOptions::named(portable.name.clone());
        options.volumes = Some("/state/volumes".into());
        options.binds = vec![Bind { source: "/tmp".into(), at: path("/data"), read_only: true }];
        let spec = resolve(&portable, Path::new("/"), &options).expect("spec");
        let bind = |at: &str| spec.mounts.iter().filter(|mount| mount.at == path(at)).collect::<Vec<_>>();
        let kept = MountKind::Bind(container::Bind::of("/state/volumes/var%2flib%2fdb"));
        assert_eq!(bind("/var/lib/db")[0].what, kept);
        assert_eq!(bind("/data").len(), 1);
    }

    #[test]
    fn a_package_cannot_ask_for_the_hosts_secrets() {
        let mut portable = portable();
        portable.host_files = [path("/etc/shadow"), path("/etc/hosts")].into();
        let spec =
            resolve(&portable, Path::new("/"), &RunOptions::named(portable.name.clone())).expect("spec");
        assert!(!spec.mounts.iter().any(|mount| mount.at == path("/etc/shadow")));
    }

    #[test]
    fn an_empty_command_and_a_missing_source_are_refused() {
        let empty = Portable::new("web".parse().expect("name"), Vec::new());
        assert!(resolve(&empty, Path::new("/"), &RunOptions::named(empty.name.clone())).is_err());
        let mut options = RunOptions::named(empty.name.clone());
        options.binds = vec![Bind { source: "/nonexistent".into(), at: path("/x"), read_only: false }];
        assert!(resolve(&portable(), Path::new("/"), &options).is_err());
    }

    #[test]
    fn nothing_lies_over_the_kernels_files() {
        let mut hostile = portable();
        hostile.writable.insert(path("/proc"));
        let error =
            resolve(&hostile, Path::new("/"), &RunOptions::named(hostile.name.clone())).expect_err("refused");
        assert!(error.chain().contains("/proc"), "{error:?}");
        let bound = |source: &str, at: &str| {
            let mut options = RunOptions::named(portable().name);
            options.binds = vec![Bind { source: source.into(), at: path(at), read_only: false }];
            resolve(&portable(), Path::new("/"), &options)
        };
        for at in ["/", "/proc", "/proc/sys", "/sys/fs/cgroup/x", "/dev", "/dev/shm/x", "/dev/pts"] {
            assert!(bound("/tmp", at).is_err(), "{at}");
        }
        for (source, at) in [("/tmp", "/dev/shm"), ("/dev/null", "/dev/fuse"), ("/tmp", "/procs")] {
            bound(source, at).expect(at);
        }
    }

    #[test]
    fn limits_are_not_those_of_the_callers_shell() {
        let spec = resolve(&portable(), Path::new("/"), &RunOptions::named(portable().name)).expect("spec");
        assert_eq!(spec.process.rlimits, [(4, 0, 0), (7, 1024, 524_288)]);
    }

    #[test]
    fn a_fresh_directory_has_room_for_what_the_image_has_there() {
        let tree = std::env::temp_dir().join(format!("tsubo-resolve-{}", std::process::id()));
        std::fs::create_dir_all(tree.join("srv/data")).expect("tree");
        std::os::unix::fs::symlink("srv", tree.join("link")).expect("link");
        // Sparse here, but a copy in memory is not.
        let file = std::fs::File::create(tree.join("srv/data/large")).expect("file");
        file.set_len((300 << 20) + 1).expect("length");
        let mut portable = portable();
        portable.writable = [path("/link"), path("/none")].into();
        let spec = resolve(&portable, &tree, &RunOptions::named(portable.name.clone()));
        std::fs::remove_dir_all(&tree).expect("clean");
        let spec = spec.expect("spec");
        let size = |at: &str| match spec.mounts.iter().find(|mount| mount.at == path(at)).expect(at).what {
            MountKind::Tmpfs { bytes, inodes, .. } => (bytes, inodes),
            _ => panic!("no tmpfs"),
        };
        assert_eq!(size("/link"), (2 * ((300 << 20) + 4096), FRESH_INODES));
        assert_eq!(size("/none"), (FRESH_BYTES, FRESH_INODES));
    }

    #[test]
    fn what_docker_hides_is_hidden() {
        let spec = resolve(&portable(), Path::new("/"), &RunOptions::named(portable().name)).expect("spec");
        for hidden in ["/proc/kcore", "/proc/keys", "/sys/devices/virtual/powercap", "/sys/firmware"] {
            assert!(spec.masked.contains(&path(hidden)), "{hidden}");
        }
    }
}
