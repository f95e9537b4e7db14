//! Clients that are slow, malicious, or both: they hurt nobody but themselves.

use std::io::{Read, Write};

use crate::support::client::Client;
use crate::support::gateway::{Gateway, web};
use crate::support::{House, until};

/// What one that says `text` is told: a status, or nothing before its connection is closed.
fn told(gateway: &Gateway, text: &str) -> Option<u16> {
    let mut client = Client::new(gateway.port);
    // It may be closed before all was said.
    let _ = client.0.get_mut().write_all(text.as_bytes());
    client.head().ok().map(|answer| answer.status)
}

#[test]
fn what_can_be_understood_in_two_ways_is_refused() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    for (text, status) in [
        (format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456"), 400),
        (format!("{post}Content-Length: 5, 6\r\n\r\n123456"), 400),
        (format!("{post}Content-Length: +5\r\n\r\n12345"), 400),
        (format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400),
        (format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
        (format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{get}X-Folded: a\r\n b\r\n\r\n"), 400),
        (format!("{get}X-Space : a\r\n\r\n"), 400),
        (format!("{get}X-Null: a\0b\r\n\r\n"), 400),
        (format!("{get}Host: b\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n".to_owned(), 405),
    ] {
        assert_eq!(told(&gateway, &text), Some(status), "{text:?}");
    }
    assert_eq!(gateway.service("web")["starts"], 0, "none of that was passed on");
    assert_eq!(told(&gateway, &format!("{get}\r\n")), Some(200));
    let whole = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(told(&gateway, whole), Some(200), "of a service as a whole");
}

#[test]
fn a_body_that_is_none_is_its_clients_fault() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "ffffffffffffffffff\r\nhello", "5\r\nhello!!\r\n0\r\n\r\n"] {
        let text = format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(told(&gateway, &text), Some(400), "{body:?}");
    }
}

#[test]
fn what_cannot_be_said_twice_is_not_lost_on_connections_that_close_without_a_word() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let mut client = Client::new(gateway.port);
    // What may be said twice is, and tells what kind of service it is.
    for _ in 0..3 {
        assert_eq!(client.get("/hasty").expect("an answer").status, 200);
    }
    for _ in 0..50 {
        client.say("POST /hasty HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer(false).expect("an answer").status, 200);
    }
}

#[test]
fn of_two_lengths_that_of_the_pieces_holds_and_nothing_comes_after() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    for both in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        // As RFC 9112, 6.3 has it. What could be a second request is none.
        let second = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = Client::new(gateway.port);
        client.say(format!("POST /head HTTP/1.1\r\nHost: a\r\n{both}\r\n\r\n0\r\n\r\n{second}"));
        let heard = client.answer(false).expect("an answer").text().to_lowercase();
        assert!(!(heard.contains("content-length") && heard.contains("transfer-encoding")), "{heard}");
        assert!(client.is_closed(), "{both:?}");
    }
    assert_eq!(gateway.service("web")["requests"], 2);
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Huge: {}\r\n\r\n", "x".repeat(200_000));
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    for text in [huge, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")] {
        assert_eq!(told(&gateway, &text), Some(431), "{} bytes", text.len());
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000));
    assert!(matches!(told(&gateway, &long), Some(414 | 431)), "a long first line");
    assert_eq!(gateway.service("web")["starts"], 0);
}

#[test]
fn a_service_hears_only_what_is_meant_for_it() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let mut client = Client::new(gateway.port);
    client.say(
        "GET /head HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.1.2.3\r\nForwarded: for=10.1.2.3\r\n\
         X-Real-IP: 10.1.2.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test\r\n\
         Connection: Upgrade, HTTP2-Settings, X-Hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
         X-Mine: 1\r\n\r\n",
    );
    let heard = client.answer(false).expect("an answer").text().to_lowercase();
    for line in
        ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-forwarded-host: a.test", "x-mine: 1"]
    {
        assert!(heard.contains(&format!("{line}\r\n")), "{line:?} in {heard}");
    }
    for word in ["10.1.2.3", "b.test", "upgrade", "http2-settings", "x-hop", "forwarded: for"] {
        assert!(!heard.contains(word), "{word:?} in {heard}");
    }
}

#[test]
fn a_client_that_never_comes_to_the_end_of_its_head_is_closed() {
    let house = House::new();
    let gateway = Gateway::with(&house, "head_time = \"300ms\"\nidle_time = \"20s\"", &web(""));
    let mut slow = Client::new(gateway.port);
    let mut said = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    // A line now and then does not help it: the time is for the whole head.
    until("it is closed", || {
        let said = std::mem::replace(&mut said, "X-Slow: 1\r\n".to_owned());
        slow.0.get_mut().write_all(said.as_bytes()).is_err()
    });
    until("its connection is counted no more", || gateway.status()["connections"] == 0);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let house = House::new();
    let gateway = Gateway::with(&house, "idle_time = \"300ms\"", &web(""));
    let mut silent = Client::new(gateway.port);
    let mut used = Client::new(gateway.port);
    assert_eq!(used.get("/").expect("an answer").status, 200);
    let mut preface = Client::new(gateway.port);
    preface.say("PR");
    for client in [&mut silent, &mut used, &mut preface] {
        assert!(client.is_closed());
    }
}

#[test]
fn a_body_that_does_not_come_on_is_given_up() {
    let house = House::new();
    let gateway = Gateway::with(&house, "stall_time = \"300ms\"", &web("concurrency = 1"));
    let mut stalls = Client::new(gateway.port);
    stalls.say("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n12345");
    assert!(stalls.answer(false).is_err() || stalls.is_closed());
    // The instance's only place is free again.
    assert_eq!(gateway.good("/").text(), "hello\n");
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let house = House::new();
    let gateway =
        Gateway::with(&house, "stall_time = \"300ms\"", &web("concurrency = 1\nqueue_time = \"15s\""));
    let mut deaf = Client::new(gateway.port);
    deaf.say("GET /bytes/500000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(deaf.head().expect("a head").status, 200);
    assert_eq!(gateway.good("/").text(), "hello\n", "the instance's only place is free again");
    let mut rest = Vec::new();
    let read = deaf.0.read_to_end(&mut rest);
    assert!(read.is_err() || rest.len() < 500_000_000, "it did not get everything");
}

#[test]
fn who_goes_away_gives_its_place_back() {
    let house = House::new();
    let gateway = Gateway::of(&house, "concurrency = 1");
    gateway.good("/");
    for path in ["/bytes/500000000", "/sleep/100000"] {
        let mut gone = Client::new(gateway.port);
        gone.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        until("it is under way", || gateway.service("web")["instances"][0]["in_flight"] == 1);
        drop(gone);
        assert_eq!(gateway.good("/").text(), "hello\n", "{path}");
    }
}
