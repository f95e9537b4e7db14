//! Containers in production: the verbs, and the walls.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::base::small;
use crate::support::{House, Running, fail, succeed, until};

/// A service that says `up` and sleeps, with the tools of the small base to look around in it.
fn packed(house: &House) -> String {
    let base = small(house);
    std::fs::create_dir(base.join("srv/empty")).expect("mkdir");
    std::fs::create_dir(base.join("srv/data")).expect("mkdir");
    std::fs::write(base.join("srv/data/seed"), "seed\n").expect("write");
    house.dev("app", &base, "true");
    let service = "trap 'echo bye; exit 3' TERM; trap 'echo again' HUP; echo x > /srv/data/x; echo up; echo oops >&2; \
                   while :; do sleep 0.05; done";
    house.ok([
        "test",
        "app",
        "--ready",
        "log:^up$",
        "--for",
        "0.1",
        "--inside",
        "cat /etc/passwd",
        "--",
        "/bin/sh",
        "-c",
        service,
    ]);
    house.pack_with("app", "exact", &["--keep", "/usr/bin", "--keep", "/srv", "--no-replay"])
}

#[track_caller]
fn inspect(house: &House, name: &str) -> Value {
    house.json_elsewhere(["inspect", name])
}

#[test]
fn the_life_of_a_container() {
    let house = House::new();
    let file = packed(&house);
    assert_eq!(house.ok_elsewhere(["run", "-d", "--name", "one", &file]), "one\n");
    until("it is up", || house.ok_elsewhere(["logs", "one"]).contains("up"));
    let rows = house.json_elsewhere(["ps", "--format", "json"]);
    assert_eq!(
        (rows[0]["name"].as_str(), rows[0]["running"].as_bool()),
        (Some("one"), Some(true)),
        "{rows:#}"
    );
    let images = house.json_elsewhere(["images", "--format", "json"]);
    assert_eq!(images[0]["name"], "app", "{images:#}");
    assert_eq!(house.ok_elsewhere(["exec", "one", "cat", "/srv/data/seed"]), "seed\n");
    house.ok_elsewhere(["kill", "-s", "HUP", "one"]);
    until("it heard the signal", || house.ok_elsewhere(["logs", "one"]).contains("again"));
    let changes = house.ok_elsewhere(["diff", "one"]);
    assert!(changes.contains("A /srv/data/x"), "{changes}");
    let root = PathBuf::from(house.ok_elsewhere(["path", "one"]).trim());
    assert_eq!(std::fs::read_to_string(root.join("srv/data/x")).expect("read"), "x\n");
    let complaint = house.fails_elsewhere(125, ["rmi", "app"]);
    assert!(complaint.contains("one"), "{complaint}");
    let complaint = house.fails_elsewhere(125, ["rm", "one"]);
    assert!(complaint.contains("one") && complaint.contains("-f"), "{complaint}");
    house.ok_elsewhere(["stop", "one"]);
    assert_eq!(inspect(&house, "one")["state"]["exit_code"], 3);
    assert!(house.ok_elsewhere(["logs", "one"]).ends_with("bye\n"));
    assert_eq!(house.json_elsewhere(["ps", "--format", "json"]), serde_json::json!([]));
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"])[0]["exit_code"], 3);
    house.ok_elsewhere(["rm", "one"]);
    house.ok_elsewhere(["rmi", "app"]);
    assert_eq!(house.json_elsewhere(["images", "--format", "json"]), serde_json::json!([]));
}

#[test]
fn output_and_error_are_told_apart_in_the_foreground_and_in_the_logs() {
    let house = House::new();
    let file = packed(&house);
    house.start("one", &file);
    until("it is up", || house.ok_elsewhere(["logs", "one"]).contains("up"));
    let logs = house.command_elsewhere(["logs", "one"]).output().expect("logs");
    assert_eq!((&logs.stdout[..], &logs.stderr[..]), (&b"up\n"[..], &b"oops\n"[..]));
    let run =
        house.command_elsewhere(["run", "--rm", "app", "/bin/sh", "-c", "echo out; echo err >&2"]).output();
    let run = run.expect("run");
    assert_eq!((&run.stdout[..], &run.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn logs_are_followed_to_the_end() {
    let house = House::new();
    let file = packed(&house);
    house.ok_elsewhere([
        "run",
        "-d",
        "--name",
        "one",
        &file,
        "/bin/sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.2; done; echo -n end",
    ]);
    assert_eq!(
        house.ok_elsewhere(["logs", "-f", "one"]),
        "1\n2\n3\nend\n",
        "a last line that was not ended is"
    );
    assert_eq!(house.ok_elsewhere(["logs", "--tail", "2", "one"]), "3\nend\n");
}

#[test]
fn exit_codes_are_those_of_docker() {
    let house = House::new();
    let file = packed(&house);
    let run = |args: &[&str]| house.command_elsewhere(["run", "--rm", &file].iter().chain(args));
    succeed(run(&["true"]));
    fail(run(&["/bin/sh", "-c", "exit 42"]), 42);
    // Process 1 cannot kill itself; its child can, and a shell passes that on.
    fail(run(&["/bin/sh", "-c", "sh -c 'kill -15 $$'; exit $?"]), 143);
    let complaint = fail(run(&["/no/such/program"]), 127);
    assert!(complaint.contains("/no/such/program"), "{complaint}");
    let complaint = fail(run(&["/srv/data/seed"]), 126);
    assert!(complaint.contains("/srv/data/seed"), "{complaint}");
    fail(house.command_elsewhere(["run", "--rm", "no-such-image"]), 125);
    fail(house.command_elsewhere(["run", "--no-such-flag"]), 125);
    house.start("killed", &file);
    house.ok_elsewhere(["kill", "killed"]);
    until("it has ended", || inspect(&house, "killed")["state"]["running"] == false);
    assert_eq!(inspect(&house, "killed")["state"]["exit_code"], 137);
}

#[test]
fn a_container_that_is_removed_at_its_end_leaves_nothing() {
    let house = House::new();
    let file = packed(&house);
    fail(house.command_elsewhere(["run", "--rm", "--name", "gone", &file, "false"]), 1);
    house.ok_elsewhere(["run", "-d", "--rm", "--name", "soon", &file, "sleep", "0.1"]);
    until("it is gone", || house.json_elsewhere(["ps", "-a", "--format", "json"]) == serde_json::json!([]));
    let left = std::fs::read_dir(house.elsewhere().join("containers")).into_iter().flatten().flatten();
    assert_eq!(left.map(|entry| entry.path()).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn environment_and_volumes_are_what_was_asked_for() {
    let house = House::new();
    let file = packed(&house);
    house.source("seen", "of the host\n");
    let src = house.path("src").display().to_string();
    let (read_only, writable) = (format!("{src}:/srv/empty:ro"), format!("{src}:/srv/data"));
    let script = "echo $COLOR; cat /srv/empty/seen; (echo x > /srv/empty/x) 2>/dev/null || echo refused; echo y > /srv/data/y; ls /srv/data";
    let said = house.ok_elsewhere([
        "run",
        "--rm",
        "-e",
        "COLOR=blue",
        "-v",
        &read_only,
        "-v",
        &writable,
        &file,
        "/bin/sh",
        "-c",
        script,
    ]);
    assert_eq!(said, "blue\nof the host\nrefused\nseen\ny\n");
    assert_eq!(std::fs::read_to_string(house.path("src/y")).expect("y"), "y\n");
    assert!(!house.path("src/x").exists());
    // What the package has no place for: the image is read-only, so that is said, with the way out.
    let nowhere = format!("{src}:/no/such/place");
    let complaint = house.fails_elsewhere(125, ["run", "--rm", "-v", &nowhere, "app", "true"]);
    assert!(complaint.contains("/no/such/place") && complaint.contains("--writable"), "{complaint}");
    assert_eq!(
        house.ok_elsewhere(["run", "--rm", "--writable", "-v", &nowhere, "app", "ls", "/no/such/place"]),
        "seen\ny\n"
    );
}

#[test]
fn the_walls_are_up() {
    let house = House::new();
    let file = packed(&house);
    let look = |script: &str| house.ok_elsewhere(["run", "--rm", &file, "/bin/sh", "-c", script]);
    let status = look("grep -E '^(CapEff|CapBnd|CapInh|NoNewPrivs|Seccomp):' /proc/self/status");
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
    assert_eq!(
        look("(echo > /x) 2>/dev/null || echo refused; (echo > /usr/x) 2>/dev/null || echo refused"),
        "refused\nrefused\n"
    );
    assert_eq!(look("cat /proc/kcore /proc/keys 2>/dev/null | wc -c; ls -A /sys/firmware | wc -l"), "0\n0\n");
    assert_eq!(look("(echo 1 > /proc/sys/kernel/printk) 2>/dev/null || echo refused"), "refused\n");
    assert_eq!(look("(mkdir /sys/fs/cgroup/x) 2>/dev/null || echo refused"), "refused\n");
    assert_eq!(
        look("mknod /dev/sda b 8 0 2>/dev/null && cat /dev/sda >/dev/null 2>&1 || echo refused"),
        "refused\n"
    );
    assert_eq!(look("ls /proc/self/fd | wc -l"), "4\n");
    assert_eq!(look("set -- /proc/[0-9]*; echo $#"), "1\n", "a pid namespace of its own");
    assert_eq!(look("uname -n"), "app\n");
    let own = std::fs::read_link("/proc/self/ns/net").expect("link").display().to_string();
    assert_eq!(look("readlink /proc/self/ns/net").trim(), own, "the host's network, for now");
    let own = std::fs::read_link("/proc/self/ns/ipc").expect("link").display().to_string();
    assert_ne!(look("readlink /proc/self/ns/ipc").trim(), own);
}

#[test]
fn exec_is_inside_the_same_walls() {
    let house = House::new();
    let file = packed(&house);
    house.start("one", &file);
    let exec = |options: &[&str], script: &str| {
        let tail = ["one", "/bin/sh", "-c", script];
        house.ok_elsewhere(["exec"].iter().chain(options).chain(&tail))
    };
    let status = exec(&[], "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status");
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    assert_eq!(exec(&["-u", "ann", "-w", "/srv", "-e", "A=b"], "id -u; pwd; echo $A"), "1234\n/srv\nb\n");
    assert_eq!(exec(&[], "ls /proc/self/fd | wc -l"), "4\n");
    let code = |args: &[&str], code| house.fails_elsewhere(code, ["exec", "one"].iter().chain(args));
    code(&["/bin/sh", "-c", "exit 9"], 9);
    code(&["/bin/sh", "-c", "kill -15 $$"], 143);
    code(&["/no/such"], 127);
    code(&["/srv/data/seed"], 126);
    house.fails_elsewhere(125, ["exec", "nobody", "true"]);
    let mut command = house.command_elsewhere(["exec", "-i", "one", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawn");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), b"through\n").expect("write");
    assert_eq!(child.wait_with_output().expect("wait").stdout, b"through\n");
}

#[test]
fn fault_f12_stop_kills_what_does_not_listen() {
    let house = House::new();
    let file = packed(&house);
    let deaf = "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done";
    house.ok_elsewhere(["run", "-d", "--name", "deaf", &file, "/bin/sh", "-c", deaf]);
    until("it is up", || house.ok_elsewhere(["logs", "deaf"]).contains("up"));
    let start = Instant::now();
    house.ok_elsewhere(["stop", "-t", "1", "deaf"]);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(20), "{took:?}");
    assert_eq!(inspect(&house, "deaf")["state"]["exit_code"], 137);
}

#[test]
fn a_signal_to_the_foreground_reaches_the_container() {
    let house = House::new();
    let file = packed(&house);
    let script = "trap 'echo heard; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut command = house.command_elsewhere(["run", "--rm", &file, "/bin/sh", "-c", script]);
    let child = command.stdout(Stdio::piped()).spawn().expect("spawn");
    let mut child = Running(child);
    let mut out = child.0.stdout.take().expect("stdout");
    let mut first = [0; 3];
    std::io::Read::read_exact(&mut out, &mut first).expect("read");
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).expect("read");
    assert_eq!(rest, "heard\n");
    assert_eq!(child.0.wait().expect("wait").code(), Some(5));
}

#[test]
fn data_in_a_volume_of_the_host_outlives_the_container() {
    let house = House::new();
    let file = packed(&house);
    let volume = format!("{}:/srv/data", house.path("src").display());
    let count = "echo line >> /srv/data/lines; wc -l < /srv/data/lines";
    for expected in ["1\n", "2\n"] {
        assert_eq!(
            house.ok_elsewhere(["run", "--rm", "-v", &volume, &file, "/bin/sh", "-c", count]),
            expected
        );
    }
    // In the directory that is fresh at each start it does not.
    for _ in 0..2 {
        assert_eq!(house.run(&file, &["/bin/sh", "-c", count]), "1\n");
    }
}

#[test]
fn many_containers_of_one_image_at_once_do_not_disturb_each_other() {
    let house = House::new();
    let file = packed(&house);
    house.ok_elsewhere(["install", &file]);
    let one = &|number: usize| {
        let name = format!("c{number}");
        let script = format!("echo {number} > /srv/data/own; sleep 0.2; cat /srv/data/own; exit {number}");
        let output = house
            .command_elsewhere(["run", "--rm", "--name", &name, "app", "/bin/sh", "-c", &script])
            .output();
        let output = output.expect("run");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
        assert_eq!(output.status.code(), Some(number as i32), "{}", String::from_utf8_lossy(&output.stderr));
    };
    std::thread::scope(|scope| {
        (0..12).for_each(|number| {
            scope.spawn(move || one(number));
        });
    });
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), serde_json::json!([]));
}

#[test]
fn two_containers_cannot_have_one_name() {
    let house = House::new();
    let file = packed(&house);
    house.start("one", &file);
    let complaint = house.fails_elsewhere(125, ["run", "-d", "--name", "one", &file]);
    assert!(complaint.contains("one"), "{complaint}");
    assert_eq!(house.ok_elsewhere(["exec", "one", "cat", "/srv/data/seed"]), "seed\n");
}

#[test]
fn names_of_hosts_come_from_the_host_it_runs_on() {
    let house = House::new();
    let base = small(&house);
    std::fs::write(base.join("etc/hosts"), "127.0.0.1 where-it-was-built\n").expect("write");
    std::fs::write(base.join("etc/resolv.conf"), "nameserver 192.0.2.1\n").expect("write");
    house.dev("app", &base, "true");
    house.test_job("app", &["cat", "/etc/hosts", "/etc/resolv.conf"]);
    let file = house.pack("app", "exact");
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(house.run(&file, &[]), read("/etc/hosts") + &read("/etc/resolv.conf"));
}
