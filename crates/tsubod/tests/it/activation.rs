//! Containers come when they are called, and go when nobody calls.

use std::io::Write;
use std::path::Path;
use std::sync::Barrier;

use crate::support::base::bring;
use crate::support::client::{Answer, Client, get};
use crate::support::gateway::{Gateway, service, service_of};
use crate::support::{House, package};

/// What `/bytes` and `/chunked` of the program say.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn the_first_request_starts_a_container_and_is_answered_by_it() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    assert!(house.containers().iter().all(|row| row["pid"].is_null()), "nobody has asked yet");
    assert_eq!(gateway.good("/").text(), "hello\n");
    assert_eq!(gateway.stages("web"), ["ready"]);
    let told = gateway.service("web");
    assert_eq!((&told["starts"], &told["cold"], &told["failed"]), (&1.into(), &1.into(), &0.into()));
    house.pid("web.1");
}

#[test]
fn fifty_first_requests_at_once_start_one_instance() {
    let house = House::new();
    let gateway = Gateway::of(&house, "max = 4");
    let (port, barrier) = (gateway.port, Barrier::new(50));
    let ask = || {
        let client = Client::try_new(port);
        barrier.wait();
        client.and_then(|mut client| client.get("/"))
    };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().expect("a client").expect("an answer")).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.run() == answers[0].run()));
    assert_eq!(gateway.service("web")["starts"], 1);
}

#[test]
fn who_is_idle_is_frozen_then_stopped_and_a_connection_outlives_both() {
    let house = House::new();
    let gateway = Gateway::of(&house, "freeze = \"200ms\"\nidle = \"1500ms\"");
    let mut client = Client::new(gateway.port);
    let first = client.get("/").expect("an answer");
    gateway.until_stages("web", &["frozen"]);
    let thawed = client.get("/").expect("an answer");
    assert_eq!((thawed.status, thawed.run()), (200, first.run()), "the same one goes on");
    gateway.until_stages("web", &[]);
    let again = client.get("/").expect("an answer on the same connection");
    assert_eq!(again.status, 200);
    assert_ne!(again.run(), first.run(), "it was started again");
    assert_eq!(house.containers().len(), 1, "in the container that it was made");
    assert_eq!(gateway.service("web")["starts"], 2);
}

#[test]
fn bodies_arrive_whole_however_their_end_is_told() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let body = pattern(1 << 20);
    let mut client = Client::new(gateway.port);
    client.say(format!("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.say(&body);
    let answer = client.answer(false).expect("an answer");
    assert!(answer.status == 200 && answer.body == body, "{} {}", answer.status, answer.body.len());

    client.say("POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(70_001) {
        client.say(format!("{:x}\r\n", piece.len()));
        client.say(piece);
        client.say("\r\n");
    }
    client.say("0\r\n\r\n");
    let answer = client.answer(false).expect("an answer");
    assert!(answer.status == 200 && answer.body == body, "{} {}", answer.status, answer.body.len());
}

#[test]
fn a_client_that_waits_for_permission_gets_it() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let mut client = Client::new(gateway.port);
    client.say("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().expect("a word").status, 100);
    client.say("12345");
    assert_eq!(client.answer(false).expect("an answer").text(), "12345");
}

#[test]
fn answers_without_a_body_and_long_ones_end_where_they_end() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let mut client = Client::new(gateway.port);
    let head = client.ask("HEAD", "/bytes/1000", "a.test").expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, "1000"));
    for status in [204, 304] {
        assert_eq!(client.get(&format!("/status/{status}")).expect("an answer").status, status);
    }
    assert_eq!(client.get("/status/418").expect("an answer").status, 418);
    let large = 50 << 20;
    for path in ["bytes", "chunked"] {
        let answer = client.get(&format!("/{path}/{large}")).expect("an answer");
        assert!(answer.body.len() == large && answer.body == pattern(large), "{path}: {}", answer.body.len());
    }
    assert_eq!(client.get("/").expect("an answer").text(), "hello\n", "all on one connection");
}

#[test]
fn requests_are_answered_in_the_order_in_which_they_were_sent() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let mut client = Client::new(gateway.port);
    let all: String = ["/sleep/50", "/bytes/3", "/"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .concat();
    client.say(all);
    let lengths: Vec<_> = (0..3).map(|_| client.answer(false).expect("an answer").body.len()).collect();
    assert_eq!(lengths, [6, 3, 6]);
}

#[test]
fn names_and_paths_lead_to_their_services() {
    let house = House::new();
    let services = service("shop", "\"shop.test\", \"*.shop.test\"", "", "")
        + &service("api", "\"shop.test/api\"", "", "");
    let gateway = Gateway::with(&house, "", &services);
    let mut client = Client::new(gateway.port);
    let mut run = |host: &str, path: &str| {
        let answer = client.ask("GET", path, host).expect("an answer");
        (answer.status, answer.run().to_owned())
    };
    let (shop, api) = (run("shop.test", "/"), run("shop.test", "/api/x"));
    assert_eq!((shop.0, api.0), (200, 200));
    assert_ne!(shop.1, api.1);
    assert_eq!(run("SHOP.test:8080", "/apix"), shop);
    assert_eq!(run("a.b.shop.test", "/api"), shop);
    assert_eq!(run("elsewhere.test", "/").0, 404);
    assert_eq!(gateway.status()["services"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_browser_is_shown_a_page_while_it_waits_if_that_is_wanted() {
    let house = House::new();
    let gateway = Gateway::of(&house, "waiting_page = true");
    let mut client = Client::new(gateway.port);
    write!(client.0.get_mut(), "GET / HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n").expect("write");
    let page = client.answer(false).expect("a page");
    assert_eq!((page.status, page.header("retry-after")), (503, "1"));
    assert!(page.text().contains("<html") || page.text().contains("<!doctype"), "{}", page.text());
    // It has called the instance all the same.
    crate::support::until("it is there", || gateway.stages("web") == ["ready"]);
    assert_eq!(get(gateway.port, "/").expect("an answer").text(), "hello\n");
}

#[test]
fn a_service_may_be_lent_the_socket_itself() {
    let house = House::new();
    let at = crate::support::port();
    let lent = service(
        "web",
        "",
        &format!("sockets = [\"127.0.0.1:{at}\"]\ncommand = [\"/bin/web\", \"-\"]"),
        "idle = \"300ms\"",
    );
    let gateway = Gateway::with(&house, "", &lent.replace("port = 80\n", ""));
    let first = crate::support::client::good(at, "/");
    gateway.until_stages("web", &[]);
    let again = crate::support::client::good(at, "/head");
    assert_ne!(again.run(), first.run(), "it was started again");
    assert!(
        !again.text().to_lowercase().contains("x-forwarded-for"),
        "nobody stands between: {}",
        again.text()
    );
}

/// Listens at once, and answers with what it is asked for once it has said so.
const SLOW_OPENING: &str = "httpd -p 80 -h /dev/shm; echo 'opening soon'; sleep 1; \
    echo open > /dev/shm/index.html; touch /dev/shm/open; echo 'now it is open'; exec sleep 1000";

#[test]
fn one_that_listens_before_it_answers_is_ready_when_it_says_so() {
    let house = House::new();
    let base = house.path("base");
    for folder in ["tmp", "proc", "sys", "dev", "etc"] {
        std::fs::create_dir_all(base.join(folder)).expect("mkdir");
    }
    for name in ["sh", "httpd", "sleep", "touch"] {
        bring(&base, Path::new("/bin/busybox"), &format!("/bin/{name}"));
    }
    package::of_folder(&house, "slow", &base, &["/bin/sh", "-c", SLOW_OPENING]);
    let service = |name: &str, ready: &str| {
        let more = format!("hosts = [\"{name}\"]");
        let activation = format!("port = 80\nready = \"{ready}\"\nfreeze = \"never\"\nidle = \"1s\"");
        service_of("slow", &more, &activation).replace("service.slow", &format!("service.{name}"))
    };
    let services = service("log", "log:^now .* open$") + &service("file", "file:/dev/shm/open");
    let gateway = Gateway::with(&house, "", &services);
    for name in ["log", "file"] {
        // The second start has the log of the first.
        for _ in 0..2 {
            let answer = Client::new(gateway.port).ask("GET", "/index.html", name).expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "open\n"), "{name}");
            gateway.until_stages(name, &[]);
        }
    }
}
