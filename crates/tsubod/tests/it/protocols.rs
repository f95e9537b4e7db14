//! What is spoken besides plain HTTP/1.1: sockets of the web, events, version 2, bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::support::client::{Client, get};
use crate::support::gateway::{Gateway, service_of, web};
use crate::support::{House, base, have, nginx, package, port, succeed};

#[test]
fn a_socket_of_the_web_says_what_it_likes() {
    let house = House::new();
    let brief = "head_time = \"200ms\"\nidle_time = \"200ms\"\nstall_time = \"200ms\"";
    let gateway = Gateway::with(&house, brief, &web("freeze = \"100ms\"\nidle = \"200ms\""));
    let mut client = Client::new(gateway.port);
    client.say(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let accepted = client.head().expect("an answer");
    assert_eq!((accepted.status, accepted.header("upgrade")), (101, "websocket"));
    assert_eq!(accepted.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    // A frame with "Hello" (RFC 6455, 5.7), and more than fits at once; both after a while.
    let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec();
    for said in [frame, vec![7; 300_000]] {
        std::thread::sleep(Duration::from_millis(400));
        let mut stream = client.0.get_ref().try_clone().expect("a copy");
        let mut heard = vec![0; said.len()];
        std::thread::scope(|scope| {
            scope.spawn(|| stream.write_all(&said).expect("write"));
            client.0.read_exact(&mut heard).expect("read");
        });
        assert_eq!(heard, said);
    }
    // As long as it is open its instance is in use.
    assert_eq!(gateway.stages("web"), ["ready"]);
    drop(client);
    gateway.until_stages("web", &[]);
}

#[test]
fn events_come_when_they_are_sent() {
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let mut client = Client::new(gateway.port);
    client.say("GET /events/3 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().expect("a head").header("content-type"), "text/event-stream");
    for number in 0..3 {
        // The next one is sent only after this has been seen here.
        assert_eq!(client.chunk().expect("an event"), format!("data: {number}\n\n").into_bytes());
        gateway.good("/tick");
    }
    assert!(client.chunk().expect("the end").is_empty());
}

#[test]
fn version_two_is_understood_from_the_first_byte() {
    if !have(&["curl"]) {
        return;
    }
    let house = House::new();
    let gateway = Gateway::of(&house, "");
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", gateway.port);
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "20",
            "--http2-prior-knowledge",
            "-w",
            "\n%{http_version} %{http_code}",
        ]);
        curl.args(args);
        succeed(curl)
    };
    assert_eq!(curl(&[&url("/")]), "hello\n\n2 200");
    let said = "x".repeat(300_000);
    std::fs::write(house.path("said"), &said).expect("write");
    let body = format!("@{}", house.path("said").display());
    assert_eq!(curl(&["--data-binary", &body, &url("/echo")]), format!("{said}\n2 200"));
    assert!(curl(&[&url("/chunked/1000000")]).len() >= 1_000_000);
    assert_eq!(curl(&["-I", &url("/status/204")]).lines().last(), Some("2 204"));
    let heard =
        curl(&["-H", "X-Forwarded-For: 10.1.2.3", "-H", "TE: trailers", &url("/head")]).to_lowercase();
    assert!(heard.contains(&format!("host: 127.0.0.1:{}\r\n", gateway.port)), "{heard}");
    assert!(!heard.contains("10.1.2.3") && !heard.contains("te: "), "{heard}");
}

/// A client of gRPC: it believes no answer whose status does not come in its trailers.
const CALL: &str = "
import grpc, sys
with grpc.insecure_channel(sys.argv[1]) as channel:
    reply, call = channel.unary_unary('/shop.Shop/Ask').with_call(b'anything?', timeout=20)
    print(reply.decode(), call.code().name)
";

#[test]
fn grpc_is_spoken_to_its_trailers() {
    if !have(&["nginx"]) {
        return;
    }
    let house = House::new();
    // nginx says the same to everybody: a message of two bytes, after its length.
    nginx::write(
        &house,
        "default_type application/grpc; server { listen 127.0.0.1:50051 http2; add_trailer grpc-status 0 always; \
         error_page 405 =200 $uri; }",
    );
    let services = service_of("nginx", "hosts = [\"*\"]", "port = 50051\nprotocol = \"h2c\"");
    let gateway = Gateway::with(&house, "", &services);
    // Who speaks version 1 is served as well.
    assert_eq!(get(gateway.port, "/a").expect("an answer").text(), "page a\n");
    if !std::path::Path::new("/usr/lib/python3/dist-packages/grpc").exists() {
        return eprintln!("SKIPPED: needs python3-grpcio");
    }
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", CALL, &format!("127.0.0.1:{}", gateway.port)]);
    assert_eq!(succeed(python), "hi OK\n");
}

#[test]
fn redis_comes_when_it_is_called() {
    if !have(&["redis-server", "redis-cli"]) {
        return;
    }
    let house = House::new();
    let folder = base::with(&house, &["redis-server"]);
    let command = ["/usr/bin/redis-server", "--port", "6379", "--save", "", "--dir", "/tmp"];
    package::of_folder(&house, "redis", &folder, &command);
    let at = port();
    let tcp = format!("tcp = [\"127.0.0.1:{at}\"]");
    let gateway = Gateway::with(&house, "", &service_of("redis", &tcp, "port = 6379\nfreeze = \"300ms\""));
    let cli = |args: &[&str]| {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &at.to_string()]).args(args);
        succeed(cli)
    };
    assert_eq!(cli(&["PING"]), "PONG\n");
    let mut stream = TcpStream::connect(("127.0.0.1", at)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
    let all: String = (0..1000).map(|number| format!("SET k{number} {number}\r\n")).collect();
    stream.write_all(all.as_bytes()).expect("write");
    let lines: Vec<_> =
        BufReader::new(&stream).lines().take(1000).map(|line| line.expect("a line")).collect();
    assert!(lines.iter().all(|line| line == "+OK"));
    drop(stream);
    gateway.until_stages("redis", &["frozen"]);
    assert_eq!(cli(&["GET", "k999"]), "999\n", "what it knew it knows when it goes on");
    assert_eq!(gateway.service("redis")["starts"], 1);
}
