//! Groups on the real kernel.

use std::process::{Command, Stdio};

use spec::Id;
use tsubo_cgroup::{Group, Layout};

struct Removed(Group);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

fn group(last: u8) -> Option<Removed> {
    let [_, _, a, b] = std::process::id().to_be_bytes();
    let group = Group::create(Id::from_bytes([0xee, 0, 0, a, b, last])).expect("group");
    if group.is_none() {
        println!("SKIPPED: no control groups: {:?}", Group::available());
    }
    group.map(Removed)
}

/// A process that enters as a container's does, but for the clone into the version 2 group.
fn sleeper(group: &Group) -> std::process::Child {
    let script = "for f in \"$@\"; do echo 0 > $f || exit 1; done; exec sleep 100";
    let text = format!("{group:?}");
    let paths = text.split('"').filter(|part| part.starts_with('/')).map(|directory| {
        let tasks = format!("{directory}/tasks");
        if std::path::Path::new(&tasks).exists() { tasks } else { format!("{directory}/cgroup.procs") }
    });
    Command::new("sh").args(["-c", script, "x"]).args(paths).stdin(Stdio::null()).spawn().expect("sh")
}

/// Whether a process is in the group in every hierarchy.
fn has_entered(group: &Group, pid: i32) -> bool {
    let text = format!("{group:?}");
    let directories = text.split('"').filter(|part| part.starts_with('/'));
    let mut lists = directories.map(|directory| std::fs::read_to_string(format!("{directory}/cgroup.procs")));
    lists.all(|list| list.is_ok_and(|list| list.lines().any(|line| line == pid.to_string())))
}

fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{what} did not happen");
}

#[test]
fn made_entered_killed_removed() {
    let Some(group) = group(1) else { return };
    println!("layout {}", Layout::detect().expect("layout").name());
    let entry = group.0.entry().expect("entry");
    assert!(entry.born_in.is_some() || !entry.tasks.is_empty());
    let mut child = sleeper(&group.0);
    let pid = child.id() as i32;
    until("entering", || group.0.processes().contains(&pid));
    until("exec", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
    });
    let reaper = std::thread::spawn(move || child.wait());
    group.0.kill().expect("kill");
    assert!(!reaper.join().expect("thread").expect("wait").success());
    println!("{:?}", group.0.peak());
    group.0.remove().expect("remove");
    group.0.remove().expect("remove twice");
    assert!(group.0.entry().is_err());
}

#[test]
fn leftovers_are_found_by_their_id() {
    let Some(group) = group(2) else { return };
    let [_, _, a, b] = std::process::id().to_be_bytes();
    let id = Id::from_bytes([0xee, 0, 0, a, b, 2]);
    assert!(Group::ids().expect("ids").contains(&id));
    // That of the id may be in hierarchies where none was needed.
    Group::of(id).expect("group").end().expect("the end");
    assert!(!Group::ids().expect("ids").contains(&id));
    assert!(group.0.entry().is_err());
}

#[test]
fn an_id_is_used_once_at_a_time() {
    let Some(group) = group(3) else { return };
    let [_, _, a, b] = std::process::id().to_be_bytes();
    let id = Id::from_bytes([0xee, 0, 0, a, b, 3]);
    // What a lost keeper has left is empty.
    assert_eq!(Group::create(id).expect("empty"), Some(group.0.clone()));
    let mut child = sleeper(&group.0);
    let pid = child.id() as i32;
    until("entering", || has_entered(&group.0, pid));
    let conflict = Group::create(id);
    let still = group.0.processes().contains(&pid);
    let reaper = std::thread::spawn(move || child.wait());
    group.0.end().expect("the end");
    assert!(!reaper.join().expect("thread").expect("wait").success());
    assert!(conflict.is_err() && still);
}
