//! Sockets that a program is given instead of making them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use lifecycle::{Container, Launch, Socket, Spare};
use spec::ErrorKind;
use spec::container::Namespace;
use spec::isolation::Origin;
use spec::life::Restart;

use crate::harness::{World, launch, until};

/// Where two sockets listen, and how a container gets them.
struct Ground {
    world: World,
    at: [SocketAddr; 2],
    launch: Launch,
}

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/inherited.c");
        let program = world.tree().join("bin/inherited");
        let built = Command::new("gcc").args(["-static", "-O1", "-o"]).arg(program).arg(source).status();
        assert!(built.expect("a C compiler").success());
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let at = listeners.each_ref().map(|listener| listener.local_addr().expect("address"));
        let sockets = ["http", "admin"].into_iter().zip(listeners);
        let sockets =
            sockets.map(|(name, socket)| Socket { name: name.into(), socket: Arc::new(socket.into()) });
        Self { world, at, launch: Launch { sockets: sockets.collect(), ..launch(false, false) } }
    }

    fn made(&self, name: &str, change: impl FnOnce(&mut lifecycle::RunOptions)) -> Container {
        let made = self.world.create(name, false, |options| {
            options.network.networks = vec!["none".to_owned()];
            options.args = vec!["/bin/inherited".to_owned()];
            options.life.standing = true;
            change(options);
        });
        drop(made.expect("create"));
        self.world.containers.find(name).expect("find")
    }

    fn ask(&self, which: usize) -> String {
        let mut said = String::new();
        let mut client = TcpStream::connect(self.at[which]).expect("it listens");
        client.write_all(b"?").and_then(|()| client.read_to_string(&mut said).map(drop)).expect("an answer");
        said
    }

    fn end(&self) {
        TcpStream::connect(self.at[0]).and_then(|mut client| client.write_all(b"q")).expect("it listens");
    }
}

#[test]
fn a_program_without_a_network_answers_on_sockets_of_the_host() {
    let ground = Ground::new();
    // Who has come before there is anybody waits.
    let mut early = TcpStream::connect(ground.at[1]).expect("it listens");
    early.write_all(b"?").expect("asked");
    let container = ground.made("web", |_| {});
    container.start_again(ground.launch.clone()).expect("start");
    let mut said = String::new();
    early.read_to_string(&mut said).expect("an answer");
    assert_eq!(said, "1 admin 0\n", "it has them, and nothing else");
    assert_eq!(ground.ask(0), "1 http 0\n");
    container.remove(true).expect("remove");

    let container = ground.made("init", |options| options.init = true);
    container.start_again(ground.launch.clone()).expect("start");
    assert_eq!(ground.ask(0), "2 http 0\n", "an init of ours is process 1");
    container.remove(true).expect("remove");

    let container = ground.made("host", |options| {
        options.isolation.namespaces.insert(Namespace::Pid, Origin::Host);
    });
    let error = container.start_again(ground.launch.clone()).expect_err("no process ids of its own");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn the_next_life_has_them_too() {
    let ground = Ground::new();
    let container = ground.made("web", |options| options.life.restart = Restart::Always);
    container.start_again(ground.launch.clone()).expect("start");
    for _ in 0..2 {
        assert_eq!(ground.ask(0), "1 http 0\n");
        ground.end();
    }
    assert_eq!(ground.ask(1), "1 admin 0\n");
    // All that have come meanwhile were served by one of its lives.
    assert_eq!(container.status().expect("status").word(), "running");
}

/// A copy of this program finds the small one beside itself, as `tsubo` does.
#[test]
fn the_small_program_has_them_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let inner = directory.path().join("it");
    std::fs::copy(std::env::current_exe().expect("this program"), &inner).expect("copy");
    std::fs::copy(env!("CARGO_BIN_EXE_tsubo-keeper"), directory.path().join("tsubo-keeper")).expect("copy");
    let inner =
        Command::new(inner).args(["--ignored", "--exact", "sockets::a_keeper_that_is_a_copy"]).output();
    let inner = inner.expect("a run of this program");
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by the one above"]
fn a_keeper_that_is_a_copy() {
    let ground = Ground::new();
    let spare = Spare::fork(|id| keeper::forked(id, false)).expect("fork");
    let made = ground.world.create("web", false, |options| {
        options.args = vec!["/bin/inherited".to_owned()];
        options.life.restart = Restart::Always;
    });
    let session = made.expect("create").start_with(ground.launch.clone(), Some(spare)).expect("start");
    let keeper = session.into_keeper().expect("a keeper of ours").pid();
    assert_eq!(ground.ask(0), "1 http 0\n");
    let words = || std::fs::read_to_string(format!("/proc/{keeper}/cmdline")).unwrap_or_default();
    until("the handover", || words().split('\0').any(|word| word == "rest"));
    ground.end();
    assert_eq!(ground.ask(1), "1 admin 0\n");
}
