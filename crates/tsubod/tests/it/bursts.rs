//! More instances come for more requests, up to what was said; then requests wait, then they are sent away.

use std::collections::BTreeSet;
use std::thread::JoinHandle;

use crate::support::client::{Answer, get};
use crate::support::gateway::{Gateway, service};
use crate::support::{House, until};

type Asked = JoinHandle<std::io::Result<Answer>>;

fn ask(port: u16, path: &'static str, count: usize) -> Vec<Asked> {
    (0..count).map(|_| std::thread::spawn(move || get(port, path))).collect()
}

#[track_caller]
fn answers(asked: Vec<Asked>) -> Vec<Answer> {
    asked.into_iter().map(|one| one.join().expect("a client").expect("an answer")).collect()
}

#[test]
fn as_many_come_as_are_needed_and_go_when_it_is_calm() {
    let house = House::new();
    let gateway = Gateway::of(&house, "concurrency = 1\nmax = 3\ncalm = \"500ms\"");
    let told = answers(ask(gateway.port, "/sleep/300", 9));
    assert!(told.iter().all(|answer| answer.status == 200));
    let runs: BTreeSet<_> = told.iter().map(Answer::run).collect();
    assert_eq!(runs.len(), 3, "three, and no more");
    for answer in answers(ask(gateway.port, "/most", 3)) {
        assert_eq!(answer.text(), "1\n", "each had one request at once");
    }
    gateway.until_stages("web", &["ready"]);
    assert_eq!(gateway.service("web")["starts"], 3);
}

#[test]
fn who_finds_no_place_to_wait_is_told_when_to_come_again() {
    let house = House::new();
    let gateway = Gateway::of(&house, "concurrency = 1\nqueue = 2");
    gateway.good("/");
    let busy = ask(gateway.port, "/sleep/800", 1);
    until("it is busy", || gateway.service("web")["instances"][0]["in_flight"] == 1);
    let waiting = ask(gateway.port, "/", 2);
    until("two wait", || gateway.service("web")["waiting"] == 2);
    let refused = get(gateway.port, "/").expect("an answer");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert!(answers(busy).into_iter().chain(answers(waiting)).all(|answer| answer.status == 200));
}

#[test]
fn nobody_waits_for_longer_than_was_said() {
    let house = House::new();
    let gateway = Gateway::of(&house, "concurrency = 1\nqueue_time = \"200ms\"");
    // A start may take longer than that.
    until("it is there", || get(gateway.port, "/").is_ok_and(|answer| answer.status == 200));
    let busy = ask(gateway.port, "/sleep/1500", 1);
    until("it is busy", || gateway.service("web")["instances"][0]["in_flight"] == 1);
    let late = get(gateway.port, "/").expect("an answer");
    assert_eq!((late.status, late.header("retry-after")), (503, "2"));
    assert_eq!(gateway.service("web")["waiting"], 0);
    assert!(answers(busy).iter().all(|answer| answer.status == 200));
}

#[test]
fn where_there_is_room_for_two_three_take_turns() {
    let house = House::new();
    let services: String = ["one", "two", "three"]
        .iter()
        .map(|name| service(name, &format!("\"{name}.test\""), "", ""))
        .collect();
    let gateway = Gateway::with(&house, "instances = 2", &services);
    for name in ["one", "two", "three", "one", "two", "three"] {
        let mut client = crate::support::client::Client::new(gateway.port);
        let answer = client.ask("GET", "/", &format!("{name}.test")).expect("an answer");
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let running = ["one", "two", "three"].map(|name| gateway.stages(name).len());
        assert!(running.iter().sum::<usize>() <= 2, "{running:?}");
    }
    assert_eq!(gateway.stages("one").len(), 0, "the one that was idle for longest went");
}

#[test]
fn those_that_are_wanted_always_are_there_before_anybody_comes() {
    let house = House::new();
    let gateway = Gateway::of(&house, "min = 2\nmax = 3\nidle = \"200ms\"\nfreeze = \"100ms\"");
    until("two are there", || gateway.service("web")["starts"] == 2);
    gateway.until_stages("web", &["frozen", "frozen"]);
    gateway.good("/");
    assert_eq!(gateway.service("web")["starts"], 2, "none was stopped, none more was started");
}

#[test]
fn a_script_of_the_owners_says_how_many() {
    let house = House::new();
    let script = "local asked = 0\nreturn { of_the_web = function(seen)\n    asked += 1\n    \
         if asked == 1 then log(`first question, of {seen.service}`) end\n    \
         return if seen.in_flight > 0 then 2 else nil\nend }\n";
    let write = |text: &str| std::fs::write(house.path("scale.luau"), text).expect("write");
    write(script);
    let policy = "policy = \"scale.luau#of_the_web\"";
    let gateway = Gateway::with(&house, "", &service("web", "\"*\"", policy, "max = 3\ncalm = \"300ms\""));
    let slow = ask(gateway.port, "/sleep/1500", 1);
    // Our own rule would have one.
    until("there are two", || gateway.stages("web") == ["ready", "ready"]);
    assert!(gateway.log().contains("policy: first question, of web"), "{}", gateway.log());
    assert!(answers(slow).iter().all(|answer| answer.status == 200));
    write("return { of_the_web = function(seen) error(\"not today\") end }\n");
    gateway.good("/");
    until("its mistake is told", || gateway.log().contains("scale.luau:1: not today"));
    // It is asked again each 2 s.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(gateway.log().matches("not today").count(), 1, "once: {}", gateway.log());
    write(script);
    until("it is read again", || gateway.log().matches("first question").count() == 2);
}
