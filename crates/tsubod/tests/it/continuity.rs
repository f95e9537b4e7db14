//! Gateways end, die and come back; what they have started goes on.

use std::process::Stdio;

use rustix::process::Signal;

use crate::support::client::get;
use crate::support::gateway::{Gateway, command, kill, web, write_config};
use crate::support::load::Load;
use crate::support::{House, until};

#[test]
fn a_worker_that_is_killed_under_load_takes_nothing_along_but_what_was_under_way() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let (run, pid) = (gateway.good("/").run().to_owned(), house.pid("web.1"));
    let worker = gateway.worker();
    let load = Load::start(gateway.port, 4, "/sleep/5");
    load.until_more(20);
    kill(worker, Signal::KILL);
    until("another serves", || gateway.try_status().is_some_and(|told| told["pid"] != worker));
    load.until_more(50);
    let told = load.end();
    // Each client had one request under way; none was refused.
    assert!(told.bad.len() <= 4, "{:?}", told.bad);
    assert!(told.bad.iter().all(|why| !why.contains("refused") && !why.starts_with('5')), "{:?}", told.bad);
    assert_eq!((told.runs.len(), house.pid("web.1")), (1, pid), "the same container");
    assert_eq!(gateway.good("/").run(), run);
    assert_eq!(gateway.service("web")["starts"], 0, "the new worker has started nothing");
}

#[test]
fn after_a_holder_that_was_killed_another_gateway_takes_over() {
    let house = House::new();
    let mut gateway = Gateway::of(&house, "");
    let (run, pid, worker) = (gateway.good("/").run().to_owned(), house.pid("web.1"), gateway.worker());
    gateway.kill_holder();
    until("its worker has ended too", || !std::path::Path::new(&format!("/proc/{worker}")).exists());
    let next = Gateway::start(&house, gateway.port);
    assert_eq!((next.good("/").run(), house.pid("web.1")), (run.as_str(), pid));
}

#[test]
fn told_to_end_it_leaves_its_instances_to_the_next_one() {
    let house = House::new();
    let mut gateway = Gateway::of(&house, "");
    let (run, pid) = (gateway.good("/").run().to_owned(), house.pid("web.1"));
    gateway.terminate();
    assert_eq!(house.pid("web.1"), pid);
    assert!(get(gateway.port, "/").is_err(), "nobody listens");
    let mut next = Gateway::start(&house, gateway.port);
    assert_eq!((next.good("/").run(), house.pid("web.1")), (run.as_str(), pid));
    next.interrupt();
    assert!(house.containers().iter().all(|row| row["pid"].is_null()), "{:#?}", house.containers());
}

#[test]
fn told_to_end_it_finishes_what_is_under_way() {
    let house = House::new();
    let mut gateway = Gateway::of(&house, "");
    gateway.good("/");
    let port = gateway.port;
    let long = std::thread::spawn(move || get(port, "/sleep/700"));
    until("it is under way", || gateway.service("web")["instances"][0]["in_flight"] == 1);
    gateway.terminate();
    assert_eq!(long.join().expect("a client").expect("an answer").text(), "slept\n");
}

#[test]
fn what_sleeps_is_taken_over_asleep() {
    let house = House::new();
    let mut gateway = Gateway::of(&house, "freeze = \"100ms\"");
    let run = gateway.good("/").run().to_owned();
    gateway.until_stages("web", &["frozen"]);
    gateway.terminate();
    let next = Gateway::start(&house, gateway.port);
    assert_eq!(next.stages("web"), ["frozen"]);
    assert_eq!(next.good("/").run(), run);
}

#[test]
fn of_one_state_directory_there_is_one_gateway() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let second = command(&house).stderr(Stdio::piped()).output().expect("a second one");
    let complaint = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(125), "{complaint}");
    assert!(complaint.contains("another gateway serves this state directory"), "{complaint}");
    gateway.good("/");
}

#[test]
fn an_address_that_is_taken_is_told_of() {
    let house = House::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    write_config(&house, port, "", "");
    let output = command(&house).stderr(Stdio::piped()).output().expect("a gateway");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{complaint}");
    assert!(complaint.contains(&format!("error: listening at 127.0.0.1:{port}")), "{complaint}");
    assert!(complaint.contains("hint: another program listens there"), "{complaint}");
}

#[test]
fn a_configuration_that_makes_no_sense_changes_nothing() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let run = gateway.good("/").run().to_owned();
    for broken in [
        "nonsense",
        "[service.web]\npackage = \"x\"\nnonsense = 1",
        "[[certificate]]\ncert = \"no.pem\"\nkey = \"no.pem\"",
    ] {
        let before = gateway.log().matches("the configuration stays as it was").count();
        gateway.reload("", broken);
        until("it was told of", || {
            gateway.log().matches("the configuration stays as it was").count() > before
        });
        assert_eq!(gateway.good("/").run(), run);
    }
    // Somebody writes it anew, and has only emptied it yet.
    std::fs::write(house.path("gateway.toml"), "").expect("write");
    until("it was told of", || gateway.log().contains("it names no service now"));
    assert_eq!(gateway.good("/").run(), run);
    // An address of somebody else's is no better.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("an address");
    gateway.reload(&format!("admin = \"{at}\""), &web(""));
    until("it was told of", || gateway.log().contains(&format!("listening at {at}")));
    assert_eq!(gateway.good("/").run(), run);
    // Until that is free.
    drop(taken);
    until("it is applied", || get(at.port(), "/status").is_ok_and(|answer| answer.status == 200));
    assert_eq!(gateway.good("/").run(), run);
    assert_eq!(gateway.log().matches(&format!("listening at {at}")).count(), 1, "{}", gateway.log());
}

#[test]
fn a_configuration_that_is_no_good_keeps_a_gateway_from_starting() {
    let house = House::new();
    std::fs::write(house.path("gateway.toml"), "[gateway]\nhtpp = []\n").expect("write");
    let output = command(&house).stderr(Stdio::piped()).output().expect("a gateway");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{complaint}");
    assert!(complaint.contains("line 2") && complaint.contains("htpp"), "{complaint}");
}

#[test]
fn a_service_that_is_not_in_the_configuration_any_more_goes() {
    let house = House::new();
    let mut gateway = Gateway::of(&house, "");
    gateway.good("/");
    gateway.reload("", "");
    until("its instance is gone", || house.containers().is_empty());
    assert_eq!(get(gateway.port, "/").expect("an answer").status, 404);
    gateway.reload("", &web(""));
    until("it is back", || get(gateway.port, "/").is_ok_and(|answer| answer.status == 200));
    // Also when nobody was there to see it go.
    gateway.terminate();
    write_config(&house, gateway.port, "", "");
    let next = Gateway::start(&house, gateway.port);
    until("its instance is gone", || house.containers().is_empty());
    assert_eq!(next.status()["services"].as_array().map(Vec::len), Some(0));
}

#[test]
fn another_worker_takes_over_without_a_break_when_the_program_is_changed() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let (run, worker) = (gateway.good("/").run().to_owned(), gateway.worker());
    let load = Load::start(gateway.port, 4, "/sleep/2");
    load.until_more(20);
    gateway.signal(Signal::USR2);
    until("another serves", || gateway.try_status().is_some_and(|told| told["pid"] != worker));
    until("the one before has ended", || !std::path::Path::new(&format!("/proc/{worker}")).exists());
    load.until_more(50);
    let told = load.end();
    assert!(told.bad.is_empty(), "{:?}", told.bad);
    assert_eq!((told.runs.len(), gateway.good("/").run()), (1, run.as_str()));
}
