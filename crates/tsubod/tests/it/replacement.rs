//! A new instance takes an old one's place, and nobody notices.

use crate::support::gateway::{Gateway, web};
use crate::support::load::{Load, Told};
use crate::support::{House, package, until};

#[track_caller]
fn nobody_noticed(gateway: &Gateway, told: &Told, runs: usize) {
    assert!(
        told.bad.is_empty(),
        "{} of {}: {:?}",
        told.bad.len(),
        told.good,
        &told.bad[..told.bad.len().min(5)]
    );
    assert!(told.runs.len() >= runs, "{} runs have answered {} requests", told.runs.len(), told.good);
    assert_eq!(gateway.service("web")["failed"], 0);
}

#[test]
fn past_its_age_an_instance_is_replaced_under_load() {
    let house = House::new();
    let gateway = Gateway::of(&house, "max_age = \"500ms\"");
    gateway.good("/");
    let load = Load::start(gateway.port, 4, "/sleep/2");
    until("it was replaced three times", || gateway.service("web")["starts"].as_u64() >= Some(4));
    load.until_more(50);
    nobody_noticed(&gateway, &load.end(), 3);
}

#[test]
fn an_exclusive_service_is_replaced_too_and_requests_wait_meanwhile() {
    let house = House::new();
    let gateway = Gateway::of(&house, "max_age = \"500ms\"\nexclusive = true");
    gateway.good("/");
    let load = Load::start(gateway.port, 4, "/sleep/2");
    until("it was replaced twice", || {
        let told = gateway.service("web");
        let instances = told["instances"].as_array().map_or(0, Vec::len);
        assert!(instances <= 1, "two at once: {told}");
        told["starts"].as_u64() >= Some(3)
    });
    load.until_more(50);
    nobody_noticed(&gateway, &load.end(), 2);
}

#[test]
fn a_new_package_takes_over_under_load() {
    let house = House::new();
    package::write(&house, "one");
    house.ok(["install", "./web.tsubo"]);
    let installed = web("").replace("\"./web.tsubo\"", "\"web\"");
    let gateway = Gateway::with(&house, "", &installed);
    let before = gateway.good("/").run().to_owned();
    let load = Load::start(gateway.port, 4, "/sleep/2");
    package::write(&house, "two");
    house.ok(["install", "./web.tsubo"]);
    until("a new one is there", || {
        gateway.service("web")["starts"] == 2 && gateway.stages("web") == ["ready"]
    });
    assert_ne!(gateway.good("/").run(), before);
    load.until_more(50);
    nobody_noticed(&gateway, &load.end(), 2);
    until("of the old one nothing is left", || house.containers().len() == 1);
}

#[test]
fn a_new_package_file_takes_over_when_the_configuration_is_read_again() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let before = gateway.good("/").run().to_owned();
    let load = Load::start(gateway.port, 2, "/");
    package::write(&house, "two");
    gateway.reload("", &web(""));
    until("a new one answers", || gateway.good("/").run() != before);
    load.until_more(50);
    nobody_noticed(&gateway, &load.end(), 2);
}

#[test]
fn what_is_said_anew_in_the_configuration_is_so_for_those_who_come() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let before = gateway.good("/").run().to_owned();
    let load = Load::start(gateway.port, 2, "/");
    gateway.reload("", &web("").replace("[service.web.act", "environment = { A = \"b\" }\n[service.web.act"));
    until("a new one answers", || gateway.good("/").run() != before);
    load.until_more(50);
    nobody_noticed(&gateway, &load.end(), 2);
}

#[test]
fn a_long_request_is_finished_by_the_old_instance() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let before = gateway.good("/").run().to_owned();
    let port = gateway.port;
    let long = std::thread::spawn(move || crate::support::client::good(port, "/sleep/1500"));
    until("it is under way", || gateway.service("web")["instances"][0]["in_flight"] == 1);
    package::write(&house, "two");
    gateway.reload("", &web(""));
    until("a new one answers", || gateway.good("/").run() != before);
    assert_eq!(long.join().expect("a client").run(), before);
    gateway.until_stages("web", &["ready"]);
}
