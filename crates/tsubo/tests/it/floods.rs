//! Output without end, lines without end, readers that go away or hang, and disks that fill up.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::leftovers::everything;
use crate::support::{House, Running, ended, one_clear_error, until, with_small_disk};

const MIB: u64 = 1 << 20;
/// What a keeper may hold of a container's output, and itself: far below what flows through it.
const KEEPER: u64 = 48 * MIB;
/// What a container's logs may take on disk.
const LOGS: u64 = 64 * MIB;

/// The most memory that a process ever had.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The keeper of a running container: the parent of its first process.
#[track_caller]
fn keeper(house: &House, name: &str) -> u32 {
    let rows = house.json_elsewhere(["ps", "--format", "json"]);
    let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == name));
    let pid = row.and_then(|row| row["pid"].as_u64()).unwrap_or_else(|| panic!("no pid in {rows:#}"));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("PPid");
    parent.trim().parse().expect("a pid")
}

fn size_of(dir: &Path) -> u64 {
    everything(dir).iter().filter_map(|path| path.symlink_metadata().ok()).map(|meta| meta.len()).sum()
}

/// Starts `script` in the background and follows its keeper's memory until it has ended.
#[track_caller]
fn flood(house: &House, script: &str) {
    house.ok_elsewhere(["run", "-d", "--name", "flood", "--tmpfs", "/tmp", "web", "/bin/sh", "-c", script]);
    let keeper = keeper(house, "flood");
    let mut most = 0;
    crate::support::until_within(120, "it has said everything", || {
        most = most.max(peak(keeper));
        house.ok_elsewhere(["ps", "-a"]).contains("exited (0)")
    });
    assert!(most > 0 && most < KEEPER, "the keeper took {most} bytes");
    let size = size_of(&house.elsewhere().join("containers/flood"));
    assert!(size < LOGS, "{size} bytes of logs");
}

#[test]
fn fault_f13_a_gigabyte_of_lines_is_bounded_on_disk_and_in_memory() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    flood(
        &house,
        // To make each line anew would take longer than to keep it.
        "yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c 10000000 > /tmp/lines; \
         i=0; while test $i -lt 100; do cat /tmp/lines; i=$((i + 1)); done; echo the end",
    );
    assert!(house.ok_elsewhere(["logs", "--tail", "1", "flood"]).contains("the end"));
    let mut logs = house.command_elsewhere(["logs", "flood"]);
    let output = ended(logs.stdout(Stdio::piped()).spawn().expect("logs"), "logs");
    assert!(output.status.success() && (output.stdout.len() as u64) < LOGS);
    house.ok_elsewhere(["rm", "flood"]);
}

#[test]
fn fault_f13_a_line_of_a_hundred_megabytes_is_bounded_too() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    flood(&house, "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end");
    assert!(house.ok_elsewhere(["logs", "--tail", "1", "flood"]).contains("the end"));
    house.ok_elsewhere(["rm", "flood"]);
}

#[test]
fn all_of_a_flood_reaches_who_stays_with_it() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let script = "head -c 300000000 /dev/zero";
    let mut run = house.command_elsewhere(["run", "--rm", "--name", "flood", "web", "/bin/sh", "-c", script]);
    let mut child = Running(run.stdout(Stdio::piped()).spawn().expect("run"));
    until("it runs", || house.ok_elsewhere(["ps"]).contains("flood"));
    let keeper = keeper(&house, "flood");
    // Nobody reads: the container waits, and nothing piles up.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (ours, its) = (peak(child.0.id()), peak(keeper));
    assert!(its > 0 && its < KEEPER && ours < KEEPER, "{ours} {its}");
    let mut out = child.0.stdout.take().expect("stdout");
    let (mut count, mut buffer) = (0, vec![0; 1 << 20]);
    while let Ok(read @ 1..) = out.read(&mut buffer) {
        count += read;
    }
    assert_eq!((count, child.0.wait().expect("wait").code()), (300_000_000, Some(0)));
}

#[test]
fn a_reader_that_goes_away_ends_what_it_stayed_with() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "one", "web"]);
    let head = |args: &[&str]| {
        let mut command = house.command_elsewhere(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        let output = ended(child, "a command whose reader has gone");
        (line, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for args in [&["run", "--rm", "web", "/bin/yes"][..], &["exec", "one", "/bin/yes"]] {
        let (line, complaint) = head(args);
        assert_eq!(line, "y\n");
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
    until("only the first container is left", || {
        let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
        rows.as_array().is_some_and(|rows| rows.len() == 1)
    });
    let inside = || house.ok_elsewhere(["exec", "one", "/bin/ps"]);
    until("nobody says yes any more", || !inside().contains("yes"));
    for args in [&["ps", "-a"][..], &["images"], &["info"], &["inspect", "one"], &["--help"]] {
        let (line, complaint) = head(args);
        assert!(!line.is_empty() && complaint.is_empty(), "{args:?}: {complaint}");
    }
}

/// Runs a script in a mount namespace with a full tmpfs of `options` at `$S`, in which `web` is
/// installed as far as `prepare` says.
#[track_caller]
fn on_a_full_disk(house: &House, options: &str, script: &str) -> (String, String) {
    let fill = "fill() { dd if=/dev/zero of=$S/filler bs=4k 2>/dev/null; }; T=\"$TSUBO --root $S/r\"; ";
    // As in every house: what is not about networks makes none.
    let preset = "mkdir -p $S/r/presets; \
                  printf 'extends = \"default\"\\n[namespaces]\\nnet = \"host\"\\n' >$S/r/presets/default.toml; ";
    let output = with_small_disk(house, options, &format!("{fill}{preset}{script}"));
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}: {said}{complaint}", output.status);
    (said, complaint)
}

#[test]
fn fault_f6_a_disk_that_is_full_when_a_container_starts() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    // Whether it starts without a single free block is up to the file system; afterwards all is
    // well again, and nothing is left of the attempt.
    let script = "$T install ./web.tsubo >/dev/null 2>&1 && $T run --rm web && fill; \
                  $T run -d --name x web; echo code $?; rm $S/filler; \
                  $T rm -f x >/dev/null 2>&1; $T gc; find $S/r/containers $S/r/run/containers -mindepth 1; $T run --rm web";
    let (said, complaint) = on_a_full_disk(&house, "size=16M", script);
    assert_eq!(said, "it ran\ncode 125\n0 leftovers removed\nit ran\n", "{complaint}");
    let complaint: String =
        complaint.lines().filter(|line| !line.starts_with("installing")).map(|l| format!("{l}\n")).collect();
    one_clear_error(&complaint, &["No space left", "--root"]);
}

#[test]
fn fault_f6_a_disk_that_fills_up_while_a_container_speaks() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    // The container is not held up, ends by itself with its own code (which takes the place of the
    // log's last lines), and can be looked at and removed on the full disk.
    let script = "$T install ./web.tsubo >/dev/null 2>&1; \
                  $T run -d --name x web /bin/sh -c 'seq 1000; sleep 2; head -c 5000000 /dev/zero; echo last; exit 7' && \
                  for i in $(seq 100); do $T logs x | grep -q 1000 && break; sleep 0.01; done; fill; \
                  for i in $(seq 200); do $T ps -a | grep -q exited && break; sleep 0.1; done; \
                  $T ps -a | grep -o 'exited ([0-9]*)'; $T logs x | head -n 1; $T rm x; $T ps -a | wc -l; rm $S/filler; \
                  $T gc; $T run --rm web";
    let (said, complaint) = on_a_full_disk(&house, "size=16M", script);
    assert_eq!(said, "x\nexited (7)\n1\nx\n1\n0 leftovers removed\nit ran\n", "{complaint}");
}

#[test]
fn fault_f6_a_disk_that_is_full_when_a_package_is_installed() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let script = "$T images >/dev/null; fill; $T install ./web.tsubo; echo code $?; rm $S/filler; \
                  find $S/r/store -type f; $T install ./web.tsubo >/dev/null 2>&1; $T run --rm web";
    let (said, complaint) = on_a_full_disk(&house, "size=16M", script);
    assert_eq!(said, "code 125\nit ran\n", "{complaint}");
    // It was known before anything was written, and found out without that when the label lies.
    let complaint: String =
        complaint.lines().filter(|line| !line.starts_with("installing")).map(|l| format!("{l}\n")).collect();
    one_clear_error(&complaint, &["No space left", "--root"]);
}

#[test]
fn fault_f13_a_reader_of_the_log_that_hangs_holds_nobody_up() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let script = "seq 1000000; echo the end; exec sleep 1000";
    house.ok_elsewhere(["run", "-d", "--name", "one", "web", "/bin/sh", "-c", script]);
    let follow = || -> Child {
        house.command_elsewhere(["logs", "-f", "one"]).stdout(Stdio::piped()).spawn().expect("logs")
    };
    // Nobody reads what these print.
    let hanging: Vec<Running> = (0..5).map(|_| Running(follow())).collect();
    until("it has said everything", || {
        house.ok_elsewhere(["logs", "--tail", "1", "one"]).contains("the end")
    });
    house.ok_elsewhere(["stop", "-t", "0", "one"]);
    house.ok_elsewhere(["rm", "one"]);
    drop(hanging);
}
