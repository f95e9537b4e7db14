//! Bad input: one clear error, the right exit code, nothing left behind.

use std::process::Command;

use crate::support::base::small;
use crate::support::leftovers::everything;
use crate::support::{House, fail, one_clear_error, port};

fn developed() -> House {
    let house = House::new();
    let base = small(&house);
    house.dev("app", &base, "true");
    house
}

#[test]
fn a_command_that_is_missing_or_no_program_has_its_own_code() {
    let house = developed();
    house.test_job("app", &["/bin/true"]);
    let before = everything(&house.here());
    for verb in ["dev", "test"] {
        one_clear_error(&house.fails(127, [verb, "app", "--", "/nonexistent"]), &["/nonexistent"]);
        one_clear_error(&house.fails(126, [verb, "app", "--", "/etc/passwd"]), &["/etc/passwd"]);
        one_clear_error(&house.fails(126, [verb, "app", "--", "/etc"]), &["/etc"]);
        one_clear_error(&house.fails(125, [verb, "app", "--", ""]), &["no command"]);
    }
    assert_eq!(
        house.command(["dev", "app", "--", "sh", "-c", "exit 7"]).status().expect("dev").code(),
        Some(7)
    );
    let killed = house.command(["dev", "app", "--", "sh", "-c", "kill -9 $$"]).status().expect("dev");
    assert_eq!(killed.code(), Some(137));
    let after: Vec<_> =
        everything(&house.here()).into_iter().filter(|path| !path.ends_with("test.log")).collect();
    let before: Vec<_> = before.into_iter().filter(|path| !path.ends_with("test.log")).collect();
    assert_eq!(before, after);
}

#[test]
fn a_service_that_fails_in_any_way_is_told_and_ends() {
    let house = developed();
    let free = format!("tcp:{}", port());
    let ready = |ready: &str, more: &[&str], service: &str| {
        let start = ["test", "app", "--ready", ready];
        let args = start.iter().chain(more);
        house.fails(1, args.chain(&["--", "/bin/sh", "-c", service]))
    };
    one_clear_error(&ready(&free, &[], "echo its last words; exit 3"), &["code 3", "its last words"]);
    one_clear_error(&ready(&free, &["--ready-timeout", "1"], "sleep 100"), &["not ready", &free]);
    one_clear_error(&ready("0.1", &["--exercise", "echo oh; exit 4"], "sleep 100"), &["code 4", "oh"]);
    one_clear_error(&ready("0.1", &["--exercise", "/nonexistent"], "sleep 100"), &["/nonexistent"]);
    let hanging = ["--exercise", "sleep 100", "--exercise-timeout", "1"];
    one_clear_error(&ready("0.1", &hanging, "sleep 100"), &["did not end within 1 s"]);
    let hanging = ["--inside", "sleep 100", "--exercise-timeout", "1"];
    one_clear_error(&ready("0.1", &hanging, "sleep 100"), &["did not end within 1 s"]);
    one_clear_error(&ready("0.1", &["--exercise", "kill -9 $TSUBO_PID"], "sleep 100"), &["code 137"]);
    one_clear_error(&house.fails(125, ["pack", "app"]), &["has not been tested"]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let house = developed();
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = format!("tcp:{}", held.local_addr().expect("address").port());
    let conditions = [
        "tcp:99999",
        "tcp:",
        "tcp:x",
        "log:[",
        "http://",
        "http:/x",
        "unix:rel",
        "",
        "nan",
        "inf",
        "1e30",
        &taken,
    ];
    for condition in conditions {
        let option = format!("--ready={condition}");
        one_clear_error(&house.fails(125, ["test", "app", &option, "--", "true"]), &[]);
    }
    let options = [
        "--for=nan",
        "--for=-5",
        "--for=1e300",
        "--ready-timeout=18446744073709551615",
        "--ready-timeout=-1",
        "--exercise-timeout=18446744073709551615",
        "--stop-signal=FOO",
        "--stop-signal=65",
        "--user=nobody-here",
        "--user=4294967296",
        "--user=4294967295",
        "--user=",
        "--user=:x",
        "--workdir=/nonexistent",
        "--workdir=../x",
        "--workdir=/etc/passwd",
        "--frob",
        "--volume=rel",
    ];
    for option in options {
        one_clear_error(&house.fails(125, ["test", "app", option, "--", "true"]), &[]);
    }
    one_clear_error(&house.fails(125, ["frob"]), &["frob"]);
    one_clear_error(&house.fails(125, ["ps", "--frob"]), &["--frob"]);
    one_clear_error(&house.fails(125, ["test", "app"]), &[]);
}

#[test]
fn names_that_are_paths_flags_or_escape_sequences_are_refused() {
    let house = House::new();
    let long = "x".repeat(300);
    let names =
        ["a/b", "..", ".", "", "../x", "a\x1b[31mb", "a\nb", "a\u{9b}31m", &long, "ünï", "a b", "日本", ".x"];
    for name in names {
        for verb in [["dev", "--"], ["test", "--"], ["pack", "--"]] {
            let args = [verb[0], verb[1], name];
            let dev = ["dev", name, "--", "true"];
            let complaint = if verb[0] == "dev" { house.fails(125, dev) } else { house.fails(125, args) };
            assert!(!complaint.contains('\x1b') && !complaint.contains('\u{9b}'), "{complaint:?}");
        }
        let complaint = house.fails(125, ["dev", name, "--", "true"]);
        one_clear_error(&complaint, &["invalid name", "hint:", "63 bytes"]);
        one_clear_error(&house.fails(125, ["run", "--name", name, "x"]), &["--name", "invalid name"]);
        for verb in ["rm", "stop", "kill", "logs", "inspect"] {
            one_clear_error(&house.fails(125, [verb, name]), &[]);
        }
        for verb in ["rmi", "run"] {
            one_clear_error(&house.fails(125, [verb, name]), &[]);
        }
    }
    house.fails(125, ["dev", "-rf", "--", "true"]);
    house.fails(125, ["rm", "-rf"]);
}

#[test]
fn what_is_no_package_is_told_and_leaves_nothing() {
    let house = developed();
    house.test_job("app", &["/bin/true"]);
    let good = std::fs::read(house.pack("app", "exact")).expect("package");
    house.ok_elsewhere(["images"]);
    let before = everything(&house.elsewhere());
    let write = |name: &str, bytes: &[u8]| std::fs::write(house.path(name), bytes).expect("write");
    write("truncated.tsubo", &good[..good.len() / 2]);
    let mut bent = good.clone();
    bent[good.len() / 2] ^= 1;
    write("bent.tsubo", &bent);
    write(
        "garbage.tsubo",
        &good.iter().map(|byte| byte.wrapping_mul(31).wrapping_add(7)).collect::<Vec<_>>(),
    );
    write("empty.tsubo", b"");
    write("zeros.tsubo", &[0; 100_000]);
    write("json.tsubo", b"{}");
    std::fs::create_dir(house.path("dir.tsubo")).expect("mkdir");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        house.path("fifo.tsubo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("mkfifo");
    std::os::unix::fs::symlink("/dev/zero", house.path("device.tsubo")).expect("symlink");
    std::os::unix::fs::symlink("loop.tsubo", house.path("loop.tsubo")).expect("symlink");
    let kinds = [
        "truncated",
        "bent",
        "garbage",
        "empty",
        "zeros",
        "json",
        "dir",
        "fifo",
        "device",
        "loop",
        "nonexistent",
    ];
    for kind in kinds {
        let file = format!("./{kind}.tsubo");
        for verb in ["run", "install"] {
            one_clear_error(&house.fails_elsewhere(125, [verb, &file]), &[&file]);
        }
        // The contents are read from the report alone.
        if kind != "bent" {
            one_clear_error(&house.fails_elsewhere(125, ["contents", &file]), &[&file]);
        }
        // A tar or a directory may be empty.
        if !matches!(kind, "truncated" | "bent" | "zeros" | "dir") {
            house.fails_elsewhere(125, ["dev", "x", "--from", &file, "--", "true"]);
        }
    }
    assert_eq!(
        before,
        everything(&house.elsewhere()).into_iter().filter(|path| !path.ends_with("dev")).collect::<Vec<_>>()
    );
    one_clear_error(&house.fails_elsewhere(125, ["run", "nosuch"]), &["nosuch"]);
    one_clear_error(&house.fails_elsewhere(125, ["dev", "x", "--from", "/nonexistent"]), &["/nonexistent"]);
    one_clear_error(
        &house.fails_elsewhere(125, ["dev", "x", "--from", "nonsense:7"]),
        &["nonsense:7", "hint:"],
    );
    one_clear_error(
        &house.fails_elsewhere(125, ["run", "-v", "/nonexistent:/x", "./app-exact.tsubo"]),
        &["/nonexistent"],
    );
}

#[test]
fn without_root_there_is_one_clear_error() {
    let house = House::new();
    crate::support::mode(house.dir(), 0o777);
    for args in [&["dev", "x", "--", "true"][..], &["ps"], &["run", "x"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(env!("CARGO_BIN_EXE_tsubo")).arg("--root").arg(house.path("nobody")).args(args);
        command.current_dir("/");
        let output = command.output().expect("setpriv");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        if complaint.contains("setpriv: failed to execute") {
            eprintln!("SKIPPED: somebody else cannot reach the program under test");
            return;
        }
        if args != ["ps"] {
            assert_eq!(output.status.code(), Some(125), "{complaint}");
            one_clear_error(&complaint, &[]);
        }
    }
}

#[test]
fn what_is_in_use_is_not_removed_and_one_command_at_a_time_has_a_container() {
    let house = developed();
    let mut busy = house.command(["dev", "app", "--", "sleep", "3"]).spawn().expect("dev");
    let holder = busy.id().to_string();
    let lock = house.here().join("locks/app");
    crate::support::until("the first command has the container", || {
        std::fs::read_to_string(&lock).is_ok_and(|text| text.trim() == holder)
    });
    one_clear_error(&house.fails(125, ["dev", "app", "--", "true"]), &["in use", &holder]);
    for args in [&["test", "app", "--", "true"][..], &["pack", "app"], &["rm", "--dev", "app"]] {
        one_clear_error(&fail(house.command(args), 125), &["in use", &holder]);
    }
    assert!(busy.wait().expect("wait").success());
    house.ok(["test", "app", "--ready", "0.1", "--inside", "sleep 0", "--", "sleep", "60"]);
    let file = house.pack("app", "exact");
    house.start("one", &file);
    one_clear_error(&house.fails_elsewhere(125, ["rm", "one"]), &["running", "rm -f"]);
    one_clear_error(&house.fails_elsewhere(125, ["rmi", "app"]), &["one"]);
    house.ok_elsewhere(["rm", "-f", "one"]);
    house.ok_elsewhere(["rmi", "app"]);
}
