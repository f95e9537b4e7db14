//! Services that fail, and what their clients see of it.

use crate::support::client::{Client, get, good};
use crate::support::gateway::{Gateway, service, web};
use crate::support::{House, package, until};

/// The usual service with that environment.
fn with_environment(environment: &str, activation: &str) -> String {
    service("web", "\"*\"", &format!("environment = {{ {environment} }}"), activation)
}

#[test]
fn who_never_gets_ready_is_tried_less_and_less_often_until_it_is_mended() {
    let house = House::new();
    let broken = with_environment("NEVER = \"1\"", "start_time = \"100ms\"");
    let gateway = Gateway::with(&house, "", &broken);
    let first = get(gateway.port, "/").expect("an answer");
    assert_eq!(first.status, 503, "{}", first.text());
    let wait: u64 = first.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait));
    // Now it is not even tried.
    let starts = gateway.service("web")["starts"].clone();
    assert_eq!(get(gateway.port, "/").expect("an answer").status, 503);
    assert_eq!(gateway.service("web")["starts"], starts);
    assert!(gateway.log().contains("not ready within"), "{}", gateway.log());
    gateway.reload("", &web(""));
    until("it is served again", || get(gateway.port, "/").is_ok_and(|answer| answer.status == 200));
}

#[test]
fn who_ends_at_once_is_told_of_and_its_clients_too() {
    let house = House::new();
    let gateway = Gateway::with(&house, "", &with_environment("FAILS = \"1\"", ""));
    let refused = get(gateway.port, "/").expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|wait| wait >= 1));
    assert!(gateway.log().contains("does not start"), "{}", gateway.log());
}

#[test]
fn a_slow_start_is_waited_for() {
    let house = House::new();
    let gateway = Gateway::with(&house, "", &with_environment("SLOW = \"700\"", "start_time = \"15s\""));
    assert_eq!(gateway.good("/").text(), "hello\n");
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_and_the_next_request_is_served() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    for path in ["/half", "/half-chunked"] {
        let before = gateway.good("/").run().to_owned();
        let broken = get(gateway.port, path);
        assert!(broken.is_err(), "{path} seems complete: {broken:?}");
        assert_ne!(gateway.good("/").run(), before, "{path}");
    }
}

#[test]
fn who_dies_without_an_answer_gives_none_and_the_next_one_does() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    gateway.good("/");
    let mut client = Client::new(gateway.port);
    client.say("POST /die HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(client.answer(false).expect("an answer").status, 502, "it is not said twice");
    assert_eq!(client.get("/").expect("an answer").status, 200);
    // One that may be said twice is: it kills three, and then no more.
    assert_eq!(get(gateway.port, "/die").expect("an answer").status, 502);
    until("it is there again", || get(gateway.port, "/").is_ok_and(|answer| answer.status == 200));
}

#[test]
fn garbage_is_not_passed_on() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let before = gateway.good("/").run().to_owned();
    let mut client = Client::new(gateway.port);
    let answer = client.get("/garbage").expect("an answer");
    assert_eq!(answer.status, 502, "{}", answer.text());
    // Two ways to tell its end, and a coding that nobody takes off.
    for path in ["/both", "/gzip"] {
        assert_eq!(client.get(path).expect("an answer").status, 502, "{path}");
    }
    assert_eq!(client.get("/").expect("an answer").run(), before, "the instance is as good as before");
}

#[test]
fn one_that_does_not_listen_any_more_is_replaced_and_nobody_loses_anything() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let run = gateway.good("/deaf").run().to_owned();
    // The one connection that there is still serves, and somebody has it.
    let port = gateway.port;
    let slow = std::thread::spawn(move || get(port, "/sleep/1000").map(|answer| answer.status));
    until("it is under way", || gateway.service("web")["instances"][0]["in_flight"] == 1);
    let mut client = Client::new(port);
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer(false).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.run(), run);
    assert_eq!(slow.join().expect("a client").expect("an answer"), 200, "it finishes what it has");
    assert!(gateway.log().contains("does not listen any more"), "{}", gateway.log());
}

#[test]
fn who_takes_too_long_for_an_answer_gives_none() {
    let house = House::new();
    let gateway = Gateway::of(&house, "answer_time = \"200ms\"\nconcurrency = 1");
    gateway.good("/");
    assert_eq!(get(gateway.port, "/sleep/2000").expect("an answer").status, 504);
    assert_eq!(gateway.good("/").status, 200, "its place is free");
}

#[test]
fn who_hangs_is_replaced() {
    let house = House::new();
    let gateway = Gateway::of(&house, "health = \"/\"\nhealth_interval = \"100ms\"\nanswer_time = \"20s\"");
    let before = good(gateway.port, "/").run().to_owned();
    good(gateway.port, "/hang");
    until("another answers", || {
        let mut client = Client::new(gateway.port);
        let brief = Some(std::time::Duration::from_millis(500));
        client.0.get_ref().set_read_timeout(brief).expect("timeout");
        client.get("/").is_ok_and(|answer| answer.status == 200 && answer.run() != before)
    });
    assert!(gateway.log().contains("is not well"), "{}", gateway.log());
}

#[test]
fn a_service_whose_container_somebody_kills_is_started_again() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let before = gateway.good("/").run().to_owned();
    house.ok(["kill", "web.1"]);
    assert_ne!(gateway.good("/").run(), before);
    house.ok(["stop", "-t", "0", "web.1"]);
    assert_eq!(gateway.good("/").status, 200);
    house.ok(["rm", "-f", "web.1"]);
    assert_eq!(gateway.good("/").status, 200, "also when its container is gone");
}

#[test]
fn a_package_that_goes_away_while_it_starts_harms_nobody() {
    let house = House::new();
    package::write(&house, "one");
    house.ok(["install", "./web.tsubo"]);
    let slow = with_environment("SLOW = \"400\"", "").replace("\"./web.tsubo\"", "\"web\"");
    let gateway = Gateway::with(&house, "", &slow);
    let port = gateway.port;
    let waits = std::thread::spawn(move || get(port, "/"));
    until("it starts", || gateway.stages("web") == ["starting"]);
    // In use it may not be removed; whichever way, who waits is answered.
    let removed = house.command(["rmi", "web"]).output().expect("rmi").status.success();
    assert_eq!(waits.join().expect("a client").expect("an answer").status, 200);
    package::write(&house, "two");
    house.ok(["install", "./web.tsubo"]);
    until("the new one answers", || {
        gateway.service("web")["starts"].as_u64() >= Some(2) && gateway.stages("web") == ["ready"]
    });
    assert_eq!(gateway.good("/").status, 200, "removed: {removed}");
}

#[test]
fn a_package_that_is_not_there_is_told_of_and_served_as_soon_as_it_is() {
    let house = House::new();
    package::write(&house, "one");
    let gateway = Gateway::with(&house, "", &web("").replace("\"./web.tsubo\"", "\"web\""));
    let refused = get(gateway.port, "/").expect("an answer");
    assert_eq!((refused.status, refused.header("retry-after").is_empty()), (503, false));
    assert!(gateway.service("web")["trouble"].as_str().is_some_and(|why| why.contains("web")));
    house.ok(["install", "./web.tsubo"]);
    until("it is served", || get(gateway.port, "/").is_ok_and(|answer| answer.status == 200));
}

#[test]
fn where_all_ports_of_its_network_are_taken_connections_come_from_elsewhere() {
    let house = House::new();
    let few = "isolation = { sysctls = { \"net.ipv4.ip_local_port_range\" = \"40000 40002\" } }";
    let gateway = Gateway::with(&house, "", &service("web", "\"*\"", few, "concurrency = 64"));
    gateway.good("/");
    let port = gateway.port;
    let asked: Vec<_> = (0..12).map(|_| std::thread::spawn(move || get(port, "/sleep/500"))).collect();
    for one in asked {
        assert_eq!(one.join().expect("a client").expect("an answer").status, 200);
    }
    assert_eq!(gateway.service("web")["starts"], 1, "it is as good as before");
}

/// A network with one address to give; it goes with its containers.
struct Few<'a>(&'a House, String);

impl<'a> Few<'a> {
    fn new(house: &'a House) -> Self {
        let number = std::process::id() % 60_000;
        let few = Self(house, format!("tsfew{number}"));
        let subnet = format!("10.213.{}.{}/30", number / 250, number % 60 * 4);
        house.ok(["network", "create", "--subnet", &subnet, &few.1]);
        few
    }
}

impl Drop for Few<'_> {
    fn drop(&mut self) {
        for container in self.0.containers() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let _ = self.0.command(["rm", "-f", &name]).output();
        }
        let removed = self.0.command(["network", "rm", &self.1]).output().expect("tsubo network rm");
        if !removed.status.success() {
            eprintln!("{removed:?}");
        }
    }
}

#[test]
fn where_a_network_has_no_address_left_those_who_have_one_serve() {
    let house = House::new();
    let few = Few::new(&house);
    let name = &few.1;
    let one = |service: &str, host: &str, more: &str| {
        format!(
            "[service.{service}]\npackage = \"./web.tsubo\"\nhosts = [\"{host}\"]\n\
             network = {{ networks = [\"{name}\"] }}\n[service.{service}.activation]\nport = 80\n{more}\n"
        )
    };
    let services = one("first", "first.test", "concurrency = 1\nmax = 3") + &one("second", "second.test", "");
    let gateway = Gateway::with(&house, "prepared = 0", &services);
    let ask = |host: &str| Client::new(gateway.port).ask("GET", "/", host).expect("an answer");
    let port = gateway.port;
    let slow = move || Client::new(port).ask("GET", "/sleep/200", "first.test").expect("an answer").status;
    let asked: Vec<_> = (0..4).map(|_| std::thread::spawn(slow)).collect();
    asked.into_iter().for_each(|one| assert_eq!(one.join().expect("a client"), 200));
    assert_eq!(gateway.stages("first"), ["ready"], "one is all that there is room for");
    let refused = ask("second.test");
    assert_eq!((refused.status, refused.header("retry-after").is_empty()), (503, false));
    assert!(gateway.log().contains(&format!("network {name} has no free address")), "{}", gateway.log());
    assert_eq!(ask("first.test").status, 200);
    // Whoever removes a container has its address back for another.
    gateway.reload("prepared = 0", &one("second", "second.test", ""));
    until("the other has it", || ask("second.test").status == 200);
}
