//! What takes a kernel of its own: control groups of version 2 alone with their controllers, a part of them
//! handed to an ordinary user, a clock that may be set. `./x guest` has one; elsewhere these are ignored.

mod clock;
mod delegated;
mod groups;
mod networks;
mod systemd;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::{House, until};

/// Whether this is the guest; it is said where it is not.
fn in_guest() -> bool {
    let is = std::env::var_os("TSUBO_GUEST").is_some();
    if !is {
        println!("SKIPPED: only ./x guest can do this");
    }
    is
}

/// A house with busybox as the package `web`, in the guest.
fn house() -> Option<House> {
    if in_guest() { installed(|tar| tar, json!({})) } else { None }
}

/// Runs a script in a container of this name, which may write to /tmp, and waits until it says `up`.
#[track_caller]
fn started(house: &House, name: &str, options: &[&str], script: &str) {
    let (run, service) = (["run", "-d", "--tmpfs", "/tmp", "--name", name], ["web", "/bin/sh", "-c", script]);
    house.ok_elsewhere(run.iter().chain(options).chain(&service));
    until("it is up", || house.ok_elsewhere(["logs", name]).contains("up\n"));
}

fn state(house: &House, name: &str) -> Value {
    house.json_elsewhere(["inspect", name])["state"].take()
}

fn first(house: &House, name: &str) -> u64 {
    state(house, name)["pid"].as_u64().expect("it runs")
}

/// How it ended, with what it used at most.
fn ended(house: &House, name: &str) -> Value {
    let file = house.elsewhere().join("containers").join(name).join("exit.json");
    serde_json::from_slice(&std::fs::read(file).expect("it has ended")).expect("JSON")
}

/// The control group of a process, of which it has one only.
#[track_caller]
fn group_of(pid: u64) -> PathBuf {
    let list = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let path = list.trim_end().strip_prefix("0::").expect("version 2 alone");
    assert!(!path.contains('\n'), "{list}");
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

fn number(group: &Path, file: &str) -> u64 {
    let text = std::fs::read_to_string(group.join(file)).expect(file);
    text.trim().parse().expect("a number")
}

/// How many processes are in it.
fn members(group: &Path) -> usize {
    std::fs::read_to_string(group.join("cgroup.procs")).map_or(0, |list| list.lines().count())
}
