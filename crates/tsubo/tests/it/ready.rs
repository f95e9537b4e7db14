//! When a service counts as ready, and what is said when it never does.

use std::path::Path;

use crate::support::base::{small, with};
use crate::support::{House, have, port};

/// Tests a shell script as the service with this condition.
fn args<'a>(ready: &'a str, script: &'a str) -> Vec<&'a str> {
    vec![
        "test",
        "app",
        "--ready",
        ready,
        "--ready-timeout",
        "3",
        "--inside",
        "cat /srv/up",
        "--",
        "/bin/sh",
        "-c",
        script,
    ]
}

const LATE: &str = "sleep 0.3; echo started 42; echo x > /srv/up; exec sleep 1000";

#[test]
fn by_a_file_a_line_or_a_time() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    for ready in ["file:/srv/up", "1"] {
        house.ok(args(ready, LATE));
    }
    house.ok(args("log:started [0-9]+$", "sleep 0.3; echo x > /srv/up; echo started 42; exec sleep 1000"));
    // Three tests, two different services, one package that replays them all.
    let file = house.pack("app", "exact");
    assert!(!house.contents(&file)["spec"]["ready"].is_null());
}

#[test]
fn by_a_port_an_address_or_a_socket() {
    if !have(&["nginx"]) || !Path::new("/usr/sbin/nginx").exists() {
        return;
    }
    let house = House::new();
    let port = port();
    let base = with(&house, &["/usr/sbin/nginx"]);
    for dir in ["var/lib/nginx", "var/log/nginx"] {
        std::fs::create_dir_all(base.join(dir)).expect("mkdir");
    }
    std::fs::write(base.join("srv/index.html"), "hello\n").expect("write");
    let conf = format!(
        "daemon off; user root root; pid /run/n.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; server {{ listen 127.0.0.1:{port}; listen unix:/run/n.sock; root /srv; }} }}\n"
    );
    std::fs::write(base.join("etc/nginx.conf"), conf).expect("write");
    house.dev("web", &base, "true");
    let good = format!("http://127.0.0.1:{port}/index.html");
    for ready in [format!("tcp:{port}"), format!("http:{good}"), "unix:/run/n.sock".to_owned()] {
        house.ok([
            "test",
            "web",
            "--ready",
            &ready,
            "--inside",
            "true",
            "--",
            "nginx",
            "-c",
            "/etc/nginx.conf",
        ]);
    }
    let seen = house.json(["observation", "show", "web", "--format", "json"]);
    assert_eq!(seen["ports"][0]["port"], port, "{}", seen["ports"]);
    let bad = format!("http:http://127.0.0.1:{port}/missing.html");
    let complaint = house.fails(
        1,
        ["test", "web", "--ready", &bad, "--ready-timeout", "1", "--", "nginx", "-c", "/etc/nginx.conf"],
    );
    assert!(complaint.contains("missing.html"), "{complaint}");
}

#[test]
fn a_service_that_is_never_ready_or_dies_is_told_with_its_last_lines() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let never = house.fails(1, args("file:/srv/never", "echo waiting for godot; exec sleep 1000"));
    assert!(never.contains("godot") && never.contains("/srv/never"), "{never}");
    let dies = house.fails(1, args("file:/srv/up", "echo out of luck >&2; exit 4"));
    assert!(dies.contains("out of luck") && dies.contains('4'), "{dies}");
    let missing = house.fails(127, ["test", "app", "--", "/no/such/program"]);
    assert!(missing.contains("/no/such/program"), "{missing}");
}

#[test]
fn an_exercise_that_fails_is_told_with_both_last_lines() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let test = ["test", "app", "--ready", "log:up", "--exercise", "echo cannot reach it; exit 6"];
    let complaint =
        house.fails(1, test.iter().chain(&["--", "/bin/sh", "-c", "echo up and away; exec sleep 1000"]));
    for part in ["code 6", "cannot reach it", "up and away"] {
        assert!(complaint.contains(part), "{part} in {complaint}");
    }
}

#[test]
fn a_port_that_is_taken_is_not_the_service() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let ready = format!("tcp:{}", listener.local_addr().expect("address").port());
    let complaint = house.fails(125, ["test", "app", "--ready", &ready, "--", "sleep", "1000"]);
    assert!(complaint.contains(&ready[4..]), "{complaint}");
}
