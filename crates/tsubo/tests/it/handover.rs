//! A keeper begins as a copy of its command and goes on as `tsubo-keeper` when there is nothing to do:
//! in the same process, and nobody notices.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;

use crate::support::base::compile;
use crate::support::busybox::installed;
use crate::support::{House, ended, have, one_clear_error, until};

/// The keeper of the running container `name`.
fn keeper(house: &House, name: &str) -> u64 {
    let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
    let row = rows.as_array().expect("rows").iter().find(|row| row["name"] == name).expect("it is there");
    let status = std::fs::read_to_string(format!("/proc/{}/status", row["pid"])).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    parent.trim().parse().expect("a number")
}

/// What the keeper was executed as.
fn line(pid: u64) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[track_caller]
fn rests(house: &House, name: &str) -> u64 {
    let pid = keeper(house, name);
    until("it has handed over", || line(pid).starts_with("tsubo-keeper rest "));
    pid
}

const TALKER: &str = "trap 'echo bye; exit 7' TERM; echo up; while read line; do echo \"got $line\"; done; \
                      while :; do sleep 0.1; done";

#[test]
fn one_in_the_background_goes_on_as_it_was() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let run = ["run", "-d", "-e", "SECRET=word", "--name", "one", "web", "/bin/sh", "-c", TALKER];
    let mut command = house.command_elsewhere(run);
    assert!(command.env("MINE", "another").status().expect("run").success());
    let pid = keeper(&house, "one");
    let copy = line(pid);
    assert!(copy.starts_with("tsubo-keeper ") && !copy.contains("rest"), "a copy of its command: {copy}");
    // What its caller was told and has around it can be read in no list of processes.
    let around = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("environment");
    assert!(
        ![&copy, &around].iter().any(|text| text.contains("word") || text.contains("another")),
        "{copy}{around}"
    );
    assert_eq!(rests(&house, "one"), pid, "in the same process");
    assert_eq!(house.ok_elsewhere(["exec", "one", "/bin/echo", "in"]), "in\n");
    house.ok_elsewhere(["pause", "one"]);
    house.ok_elsewhere(["unpause", "one"]);
    house.ok_elsewhere(["rename", "one", "two"]);
    assert_eq!(house.ok_elsewhere(["logs", "two"]), "up\n");
    house.ok_elsewhere(["stop", "two"]);
    assert_eq!(house.ok_elsewhere(["logs", "two"]), "up\nbye\n");
    assert_eq!(house.ok_elsewhere(["wait", "two"]), "7\n");
    house.ok_elsewhere(["start", "two"]);
    house.ok_elsewhere(["rm", "-f", "two"]);
}

#[test]
fn whoever_stays_with_one_notices_nothing() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let mut command = house.command_elsewhere(["run", "-i", "--rm", "--name", "one", "web", "/bin/sh", "-c"]);
    let mut child = command.arg(TALKER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run");
    let (mut input, mut output) =
        (child.stdin.take().expect("input"), BufReader::new(child.stdout.take().expect("output")));
    let mut says = || {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        line
    };
    assert_eq!(says(), "up\n");
    rests(&house, "one");
    input.write_all(b"word\n").expect("write");
    assert_eq!(says(), "got word\n");
    drop(input);
    house.ok_elsewhere(["kill", "-s", "TERM", "one"]);
    assert_eq!(says(), "bye\n");
    assert_eq!(ended(child, "run").status.code(), Some(7));
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
}

#[test]
fn lines_without_an_end_processes_left_behind_and_much_talk_hold_it_up_no_longer_than_some_seconds() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let talk = "printf begun; while :; do sleep 0.3; test -e /tmp/end && break; printf .; done; echo over; sleep 1000";
    house.ok_elsewhere(["run", "-d", "--tmpfs", "/tmp", "--name", "one", "web", "/bin/sh", "-c", talk]);
    house.ok_elsewhere(["exec", "-d", "one", "/bin/sleep", "1000"]);
    rests(&house, "one");
    house.ok_elsewhere(["exec", "one", "/bin/touch", "/tmp/end"]);
    until("its line has ended", || house.ok_elsewhere(["logs", "one"]).ends_with(".over\n"));
    let said = house.ok_elsewhere(["logs", "one"]);
    assert!(said.starts_with("begun.") && said.lines().count() == 1, "{said}");
    house.ok_elsewhere(["rm", "-f", "one"]);
}

#[test]
fn one_with_a_terminal_goes_on_too() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let talk = "until test -e /tmp/end; do sleep 0.05; done; test -t 1 && echo a terminal; sleep 1000";
    house.ok_elsewhere(["run", "-dit", "--tmpfs", "/tmp", "--name", "one", "web", "/bin/sh", "-c", talk]);
    rests(&house, "one");
    house.ok_elsewhere(["exec", "one", "/bin/touch", "/tmp/end"]);
    until("it speaks", || house.ok_elsewhere(["logs", "one"]).contains("a terminal"));
    house.ok_elsewhere(["stop", "--time", "0", "one"]);
    house.ok_elsewhere(["rm", "one"]);
}

#[test]
fn checks_and_policies_go_on() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let policy = ["--restart", "always", "--health-cmd", "stat /tmp/well", "--health-interval", "2s"];
    let run = ["run", "-d", "--name", "one"].into_iter().chain(policy);
    house.ok_elsewhere(run.chain(["--health-retries", "1", "--tmpfs", "/tmp", "web", "/bin/sleep", "1000"]));
    rests(&house, "one");
    let health = || house.json_elsewhere(["inspect", "one"])["state"]["health"]["status"].clone();
    until("the first check counts", || health() == "unhealthy");
    house.ok_elsewhere(["exec", "one", "/bin/touch", "/tmp/well"]);
    until("the next one passes", || health() == "healthy");
    let pid = house.json_elsewhere(["ps", "--format", "json"])[0]["pid"].as_u64().expect("a pid");
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
    assert!(killed.success());
    until("its policy has started it again", || {
        let row = &house.json_elsewhere(["ps", "--format", "json"])[0];
        row["running"] == true && row["pid"].as_u64().is_some_and(|new| new != pid) && row["restarts"] == 1
    });
    house.ok_elsewhere(["rm", "-f", "one"]);
}

#[test]
fn where_the_programs_do_not_fit_the_copy_keeps_it() {
    if !have(&["gcc"]) {
        return;
    }
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let programs = house.path("programs");
    std::fs::create_dir(&programs).expect("mkdir");
    let built = PathBuf::from(env!("CARGO_BIN_EXE_tsubo"));
    std::fs::copy(&built, programs.join("tsubo")).expect("copy");
    let asked = house.path("asked");
    let other = "int main(int count, char **words) { FILE *file = fopen(ASKED, \"a\");\
                 fprintf(file, \"%d %s\", count, words[1]); fclose(file); puts(\"another form\"); }";
    let place = format!("-DASKED=\"{}\"", asked.display());
    let other = compile(&house, "other", other, &["-include", "stdio.h", &place]);
    std::fs::rename(other, programs.join("tsubo-keeper")).expect("rename");
    let run = ["run", "-d", "--name", "one", "web", "/bin/sh", "-c", TALKER];
    let mut command = std::process::Command::new(programs.join("tsubo"));
    let status = command.arg("--root").arg(house.elsewhere()).args(run).status().expect("run");
    assert!(status.success());
    until("it was asked what it understands", || asked.exists());
    assert_eq!(std::fs::read_to_string(&asked).expect("read"), "2 form");
    let pid = keeper(&house, "one");
    house.ok_elsewhere(["stop", "one"]);
    assert_eq!(house.ok_elsewhere(["wait", "one"]), "7\n");
    // Who must not be kept by a copy is not started, and that is told.
    let run = ["run", "--rm", "--userns", "host", "web", "/bin/true"];
    let mut command = std::process::Command::new(programs.join("tsubo"));
    let output = command.arg("--root").arg(house.elsewhere()).args(run).output().expect("run");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    one_clear_error(&String::from_utf8_lossy(&output.stderr), &["keeper"]);
    assert!(!std::path::Path::new(&format!("/proc/{pid}/cwd")).exists(), "it has ended");
}

#[test]
fn attack_20_with_the_hosts_users_the_command_is_out_of_reach() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    house.ok_elsewhere(["run", "-d", "--userns", "host", "--name", "one", "web", "/bin/sleep", "1000"]);
    let pid = keeper(&house, "one");
    let program = std::fs::metadata(format!("/proc/{pid}/exe")).expect("a program");
    let command = std::fs::metadata(env!("CARGO_BIN_EXE_tsubo")).expect("tsubo");
    let inode = std::os::unix::fs::MetadataExt::ino;
    assert_ne!(inode(&program), inode(&command), "root inside is root outside: no copy of the command");
    let write = std::fs::File::options().write(true).open(format!("/proc/{pid}/exe"));
    assert!(write.is_err(), "and the program that it is cannot be written to");
    house.ok_elsewhere(["rm", "-f", "one"]);
}
