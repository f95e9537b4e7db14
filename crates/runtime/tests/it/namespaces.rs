//! Namespaces of its own, the host's, another's; and roots of every kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use spec::ErrorKind;
use spec::container::{Clocks, Landlock, MountKind, Namespace, Place, Root, RootChange, Users, own};
use tsubo_runtime::{Child, Options, Stdio, Target};

use crate::harness::{Box, container, mount, path, pipe, shell};

/// A container without anything: a chroot into its tree, all namespaces the host's.
pub(crate) fn bare(argv: &[&str]) -> Box {
    let mut made = container(argv);
    made.spec.mounts.clear();
    made.spec.masked.clear();
    made.spec.read_only.clear();
    made.spec.namespaces = BTreeMap::new();
    made.spec.hostname = None;
    made.spec.root_change = RootChange::Chroot;
    made
}

fn link(pid: impl std::fmt::Display, namespace: Namespace) -> String {
    let file = format!("/proc/{pid}/ns/{}", namespace.file());
    fs::read_link(&file).expect(&file).to_string_lossy().into_owned()
}

fn file(child: &Child, namespace: Namespace) -> PathBuf {
    format!("/proc/{}/ns/{}", child.pid(), namespace.file()).into()
}

/// A container that stays, with a namespace of its own of every kind.
fn neighbour() -> (Box, Child) {
    let mut made = shell("echo there; exec sleep 1000");
    made.spec.namespaces = own([
        Namespace::Mount,
        Namespace::Pid,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Cgroup,
        Namespace::Net,
        Namespace::Time,
    ]);
    made.spec.clocks = Clocks { monotonic: 1_000_000, boot: 2_000_000, ..Clocks::default() };
    made.spec.hostname = Some("neighbour".into());
    made = with_users(made);
    let (child, mut output) = made.start().expect("neighbour");
    std::io::Read::read_exact(&mut output, &mut [0; 6]).expect("it runs");
    (made, child)
}

/// The same with users of its own, nobody's on the host.
pub(crate) fn with_users(mut made: Box) -> Box {
    made.spec.users = Some(Users::anywhere().at(1_600_000_000));
    made.spec.namespaces.insert(Namespace::User, Place::Own);
    made
}

#[test]
fn every_mixture_of_own_namespaces_works() {
    // One tree for all: a program that is being copied while another test forks cannot be executed.
    let mut made = bare(&["/bin/true"]);
    made.spec.cgroup = true;
    for mixture in 0..1_u32 << Namespace::ALL.len() {
        let chosen = Namespace::ALL.iter().enumerate().filter(|(bit, _)| mixture & (1 << bit) != 0);
        let chosen: Vec<Namespace> = chosen.map(|(_, namespace)| *namespace).collect();
        made.spec.namespaces = chosen.iter().map(|namespace| (*namespace, Place::Own)).collect();
        made.spec.users = None;
        if chosen.contains(&Namespace::User) {
            made = with_users(made);
        }
        spec::container::check(&made.spec).expect("allowed");
        let mut child = made.gated(pipe().1).unwrap_or_else(|error| panic!("{chosen:?}: {error:?}"));
        for namespace in Namespace::ALL {
            let same = link(child.pid(), namespace) == link("self", namespace);
            assert_eq!(same, !chosen.contains(&namespace), "{namespace:?} of {chosen:?}");
        }
        child.release().unwrap_or_else(|error| panic!("{chosen:?}: {error:?}"));
        assert_eq!(child.wait().expect("wait"), 0, "{chosen:?}");
    }
}

#[test]
fn each_namespace_of_a_neighbour_can_be_joined() {
    let (_keep, neighbour) = neighbour();
    for namespace in
        [Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup, Namespace::Net, Namespace::Time]
    {
        let mut made = bare(&["/bin/true"]);
        made.spec.namespaces = [(namespace, Place::Path(file(&neighbour, namespace)))].into();
        let mut child = made.gated(pipe().1).unwrap_or_else(|error| panic!("{namespace:?}: {error:?}"));
        for one in Namespace::ALL {
            let expected = if one == namespace { link(neighbour.pid(), one) } else { link("self", one) };
            assert_eq!(link(child.pid(), one), expected, "{one:?} when {namespace:?} is joined");
        }
        child.release().expect("release");
        assert_eq!(child.wait().expect("wait"), 0);
    }
    let ours = link("self", Namespace::Pid);
    assert_eq!(link("thread-self", Namespace::Pid), ours, "the caller stays where it was");
}

#[test]
fn several_namespaces_of_a_neighbour_at_once_make_a_pod() {
    let (_keep, neighbour) = neighbour();
    let mut made =
        shell("hostname; readlink /proc/self/ns/net; cat /proc/uptime; echo $$; ps | grep -c 'sleep 1000'");
    made.spec.hostname = None;
    for namespace in [Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Net, Namespace::Time] {
        made.spec.namespaces.insert(namespace, Place::Path(file(&neighbour, namespace)));
    }
    let said = made.said();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "neighbour", "{said}");
    assert_eq!(lines[1], link(neighbour.pid(), Namespace::Net));
    assert!(lines[2].parse::<f64>().is_err() && uptime(lines[2]) > 2_000_000.0, "{said}");
    assert_ne!(lines[3], "1", "the neighbour is process 1");
    assert!(lines[4].parse::<u32>().expect("count") >= 1, "its processes are seen: {said}");
}

fn uptime(line: &str) -> f64 {
    line.split(' ').next().and_then(|first| first.parse().ok()).expect("uptime")
}

#[test]
fn a_mount_namespace_of_a_neighbour_brings_its_root() {
    let (keep, neighbour) = neighbour();
    fs::write(keep.tree().join("etc/mark"), "neighbour's").expect("mark");
    let mut made = bare(&["/bin/sh", "-c", "cat /etc/mark; pwd; readlink /proc/self/ns/mnt"]);
    made.spec.root = Root::Host;
    made.spec.root_change = RootChange::None;
    made.spec.process.cwd = path("/srv");
    made.spec.namespaces = [Namespace::Mount, Namespace::Pid]
        .map(|namespace| (namespace, Place::Path(file(&neighbour, namespace))))
        .into();
    assert_eq!(made.said(), format!("neighbour's/srv\n{}", link(neighbour.pid(), Namespace::Mount)));
}

#[test]
fn what_is_no_such_namespace_is_refused_before_anything_is_done() {
    let directory = tempfile::tempdir().expect("dir");
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("fifo");
    let refused = |namespace, path: PathBuf| {
        let mut made = bare(&["/bin/true"]);
        made.spec.namespaces = [(namespace, Place::Path(path))].into();
        made.fails()
    };
    for path in ["/etc/passwd", "/", "/proc/self/ns/uts"].map(PathBuf::from).into_iter().chain([fifo]) {
        let error = refused(Namespace::Net, path.clone());
        assert_eq!(error.kind(), ErrorKind::User, "{error:?}");
        assert!(error.chain().contains("not a net namespace") && !error.hints().is_empty(), "{error:?}");
    }
    assert_eq!(refused(Namespace::Net, "/proc/0/ns/net".into()).kind(), ErrorKind::NotFound);
}

#[test]
fn a_pid_namespace_that_has_ended_takes_nobody() {
    let (_keep, mut neighbour) = neighbour();
    let held = fs::File::open(file(&neighbour, Namespace::Pid)).expect("open");
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&held));
    neighbour.signal(9).expect("kill");
    neighbour.wait().expect("wait");
    let mut made = bare(&["/bin/true"]);
    made.spec.namespaces = [(Namespace::Pid, Place::Path(path.into()))].into();
    let error = made.fails();
    assert!(error.hints().iter().any(|hint| hint.contains("first process")), "{error:?}");
}

#[test]
fn a_network_of_its_own_has_its_loopback_up() {
    let mut made = shell("/bin/busybox ip addr show; cat /proc/net/if_inet6");
    made.spec.namespaces.insert(Namespace::Net, Place::Own);
    let said = made.said();
    assert_eq!(said, with_users(made).said());
    assert!(said.contains("127.0.0.1/8") && said.contains("UP"), "{said}");
    assert!(!said.contains("eth0"), "{said}");
}

#[test]
fn host_and_domain_name() {
    let mut made = shell("hostname; cat /proc/sys/kernel/domainname");
    made.spec.domainname = Some("example.test".into());
    assert_eq!(made.said(), "inside\nexample.test");
    let ours = fs::read_to_string("/proc/sys/kernel/domainname").expect("domainname");
    assert_ne!(ours.trim(), "example.test");
    made.spec.domainname = None;
    assert_eq!(made.said(), format!("inside\n{}", ours.trim()));
    made.spec.namespaces.remove(&Namespace::Uts);
    made.spec.hostname = None;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    assert_eq!(made.said(), format!("{}\n{}", host.trim(), ours.trim()));
}

#[test]
fn clocks_of_its_own() {
    for (init, users) in [(false, false), (true, false), (false, true)] {
        let mut made = shell("cat /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time");
        made.spec.init = init;
        if users {
            made = with_users(made);
        }
        let host = link("self", Namespace::Time);
        let same = made.said();
        assert!(same.ends_with(&host), "{same}");
        made.spec.namespaces.insert(Namespace::Time, Place::Own);
        let unmoved = made.said();
        assert!(!unmoved.ends_with(&host) && uptime(&unmoved) < 1_000_000.0, "{unmoved}");
        made.spec.clocks = Clocks { monotonic: 86_400, boot: 31_536_000, ..Clocks::default() };
        let moved = made.said();
        assert!(uptime(&moved) > 31_536_000.0 && moved.contains("86400"), "{moved}");
    }
}

#[test]
fn clocks_that_would_go_below_zero_are_an_error() {
    let mut made = shell("true");
    made.spec.namespaces.insert(Namespace::Time, Place::Own);
    made.spec.clocks = Clocks { monotonic: -1_000_000_000, ..Clocks::default() };
    let error = made.fails();
    assert!(error.hints().iter().any(|hint| hint.contains("below zero")), "{error:?}");
}

#[test]
fn a_chroot_without_a_mount_namespace_leaves_the_hosts_mounts_alone() {
    let made = bare(&["/bin/sh", "-c", "ls /; touch /x; pwd; sleep 0.2; cat /etc/mark"]);
    fs::write(made.tree().join("etc/mark"), "still here").expect("mark");
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let (mut child, mut output) = made.start().expect("start");
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").expect("mounts"));
    assert_eq!(link(child.pid(), Namespace::Mount), link("self", Namespace::Mount));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut output, &mut said).expect("output");
    assert_eq!(child.wait().expect("wait"), 0);
    assert!(said.starts_with("bin\ndev\netc\n") && said.ends_with("/\nstill here"), "{said}");
    assert!(said.contains("Read-only file system") && !made.tree().join("x").exists(), "{said}");
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").expect("mounts"));
}

#[test]
fn a_chroot_into_what_the_caller_mounted_can_be_written() {
    let mut made = bare(&["/bin/sh", "-c", "echo written > /srv/file"]);
    made.spec.root = Root::Mounted { path: made.tree().to_owned() };
    made.said();
    assert_eq!(fs::read_to_string(made.tree().join("srv/file")).expect("file"), "written\n");
}

#[test]
fn a_chroot_with_mounts() {
    let mut made = shell("ls -d /proc/1 /dev/null; grep -c ' / ' /proc/mounts; ls /").scratch();
    made.spec.root_change = RootChange::Chroot;
    let said = made.said();
    assert!(said.starts_with("/dev/null\n/proc/1\n"), "{said}");
    assert!(!said.contains("root") && !said.contains("home"), "{said}");
}

#[test]
fn one_more_process_in_a_chroot_sees_the_same_root() {
    for mounts in [false, true] {
        let mut made = bare(&["/bin/sleep", "1000"]);
        if mounts {
            made.spec.namespaces = own([Namespace::Mount]);
        }
        fs::write(made.tree().join("etc/mark"), "same").expect("mark");
        let (child, _output) = made.start().expect("start");
        let mut process = made.spec.process.clone();
        process.argv = ["/bin/cat", "/etc/mark"].map(String::from).to_vec();
        let plan = spec::plan::join(&made.spec, &process, &spec::plan::joinable(&made.spec));
        let (read, write) = pipe();
        let target = Target { pidfd: child.pidfd(), devpts: None };
        let stdio = Stdio { stdout: write, ..Stdio::null().expect("null") };
        let mut joined = tsubo_runtime::join(&plan, Options::new(stdio), target).expect("join");
        joined.release().expect("release");
        let said = std::io::read_to_string(fs::File::from(read)).expect("output");
        assert_eq!((joined.wait().expect("wait"), said.as_str()), (0, "same"), "mounts: {mounts}");
    }
}

#[test]
fn the_hosts_own_root() {
    let directory = tempfile::tempdir().expect("dir");
    let mut made = bare(&["/bin/sh", "-c", "pwd; echo x > file; readlink /proc/self/ns/mnt"]);
    made.spec.root = Root::Host;
    made.spec.root_change = RootChange::None;
    let cwd = directory.path().canonicalize().expect("path");
    made.spec.process.cwd = path(cwd.to_str().expect("text"));
    spec::container::check(&made.spec).expect("allowed");
    assert_eq!(made.said(), format!("{}\n{}", cwd.display(), link("self", Namespace::Mount)));
    assert!(cwd.join("file").exists());
}

#[test]
fn mounts_of_its_own_over_the_hosts_root_are_seen_inside_only() {
    let mut made = bare(&["/bin/sh", "-c", "touch /mnt/inside && ls /mnt"]);
    made.spec.root = Root::Host;
    made.spec.root_change = RootChange::None;
    made.spec.namespaces = own([Namespace::Mount]);
    let tmpfs = MountKind::Tmpfs { bytes: 1 << 20, inodes: 16, seeded: false, mode: 0o755 };
    made.spec.mounts = vec![mount("/mnt", tmpfs)];
    assert_eq!(made.said(), "inside");
    assert!(!fs::exists("/mnt/inside").expect("look"));
}

#[test]
fn nothing_of_the_host_lies_behind_the_root_of_any_kind() {
    for kind in ["tree", "scratch", "mounted"] {
        for (change, users) in [RootChange::Pivot, RootChange::Chroot]
            .into_iter()
            .flat_map(|change| [(change, false), (change, true)])
        {
            let mut made =
                shell("ls -d /../home /../root /../../usr 2>&1; grep ' / / ' /proc/self/mountinfo");
            match kind {
                "scratch" => made = made.scratch(),
                "mounted" => made.spec.root = Root::Mounted { path: made.tree().to_owned() },
                _ => {}
            }
            if users {
                made = with_users(made);
            }
            made.spec.root_change = change;
            let said = made.run().output;
            assert_eq!(said.matches("No such file").count(), 3, "{kind} {change:?} {users}: {said}");
        }
    }
}

#[test]
fn a_chroot_without_a_mount_namespace_shows_the_owners_of_its_own_users() {
    let mut made = with_users(bare(&["/bin/sh", "-c", "id -u; stat -c %u:%g /etc/mark"]));
    fs::write(made.tree().join("etc/mark"), "x").expect("mark");
    assert_eq!(made.said(), "0\n0:0");
    made.spec.users = None;
    made.spec.namespaces.clear();
    assert_eq!(made.said(), "0\n0:0");
}

#[test]
fn one_more_process_has_features_of_its_own() {
    let (running, child) = neighbour();
    fs::write(running.tree().join("etc/secret"), "secret").expect("file");
    let mut process = running.spec.process.clone();
    let script = "cat /proc/self/oom_score_adj /proc/uptime; cat /etc/secret || echo denied; grep CapAmb /proc/self/status";
    process.argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
    process.user.uid = 33;
    process.oom_score_adj = Some(432);
    process.nice = Some(5);
    process.landlock = Some(Landlock {
        read: [path("/proc")].into(),
        execute: [path("/bin")].into(),
        ..Landlock::default()
    });
    process.capabilities.inheritable = 1 << 5;
    process.capabilities.ambient = 1 << 5;
    let plan = spec::plan::join(&running.spec, &process, &spec::plan::joinable(&running.spec));
    let (read, write) = pipe();
    let target = Target { pidfd: child.pidfd(), devpts: None };
    let stdio = Stdio { stdout: write, ..Stdio::null().expect("null") };
    let mut joined = tsubo_runtime::join(&plan, Options::new(stdio), target).expect("join");
    joined.release().expect("release");
    let said = std::io::read_to_string(fs::File::from(read)).expect("output");
    assert_eq!(joined.wait().expect("wait"), 0);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!((lines[0], lines[2]), ("432", "denied"), "{said}");
    assert!(uptime(lines[1]) > 2_000_000.0, "{said}");
    assert_eq!(lines[3], "CapAmb:\t0000000000000020", "{said}");
}

#[test]
fn a_tree_of_its_own_in_a_mount_namespace_of_a_neighbour() {
    let (_keep, neighbour) = neighbour();
    let mut made = bare(&["/bin/sh", "-c", "cat /etc/mark"]);
    fs::write(made.tree().join("etc/mark"), "its own").expect("mark");
    made.spec.namespaces = [(Namespace::Mount, Place::Path(file(&neighbour, Namespace::Mount)))].into();
    spec::container::check(&made.spec).expect("allowed");
    assert_eq!(made.said(), "its own");
}
