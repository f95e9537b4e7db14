//! Faults: signals at any moment, killed commands and keepers, full disks. Afterwards the next
//! commands work and nothing is left.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::base::small;
use crate::support::{House, ended, until, with_small_disk};

const INT: i32 = 2;
const KILL: i32 = 9;
const TERM: i32 = 15;

fn signal(pid: u32, number: i32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    // It may have ended already.
    let _ = rustix::process::kill_process(
        pid,
        rustix::process::Signal::from_named_raw(number).expect("a signal"),
    );
}

/// Starts the command, sends the signal after the delay, and checks how it ended: it was done
/// before, or a shell sees that signal. What runs it as process 1 may be deaf to a request, and is
/// killed then.
#[track_caller]
fn interrupted(mut command: Command, number: i32, delay: Duration) {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("spawn");
    std::thread::sleep(delay);
    signal(child.id(), number);
    let what = format!("{command:?}, signal {number} after {delay:?}");
    let output = ended(child, &what);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!complaint.contains("panicked"), "{what}: {complaint}");
    let seen = output.status.signal().map_or(output.status.code(), |signal| Some(128 + signal));
    let deaf = command.get_args().any(|arg| arg == "run") && seen == Some(137);
    assert!(seen == Some(0) || seen == Some(128 + number) || deaf, "{what}: {}: {complaint}", output.status);
    // A command that gave up says so, once, and then dies of the signal itself.
    let errors = complaint.lines().filter(|line| line.starts_with("error:")).count();
    assert!(errors <= 1 && (errors == 0 || output.status.signal() == Some(number)), "{what}: {complaint}");
}

/// Delays from nothing to beyond the end of what is tested.
fn moments(most: u64) -> impl Iterator<Item = Duration> {
    (0..7).map(move |step| Duration::from_millis(most * step * step / 36 + step))
}

fn nothing_is_left(house: &House) {
    house.ok(["gc"]);
    assert_eq!(house.ok(["gc"]), "0 leftovers removed\n");
    let dev = house.here().join("dev");
    let left = |name: &str| dev.join("app").join(name).exists();
    assert!(!left("test") && !left("pack"), "scratch files of killed commands");
    for entry in std::fs::read_dir(&dev).into_iter().flatten().flatten() {
        assert!(!entry.file_name().as_encoded_bytes().starts_with(b"."), "{:?}", entry.path());
    }
    until("all processes of killed commands have ended", || {
        crate::support::leftovers::processes(&house.here()).is_empty()
    });
}

fn developed() -> House {
    let house = House::new();
    let base = small(&house);
    house.dev("app", &base, "true");
    house
}

const TEST: [&str; 9] = ["test", "app", "--ready", "0.1", "--inside", "sleep 0.1", "--", "sleep", "60"];

#[test]
fn fault_f1_dev_is_ended_at_any_moment() {
    let house = House::new();
    let base = small(&house).display().to_string();
    for number in [INT, TERM, KILL] {
        for delay in moments(60) {
            interrupted(house.command(["dev", "app", "--from", &base, "--", "sleep", "0.05"]), number, delay);
            nothing_is_left(&house);
            if house.here().join("dev/app").exists() {
                house.ok(["dev", "app", "--", "true"]);
                house.ok(["rm", "--dev", "app"]);
            }
        }
    }
}

#[test]
fn fault_f1_test_is_ended_at_any_moment() {
    let house = developed();
    for number in [INT, TERM, KILL] {
        for delay in moments(500) {
            interrupted(house.command(TEST), number, delay);
            nothing_is_left(&house);
        }
    }
    house.ok(TEST);
}

#[test]
fn fault_f1_pack_is_ended_at_any_moment() {
    let house = developed();
    house.ok(TEST);
    let out = house.path("out");
    std::fs::create_dir(&out).expect("mkdir");
    let file = out.join("app.tsubo");
    for number in [INT, TERM, KILL] {
        for delay in moments(500) {
            interrupted(house.command(["pack", "app", "-o", file.to_str().expect("UTF-8")]), number, delay);
            nothing_is_left(&house);
            if file.exists() {
                house.ok(["contents", file.to_str().expect("UTF-8")]);
                std::fs::remove_file(&file).expect("remove");
            }
            let left: Vec<_> =
                std::fs::read_dir(&out).expect("out").flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    house.pack("app", "exact");
}

#[test]
fn fault_f1_install_and_run_are_ended_at_any_moment() {
    let house = developed();
    house.ok(TEST);
    let file = house.pack("app", "exact");
    for number in [INT, TERM, KILL] {
        for delay in moments(80) {
            interrupted(house.command(["install", &file]), number, delay);
            let _ = house.command(["rmi", "app"]).output().expect("rmi");
            interrupted(
                house.command(["run", "--rm", "--name", "one", &file]),
                number,
                delay + Duration::from_millis(20),
            );
            until("the name is free again", || {
                house.ok(["ps", "-a"]);
                !house.here().join("containers/one").exists()
            });
            nothing_is_left(&house);
        }
    }
    house.ok(["run", "-d", "--name", "one", &file]);
    house.ok(["rm", "-f", "one"]);
}

/// The keeper of a container, by its state.
fn keeper(house: &House, name: &str) -> u32 {
    let rows = house.json(["ps", "--format", "json"]);
    let row = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["name"] == name && row["stage"] == "production"));
    let pid = row.and_then(|row| row["pid"].as_i64()).unwrap_or_else(|| panic!("no pid in {rows:#}"));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("PPid");
    parent.trim().parse().expect("a pid")
}

#[test]
fn fault_f3_a_killed_keeper_takes_its_container_along() {
    let house = developed();
    house.ok(TEST);
    let file = house.pack("app", "exact");
    for _ in 0..5 {
        house.ok(["run", "-d", "--name", "one", &file]);
        signal(keeper(&house, "one"), KILL);
        until("its loss is noticed", || house.ok(["ps", "-a"]).contains("exited (137)"));
        house.ok(["rm", "one"]);
        nothing_is_left(&house);
    }
}

#[track_caller]
fn full(house: &House, options: &str, script: &str) {
    let output = with_small_disk(house, options, script);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let errors = complaint.lines().filter(|line| line.starts_with("error:")).count();
    assert!(output.status.code() == Some(125) && errors == 1, "{}: {complaint}", output.status);
    assert!(complaint.contains("No space left") && complaint.contains("--root"), "{complaint}");
    let left = String::from_utf8_lossy(&output.stdout);
    assert!(!left.contains("LEFT"), "{left}");
}

#[test]
fn fault_f6_a_full_disk_is_told_and_leaves_nothing() {
    let house = developed();
    house.ok(TEST);
    let file = house.pack("app", "exact");
    let fill = "dd if=/dev/zero of=$S/filler bs=4k 2>/dev/null; ";
    let base = house.path("base").display().to_string();
    full(&house, "size=64k", &format!("{fill} exec $TSUBO --root $S/r dev x --from {base} -- true"));
    full(&house, "size=200k", &format!("exec $TSUBO --root $S/r install {file}"));
    full(&house, "size=200k", &format!("exec $TSUBO --root $S/r run --rm {file} true"));
    full(&house, "nr_inodes=12", &format!("exec $TSUBO --root $S/r install {file}"));
    full(
        &house,
        "nr_inodes=20",
        &format!(
            "$TSUBO --root $S/r install {file}; c=$?; find $S/r/store/images $S/r/store/tmp -mindepth 1 | sed 's/^/LEFT /'; exit $c"
        ),
    );
    let here = house.here().display().to_string();
    full(&house, "size=64k", &format!("{fill} exec $TSUBO --root {here} pack app -o $S/x.tsubo"));
    full(
        &house,
        "size=16M",
        &format!(
            "$TSUBO --root $S/r dev y --from {base} -- true && {fill} exec $TSUBO --root $S/r test y -- true"
        ),
    );
}

#[test]
fn fault_f7_a_read_only_state_directory_is_told() {
    let house = developed();
    let read_only = |script: &str| {
        let output = with_small_disk(&house, "size=8M", &format!("mount -o remount,ro $S; {script}"));
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{complaint}");
        assert!(complaint.contains("Read-only file system"), "{complaint}");
    };
    read_only("exec $TSUBO --root $S/r dev x -- true");
    read_only("exec $TSUBO --root $S/r install nothing");
}

#[test]
fn fault_f13_a_flood_of_output_is_bounded_on_disk() {
    let house = developed();
    house.ok([
        "test",
        "app",
        "--ready",
        "0.1",
        "--inside",
        "head -c 10 /dev/zero",
        "--",
        "/bin/sh",
        "-c",
        "sleep 60",
    ]);
    let file = house.pack_with("app", "exact", &["--keep", "/usr/bin", "--no-replay"]);
    let script = "head -c 100000000 /dev/zero";
    house.ok(["run", "-d", "--name", "flood", &file, "/bin/sh", "-c", script]);
    until("it has said everything", || house.ok(["ps", "-a"]).contains("exited (0)"));
    assert!(size_of(&house.here().join("containers/flood")) < 64 << 20);
    house.ok(["rm", "flood"]);
}

fn size_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("read_dir").flatten();
    entries
        .map(|entry| {
            let meta = entry.metadata().expect("metadata");
            if meta.is_dir() { size_of(&entry.path()) } else { meta.len() }
        })
        .sum()
}
