//! The policy of a package: no capability without which the replay passes, the system calls that
//! were seen, and room for a different exercise.

use std::path::Path;

use serde_json::Value;

use crate::support::{House, base, get, have, port, shell, until_listening};

/// The capabilities of the package's policy, without `CAP_`.
fn capabilities(contents: &Value) -> Vec<String> {
    let names = contents["spec"]["policy"]["capabilities"].as_array().expect("a policy");
    names.iter().map(|name| name.as_str().expect("a name").trim_start_matches("CAP_").to_owned()).collect()
}

/// Whether this host shows which capabilities are used.
fn is_shown(house: &House, container: &str) -> bool {
    let seen = house.json(["observation", "show", container, "--format", "json"]);
    let shown = seen["runs"][0]["instruments"].to_string().contains("capability-checks");
    if !shown {
        eprintln!("SKIPPED: this host does not show which capabilities are used");
    }
    shown
}

#[test]
fn redis_needs_no_capability() {
    if !have(&["redis-server", "redis-cli"]) {
        return;
    }
    let house = House::new();
    let number = port();
    house.dev("db", Path::new("host"), "mkdir -p /srv/db; chown 1234:1234 /srv/db");
    let (ready, text) = (format!("tcp:{number}"), number.to_string());
    let cli = format!("redis-cli -h 127.0.0.1 -p {number}");
    let exercise = format!("test \"$({cli} set k v)\" = OK");
    let test = ["test", "db", "--user", "1234", "--ready", &ready, "--exercise", &exercise, "--"];
    let server = ["redis-server", "--port", &text, "--bind", "127.0.0.1", "--dir", "/srv/db"];
    house.ok(test.iter().chain(&server));
    let file = house.pack("db", "package");
    let contents = house.contents(&file);
    assert_eq!(capabilities(&contents), [""; 0], "{:#}", contents["capabilities"]);
    assert_eq!(contents["spec"]["policy"]["groups_seen"], false);
    assert!(contents["spec"]["policy"]["syscalls"].as_array().expect("calls").len() > 20);
    house.start("db", &file);
    until_listening(number);
    // Another exercise: a child that writes, a script, a list of clients.
    let other = format!(
        "{cli} eval 'return 7' 0; {cli} bgsave; {cli} client list; {cli} config get dir; {cli} debug sleep 0"
    );
    assert!(shell(&other).contains("/srv/db"));
    house.ok_elsewhere(["stop", "db"]);
    assert_eq!(house.json_elsewhere(["inspect", "db"])["state"]["exit_code"], 0);
}

#[test]
fn nginx_keeps_what_makes_its_workers_somebody_else() {
    if !have(&["nginx", "curl"]) {
        return;
    }
    let house = House::new();
    let number = port();
    house.source("one.html", "page one\n");
    house.source("two.html", "page two\n");
    house.source(
        "nginx.conf",
        format!(
            "user www-data; daemon off; pid /run/web.pid; error_log stderr; worker_processes 2;\nevents {{}}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:{number}; root /srv/site; }} }}\n"
        ),
    );
    house.dev(
        "web",
        Path::new("host"),
        "mkdir -p /srv/site; cp /src/*.html /srv/site; cp /src/nginx.conf /srv",
    );
    let exercise = format!("curl -sf http://127.0.0.1:{number}/one.html");
    let ready = format!("tcp:{number}");
    let test =
        ["test", "web", "--ready", &ready, "--exercise", &exercise, "--", "nginx", "-c", "/srv/nginx.conf"];
    house.ok(test);
    let file = house.path("web.tsubo").display().to_string();
    let told = house.ok(["pack", "web", "-o", &file]);
    let contents = house.contents(&file);
    let kept = capabilities(&contents);
    assert!(kept.contains(&"SETUID".to_owned()) && kept.contains(&"SETGID".to_owned()), "{contents:#}");
    for dropped in ["NET_BIND_SERVICE", "NET_RAW", "MKNOD", "SETFCAP", "SYS_CHROOT", "AUDIT_WRITE", "SETPCAP"]
    {
        assert!(!kept.contains(&dropped.to_owned()), "{kept:?}");
    }
    assert!(told.contains("CAP_SETUID") && told.contains("without it the replay failed"), "{told}");
    if is_shown(&house, "web") {
        assert_eq!(contents["capabilities"]["CAP_SETUID"]["by"], serde_json::json!(["nginx"]));
    }
    house.start("web", &file);
    until_listening(number);
    assert_eq!(get(number, "/one.html"), (200, "page one\n".to_owned()));
    assert_eq!(get(number, "/two.html"), (200, "page two\n".to_owned()));
    assert_eq!(get(number, "/none.html").0, 404);
    house.ok_elsewhere(["stop", "web"]);
    assert_eq!(house.json_elsewhere(["inspect", "web"])["state"]["exit_code"], 0);
}

const SERVICE: &str = r#"
import http.server, sys

def one(): return "one"

def lazy():
    import csv, io, ctypes, decimal
    return str(decimal.Decimal("1.1") + 1)

def zone():
    import datetime, zoneinfo
    return str(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")).utcoffset())

def child():
    import subprocess
    return subprocess.run(["/usr/bin/sh", "-c", "echo $((6*7)) | cat"], capture_output=True, text=True).stdout

def thread():
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return str(sum(pool.map(len, ["a", "bb"])))

def scratch():
    import tempfile, os
    with tempfile.NamedTemporaryFile(dir="/srv/app/data") as file:
        file.write(b"x"); file.flush(); os.fsync(file.fileno())
        return str(os.stat(file.name).st_size)

ROUTES = {"/one": one, "/lazy": lazy, "/zone": zone, "/child": child, "/thread": thread, "/scratch": scratch}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, text = 200, ROUTES[self.path]()
        except Exception as error:
            status, text = 500, repr(error)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *args): pass

open("/srv/app/data/started", "w").close()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[test]
fn a_python_service_does_under_its_policy_what_no_exercise_did() {
    if !have(&["curl"]) || !Path::new("/usr/bin/python3").exists() {
        return;
    }
    let house = House::new();
    let number = port();
    house.source("app.py", SERVICE);
    house.dev("app", Path::new("host"), "mkdir -p /srv/app/data; cp /src/app.py /srv/app");
    let (ready, text) = (format!("tcp:{number}"), number.to_string());
    let exercise = format!("curl -sf http://127.0.0.1:{number}/one");
    let test = ["test", "app", "--ready", &ready, "--exercise", &exercise, "--"];
    house.ok(test.iter().chain(&["/usr/bin/python3", "/srv/app/app.py", &text]));
    let file = house.pack_with(
        "app",
        "package",
        &["--keep", "/usr/bin/sh", "--keep", "/usr/bin/cat", "--keep", "/usr/bin/dash"],
    );
    let contents = house.contents(&file);
    assert_eq!(capabilities(&contents), [""; 0], "{:#}", contents["capabilities"]);
    house.start("app", &file);
    until_listening(number);
    let expected = [
        ("/one", "one"),
        ("/lazy", "2.1"),
        ("/zone", "9:00:00"),
        ("/child", "42\n"),
        ("/thread", "3"),
        ("/scratch", "1"),
    ];
    for (path, body) in expected {
        assert_eq!(get(number, path), (200, body.to_owned()), "{path}");
    }
}

#[test]
fn a_service_that_gives_files_away_keeps_the_right_to() {
    let house = House::new();
    let script = "mkdir -p /srv/data; touch /srv/data/f; chown 1234:1234 /srv/data/f; stat -c %u /srv/data/f";
    house.dev("job", &base::small(&house), "mkdir -p /srv/data");
    house.test_job("job", &["/bin/sh", "-ec", script]);
    let file = house.pack("job", "package");
    let contents = house.contents(&file);
    assert_eq!(capabilities(&contents), ["CHOWN"], "{:#}", contents["capabilities"]);
    assert_eq!(house.run(&file, &[]), "1234\n");
}

#[test]
fn a_service_that_goes_on_after_a_refusal_keeps_the_right_too() {
    let house = House::new();
    // It neither fails nor says a word, but whose the file is tells.
    let script = "touch /srv/data/f; chown 1234 /srv/data/f 2>/dev/null; echo up; exec sleep 60";
    house.dev("svc", &base::small(&house), "mkdir -p /srv/data");
    house.ok(["test", "svc", "--ready", "log:up", "--stop-signal", "KILL", "--", "/bin/sh", "-c", script]);
    let file = house.pack("svc", "package");
    let contents = house.contents(&file);
    assert_eq!(capabilities(&contents), ["CHOWN"], "{:#}", contents["capabilities"]);
    let why = contents["capabilities"]["CAP_CHOWN"]["why"].as_str().expect("a reason");
    assert!(why.contains("/srv/data/f was 0:0"), "{why}");
}

#[test]
fn an_exercise_inside_runs_under_the_policy_too() {
    let house = House::new();
    house.dev("svc", &base::small(&house), "mkdir -p /srv/data; touch /srv/data/f");
    let inside = "chown 1234 /srv/data/f";
    let test = ["test", "svc", "--ready", "log:up", "--stop-signal", "KILL", "--inside", inside, "--"];
    house.ok(test.iter().chain(&["/bin/sh", "-c", "echo up; exec sleep 60"]));
    let file = house.pack("svc", "package");
    let contents = house.contents(&file);
    assert_eq!(capabilities(&contents), ["CHOWN"], "{:#}", contents["capabilities"]);
}

#[test]
fn a_set_uid_program_turns_no_new_privs_off_and_that_is_said() {
    let house = House::new();
    house.dev("job", &base::small(&house), "cp /bin/id /srv/id; chmod 4755 /srv/id");
    house.ok(["test", "job", "--user", "1234", "--", "/srv/id", "-u"]);
    let file = house.path("job.tsubo").display().to_string();
    let told = house.command(["pack", "job", "-o", &file]).output().expect("tsubo pack");
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{err}");
    assert!(out.contains("privilege may be gained by exec"), "{out}");
    assert!(err.contains("no_new_privs stays off"), "{err}");
    assert_eq!(house.contents(&file)["spec"]["gain_privilege"], true);
    assert_eq!(house.run(&file, &[]), "0\n");
    // Root that executes it gains nothing, so nothing is given up.
    house.ok(["test", "job", "--fresh", "--", "/srv/id", "-u"]);
    house.ok(["pack", "job", "-o", &file]);
    assert_eq!(house.contents(&file)["spec"]["gain_privilege"], false);
}

#[test]
fn without_a_replay_what_was_used_is_kept_and_that_is_said() {
    let house = House::new();
    house.dev("job", &base::small(&house), "mkdir -p /srv/data");
    house.test_job("job", &["/bin/sh", "-ec", "touch /srv/data/f; chown 1234 /srv/data/f"]);
    let file = house.path("job.tsubo").display().to_string();
    let packed = house.command(["pack", "job", "-o", &file, "--no-replay"]).output().expect("tsubo pack");
    assert!(packed.status.success());
    assert!(String::from_utf8_lossy(&packed.stderr).contains("without a replay"), "{packed:?}");
    let contents = house.contents(&file);
    assert!(capabilities(&contents).contains(&"CHOWN".to_owned()));
    if is_shown(&house, "job") {
        assert_eq!(capabilities(&contents), ["CHOWN"]);
    }
}

#[test]
fn what_was_seen_is_shown_and_compared() {
    let house = House::new();
    house.dev("job", &base::small(&house), "mkdir -p /srv/data");
    house.test_job("job", &["/bin/sh", "-ec", "touch /srv/data/f; chown 1234 /srv/data/f"]);
    if !is_shown(&house, "job") {
        return;
    }
    let shown = house.ok(["observation", "show", "job"]);
    assert!(shown.contains("capability: CAP_CHOWN  chown"), "{shown}");
    assert!(
        shown.lines().any(|line| line.starts_with("system calls: ") && line.contains(" execve ")),
        "{shown}"
    );
    let empty = house.path("empty.obs");
    let nothing = r#"{"version":1,"container":"job","runs":[],"paths":{},"written":{},"ports":[],"syscalls":[],
        "peak":{"memory":0,"tasks":0,"files":0},"warnings":[]}"#;
    std::fs::write(&empty, nothing).expect("write");
    let compared = house.ok(["observation", "diff", empty.to_str().expect("UTF-8"), "job"]);
    assert!(compared.contains("+ CAP_CHOWN") && compared.contains("+ system call execve"), "{compared}");
}
