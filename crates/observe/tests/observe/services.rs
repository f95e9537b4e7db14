//! Real services, and what watching costs them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use spec::RootPath;
use spec::observation::{Stage, Use};
use tsubo_observe::{Opens, Seen};

use crate::harness::{Case, by, uses};

/// A port that is free now.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

fn connect(port: u16) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(_) if start.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("port {port}: {error}"),
        }
    }
}

fn ask(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn get(port: u16, path: &str) -> String {
    ask(port, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: the test's own child.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn nginx(case: &Case, port: u16) -> [&'static str; 5] {
    let configuration = format!(
        "daemon off; worker_processes 2; pid /t/nginx.pid; error_log /t/error.log; events {{}}\n\
         http {{ access_log off; include /etc/nginx/mime.types; server {{ listen 127.0.0.1:{port}; root /t/site; }} }}\n"
    );
    case.file("/t/nginx.conf", &configuration);
    case.file("/t/site/index.html", &"<p>hello</p>\n".repeat(40)).file("/t/site/real", "real");
    case.link("/t/site/other.html", "real");
    ["/usr/sbin/nginx", "-c", "/t/nginx.conf", "-p", "/t"]
}

#[test]
fn nginx_is_seen() {
    for opens in [Opens::Listener, Opens::Fanotify] {
        let (case, port) = (Case::new(opens), port());
        let command = nginx(&case, port);
        let run = case.watched(&command, |watch, pid| {
            drop(connect(port));
            watch.stage(Stage::Exercise);
            assert!(get(port, "/").contains("hello"));
            assert!(get(port, "/other.html").contains("real"));
            assert!(get(port, "/absent").contains("404"));
            watch.stage(Stage::Stop);
            signal(pid, libc::SIGQUIT);
        });
        assert_eq!(run.status, 0);
        let seen = run.seen.expect("complete");
        assert_eq!(uses(&seen, "/t/site/other.html"), [Use::Followed]);
        assert_eq!(by(&seen, "/t/site/real"), (Stage::Exercise, vec!["/usr/sbin/nginx".to_owned()]));
        assert_eq!(uses(&seen, "/t/site/absent"), [Use::Missing]);
        assert_eq!(by(&seen, "/etc/nginx/mime.types").0, Stage::Start);
        assert!(uses(&seen, "/etc/passwd").contains(&Use::Opened));
        assert_eq!(seen.instruments.contains("ebpf"), opens == Opens::Fanotify);
        if opens == Opens::Fanotify {
            for name in ["epoll_wait", "accept4", "writev", "execve", "exit_group"] {
                assert!(seen.syscalls.contains(name), "{name}: {:?}", seen.syscalls);
            }
        }
    }
}

#[test]
fn redis_is_seen() {
    for opens in [Opens::Listener, Opens::Fanotify] {
        let (case, port) = (Case::new(opens), port());
        case.file("/t/redis/dir/.keep", "");
        let number = port.to_string();
        let command = ["/usr/bin/redis-server", "--port", &number, "--dir", "/t/redis/dir", "--save", ""];
        let run = case.watched(&command, |_, _| {
            connect(port).write_all(b"SET a b\r\nSAVE\r\nSHUTDOWN NOSAVE\r\n").expect("sent");
        });
        assert_eq!(run.status, 0);
        let seen = run.seen.expect("complete");
        assert!(uses(&seen, "/t/redis/dir").contains(&Use::Entered));
        let dumped = |path: &RootPath| path.to_string().starts_with("/t/redis/dir/temp-");
        assert!(seen.paths.iter().any(|(path, used)| dumped(path) && used.how.contains(&Use::Changed)));
    }
}

#[test]
fn python_is_seen() {
    for opens in [Opens::Listener, Opens::Fanotify] {
        let case = Case::new(opens);
        case.file("/t/app.py", "import json, sqlite3, helper\nprint(json.dumps(1))\n");
        case.file("/t/helper.py", "import os; os.listdir('/t/data')\n").file("/t/data/x", "");
        let seen = case.run(&["/usr/bin/python3", "/t/app.py"]);
        assert!(uses(&seen, "/usr/bin/python3") == [Use::Followed]);
        assert!(uses(&seen, "/usr/bin/python3.11").contains(&Use::Executed));
        assert!(uses(&seen, "/t/helper.py").contains(&Use::Opened));
        assert!(uses(&seen, "/t/data").contains(&Use::Listed));
        assert!(uses(&seen, "/usr/lib/python3.11/json/__init__.py").contains(&Use::LookedAt));
        let shared = |seen: &Seen| seen.paths.keys().any(|path| path.to_string().contains("libsqlite3.so"));
        assert!(shared(&seen));
    }
}

/// Numbers for docs/benchmarks.md: `cargo test -p tsubo-observe --release -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_watching_costs() {
    for (name, opens) in [("listener", Opens::Listener), ("fanotify + eBPF", Opens::Fanotify)] {
        println!("MEASURED {name}:");
        let case = Case::new(opens);
        case.file("/t/x", "");
        case.probe(&["time", "/t/x"]);
    }
    println!("MEASURED nothing:");
    let case = Case::new(Opens::Listener);
    case.file("/t/x", "");
    case.probe(&["opath", "/t/x"]);
    let (probe, file) = (case.lower("t/probe"), case.lower("t/x"));
    Command::new(probe).arg("time").arg(file).status().expect("run");
    for (name, opens) in [("listener", Opens::Listener), ("fanotify + eBPF", Opens::Fanotify)] {
        measure(
            &format!("nginx, {name}"),
            opens,
            |case, port| nginx(case, port).map(str::to_owned).to_vec(),
            &load_nginx,
        );
        measure(&format!("redis, {name}"), opens, redis, &load_redis);
    }
}

fn redis(_: &Case, port: u16) -> Vec<String> {
    ["/usr/bin/redis-server", "--save", "", "--port", &port.to_string()].map(str::to_owned).to_vec()
}

/// Requests per second watched and not watched, in turns.
fn measure(
    name: &str,
    opens: Opens,
    service: impl Fn(&Case, u16) -> Vec<String>,
    load: &(dyn Fn(u16) -> f64 + Sync),
) {
    let (mut watched, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let case = Case::new(opens);
        let port = port();
        let command = service(&case, port);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut rate = 0.0;
        let run = case.watched(&command, |_, pid| {
            drop(connect(port));
            rate = load(port);
            signal(pid, libc::SIGTERM);
        });
        run.seen.expect("complete");
        watched.push(rate);
        let mut rate = 0.0;
        case.unwatched(&command, |pid| {
            drop(connect(port));
            rate = load(port);
            signal(pid, libc::SIGTERM);
        });
        plain.push(rate);
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (watched, plain) = (median(&mut watched), median(&mut plain));
    println!("MEASURED {name}: {watched:.0}/s watched, {plain:.0}/s not, ratio {:.2}", watched / plain);
}

fn load_nginx(port: u16) -> f64 {
    let url = format!("http://127.0.0.1:{port}/index.html");
    let output = Command::new("wrk").args(["-t1", "-c16", "-d2s", &url]).output().expect("wrk");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect("a rate");
    line.trim().parse().expect("a number")
}

fn load_redis(port: u16) -> f64 {
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &port.to_string(), "-t", "set,get", "-n", "60000", "-q", "--csv"]);
    let text = String::from_utf8(command.output().expect("redis-benchmark").stdout).expect("text");
    let line = text.lines().find(|line| line.contains("GET")).expect("a rate");
    line.split(',').nth(1).expect("a column").trim_matches('"').parse().expect("a number")
}
