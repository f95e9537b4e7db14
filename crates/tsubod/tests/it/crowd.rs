//! Very many clients at once, and a disk without room.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::client::{Client, get};
use crate::support::gateway::{self, Gateway, service, web, write_config};
use crate::support::{House, beside, package, port, succeed, until};

/// What is to wait at once.
const CROWD: usize = 10_000;

/// Allows us, and the gateway that we start, as many descriptors as possible; returns for how many clients
/// that is enough.
fn descriptors() -> usize {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX);
    let wanted = most.min(CROWD as u64 + 500);
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }).expect("setrlimit");
    let clients = CROWD.min(wanted as usize - 300);
    if clients < CROWD {
        eprintln!(
            "SKIPPED: {CROWD} clients take more descriptors than the {most} allowed here: {clients} come"
        );
    }
    clients
}

#[test]
fn ten_thousand_wait_for_one_instance_and_are_answered() {
    let count = descriptors();
    let house = House::new();
    let slow =
        service("web", "\"*\"", "environment = { SLOW = \"2500\" }", "queue = 20000\nconcurrency = 50");
    let gateway = Gateway::with(&house, "", &slow);
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::new(gateway.port);
        client.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let answer = client.answer(false).unwrap_or_else(|error| panic!("client {number}: {error}"));
        assert_eq!(answer.status, 200, "client {number}: {}", answer.text());
    }
    drop(clients);
    let told = gateway.service("web");
    assert_eq!(
        (told["requests"].as_u64(), told["failed"].as_u64(), told["starts"].as_u64()),
        (Some(count as u64), Some(0), Some(1))
    );
    until("they are counted no more", || gateway.status()["connections"] == 0);
}

/// Runs a script where the gateway runs.
#[track_caller]
fn beside_it(gateway: &Gateway, script: &str) {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["-t", &gateway.holder().to_string(), "-m", "sh", "-ec", script]);
    succeed(nsenter);
}

#[test]
fn a_disk_that_is_full_stops_nobody_who_runs_and_nobody_for_ever() {
    let house = House::new();
    package::write(&house, "one");
    let (port, root) = (port(), house.root());
    std::fs::create_dir(&root).expect("mkdir");
    let log = format!("access_log = \"{}/access.log\"", root.display());
    write_config(&house, port, &log, &web(""));
    let usual = gateway::command(&house);
    let mut small = Command::new("unshare");
    small.args(["-m", "sh", "-ec", "mount -t tmpfs -o size=16M small \"$S\"; exec \"$0\" \"$@\""]);
    small.arg(usual.get_program()).args(usual.get_args()).env("S", &root).stdout(std::process::Stdio::null());
    small.stderr(std::fs::File::create(house.path("gateway.log")).expect("a log"));
    let gateway = Gateway::by(&house, port, small);
    let run = gateway.good("/").run().to_owned();
    let (full, free) = (
        format!("dd if=/dev/zero of={0}/filler bs=4k 2>/dev/null || true", root.display()),
        format!("rm {}/filler", root.display()),
    );
    beside_it(&gateway, &full);
    assert_eq!(gateway.good("/").run(), run, "who runs is not concerned");
    let stop = format!("{} --root {} stop -t 0 web.1", beside("tsubo").display(), root.display());
    beside_it(&gateway, &stop);
    // Whether it starts without a single free block is up to the file system; an answer there is.
    let answer = get(port, "/").expect("an answer");
    assert!(matches!(answer.status, 200 | 503), "{} {}", answer.status, answer.text());
    beside_it(&gateway, &free);
    until("it is served again", || get(port, "/").is_ok_and(|answer| answer.status == 200));
}
