//! Several who look on at one container, and one who goes away.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use lifecycle::Container;
use spec::protocol::{Decoder, Reply, Request, VERSION, encode};

use crate::harness::{World, launch, log_of, until};

fn attach(world: &World, container: &Container) -> UnixStream {
    let run = world.state().join("run/containers").join(container.id().to_string());
    let mut stream = UnixStream::connect(run.join("control")).expect("connect");
    say(&mut stream, &Request::Hello { version: VERSION });
    say(&mut stream, &Request::Attach);
    stream
}

fn say(stream: &mut UnixStream, request: &Request) {
    stream.write_all(&encode(request).expect("frame")).expect("write");
}

/// Reads until `text` was said.
fn hears(stream: &mut UnixStream, text: &str) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
    let (mut decoder, mut said) = (Decoder::default(), String::new());
    let mut buffer = [0; 65536];
    while !said.contains(text) {
        let count = stream.read(&mut buffer).expect("it comes");
        assert!(count > 0, "closed; {} bytes said", said.len());
        decoder.push(&buffer[..count]);
        while let Some(reply) = decoder.take::<Reply>().expect("a message") {
            if let Reply::Output { bytes, .. } = reply {
                said.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}

fn with_input(world: &World, script: &str) -> Container {
    let made = world.create("web", false, |options| {
        options.args = ["/bin/sh", "-c", script].map(String::from).to_vec();
        options.life.input = true;
    });
    made.expect("create").start(launch(false, true)).expect("start");
    world.containers.find("web").expect("find")
}

#[test]
fn ten_look_on_and_one_that_does_not_read_holds_nobody_up() {
    let world = World::new();
    let container = with_input(&world, "read go; head -c 20000000 /dev/zero; echo; echo the end; read stop");
    let mut readers: Vec<_> = (0..9).map(|_| attach(&world, &container)).collect();
    let _deaf = attach(&world, &container);
    let mut typist = attach(&world, &container);
    say(&mut typist, &Request::Input { bytes: b"go\n".to_vec() });
    let threads: Vec<_> = readers
        .drain(..)
        .chain([typist])
        .map(|mut stream| {
            std::thread::spawn(move || {
                hears(&mut stream, "the end");
                stream
            })
        })
        .collect();
    let mut streams: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("heard")).collect();
    say(&mut streams[3], &Request::Input { bytes: b"stop\n".to_vec() });
    assert_eq!(container.wait().expect("the end"), 0);
}

#[test]
fn its_caller_goes_away_and_it_goes_on() {
    let world = World::new();
    let made =
        world.shell("web", false, "while read line; do echo got $line; done; sleep 1000").expect("create");
    let session = made.start(launch(true, true)).expect("start");
    // What a detaching terminal says before it closes.
    let session = session.without_signals().expect("loosen");
    drop(session);
    let container = world.containers.find("web").expect("find");
    std::thread::sleep(Duration::from_millis(200));
    assert!(container.status().expect("status").is_running());
    let mut other = attach(&world, &container);
    say(&mut other, &Request::Input { bytes: b"this\n".to_vec() });
    hears(&mut other, "got this");
    drop(other);
    let mut third = attach(&world, &container);
    say(&mut third, &Request::Input { bytes: b"that\n".to_vec() });
    until("the line", || log_of(&container).contains("got that"));
    assert!(container.status().expect("status").is_running());
}
