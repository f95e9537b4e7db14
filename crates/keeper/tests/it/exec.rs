//! More processes in a running container, confined as its first.

use lifecycle::Exec;
use spec::ErrorKind;

use crate::harness::{World, launch, relay, until};

fn exec(argv: &[&str]) -> Exec {
    Exec { argv: argv.iter().map(ToString::to_string).collect(), ..Exec::default() }
}

fn sh(script: &str) -> Exec {
    exec(&["sh", "-c", script])
}

#[test]
fn the_same_confinement() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/$P/status; for n in mnt pid ipc uts cgroup; do readlink /proc/$P/ns/$n; done; cat /proc/$P/cgroup";
    let read = |pid: &str| {
        let mut asked = sh(script);
        asked.env = vec![("P".into(), pid.into())];
        relay(container.exec(asked).expect("exec"))
    };
    let (first, second) = (read("1"), read("self"));
    assert_eq!(first.1, 0);
    assert_eq!(first, second);
    assert!(first.0.contains("NoNewPrivs:\t1") && first.0.contains("Seccomp:\t2"), "{}", first.0);
}

#[test]
fn output_exit_code_descriptors_and_place() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    assert_eq!(relay(container.exec(sh("echo out; echo err >&2; exit 4")).expect("exec")).1, 4);
    // ls itself has the directory open as 3.
    assert_eq!(relay(container.exec(exec(&["ls", "/proc/self/fd"])).expect("exec")).0, "0\n1\n2\n3");
    let mut placed = exec(&["pwd"]);
    placed.cwd = Some("/tmp".parse().expect("path"));
    assert_eq!(relay(container.exec(placed).expect("exec")).0, "/tmp");
    let mut other = exec(&["id", "-u"]);
    other.user = Some(spec::portable::Ids { uid: 33, gid: 33, groups: vec![] });
    assert_eq!(relay(container.exec(other).expect("exec")).0, "33");
    assert_eq!(container.exec(exec(&["nonsense"])).expect_err("no such").kind(), ErrorKind::CommandNotFound);
    let mut nowhere = exec(&["pwd"]);
    nowhere.cwd = Some("/proc/self/fd/3".parse().expect("path"));
    container.exec(nowhere).expect_err("a magic link");
    assert!(container.status().expect("status").is_running());
}

#[test]
fn a_terminal_from_the_containers_own_instance() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let mut asked = sh("tty; test -t 2 && echo on");
    asked.terminal = true;
    let (said, code) = relay(container.exec(asked).expect("exec"));
    assert_eq!((said.as_str(), code), ("/dev/pts/0\r\non", 0));
}

#[test]
fn it_ends_with_the_connection() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let session = container.exec(exec(&["sleep", "999"])).expect("exec");
    let pid = session.pid();
    drop(session);
    until("its end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    for _ in 0..100 {
        assert_eq!(relay(container.exec(exec(&["true"])).expect("exec")).1, 0);
    }
    let lifecycle::Status::Running(state) = container.status().expect("status") else { panic!("ended") };
    let open = std::fs::read_dir(format!("/proc/{}/fd", state.keeper.pid)).expect("keeper").count();
    assert!(open < 20, "the keeper has {open} descriptors");
}

#[test]
fn who_writes_on_behind_it_does_not_hold_its_end_up() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let (said, code) = relay(container.exec(sh("yes & sleep 0.1; exit 3")).expect("exec"));
    assert!(code == 3 && said.contains("y\ny\n"));
    // All that is in a full pipe still comes.
    let script = "head -c 65536 /dev/zero | tr '\\0' x; exit 4";
    let (said, code) = relay(container.exec(sh(script)).expect("exec"));
    assert_eq!((said.len(), code), (65_536, 4));
    assert_eq!(relay(container.exec(exec(&["true"])).expect("its keeper is there")).1, 0);
}

#[test]
fn who_writes_on_without_a_pid_namespace_does_not_hold_the_end_up() {
    use spec::container::Namespace;
    use spec::isolation::Origin;
    let world = World::new();
    if let Err(error) = cgroup::Group::available() {
        eprintln!("SKIPPED: {}", error.chain());
        return;
    }
    for remove in [true, false] {
        let made = world.create("web", remove, |options| {
            options.args = ["/bin/sh", "-c", "yes & sleep 0.1; exit 3"].map(String::from).to_vec();
            options.isolation.namespaces.insert(Namespace::Pid, Origin::Host);
        });
        let container = made.expect("create");
        let id = container.id();
        assert_eq!(relay(container.start(launch(true, false)).expect("start")).1, 3);
        let left = || cgroup::Group::of(id).expect("group").processes();
        assert!(left().is_empty(), "{:?} live on", left());
    }
    world.containers.remove("web", false).expect("remove");
    world.assert_empty();
}

#[test]
fn attack_22_in_one_that_has_ended_it_is_an_error() {
    let world = World::new();
    let container = world.detached("gone", "true");
    container.wait().expect("end");
    until("its end", || !container.status().expect("status").is_running());
    assert_eq!(container.exec(exec(&["true"])).expect_err("ended").kind(), ErrorKind::Conflict);
}

#[test]
fn one_that_hangs_on_its_way_in_is_given_up() {
    let world = World::new();
    let container = world.detached("web", "sleep 1000");
    let group = cgroup::Group::of(container.id()).expect("group");
    // Not by its keeper, which lets nobody in then.
    if let Err(error) = group.freeze() {
        eprintln!("SKIPPED: {}", error.chain());
        return;
    }
    let error = container.exec(exec(&["true"])).expect_err("it is held");
    assert!(error.chain().contains("hangs"), "{}", error.chain());
    group.thaw().expect("thaw");
    assert_eq!(relay(container.exec(exec(&["true"])).expect("its keeper is there")).1, 0);
    until("the end of what was held", || group.processes().len() == 1);
    container.remove(true).expect("remove");
    world.assert_empty();
}
