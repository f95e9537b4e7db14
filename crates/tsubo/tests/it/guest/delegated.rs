//! An ordinary user to whom a part of the control groups was handed, as a service manager does it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use super::house;
use crate::support::House;

/// The guest's ordinary user, who has subordinate ids.
const ANN: u32 = 1000;

/// The group that is the user's; gone at the end, with whoever is left in it.
pub(super) struct Handed(PathBuf);

impl Handed {
    pub(super) fn new() -> Self {
        let group = PathBuf::from(format!("/sys/fs/cgroup/ann-{}", std::process::id()));
        let session = group.join("session");
        fs::create_dir_all(&session).expect("group");
        for dir in [&group, &session] {
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                chown(dir.join(file), Some(ANN), Some(ANN)).expect("owner");
            }
        }
        fs::write(group.join("cgroup.subtree_control"), "+memory +pids").expect("controllers");
        Self(group)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        std::thread::sleep(std::time::Duration::from_millis(200));
        for dir in ["session/tsubo", "session", ""] {
            let _ = fs::remove_dir(self.0.join(dir));
        }
    }
}

/// Runs a script as the user in the group; what it said.
#[track_caller]
pub(super) fn as_ann(house: &House, group: &Handed, script: &str) -> String {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_tsubo")).parent().expect("a folder");
    let home = house.path("home");
    fs::create_dir_all(home.join("run")).expect("mkdir");
    fs::copy(house.path("web.tsubo"), home.join("web.tsubo")).expect("package");
    for path in [home.clone(), home.join("run"), home.join("web.tsubo")] {
        chown(path, Some(ANN), Some(ANN)).expect("owner");
    }
    let enter = "echo $$ > $1/session/cgroup.procs; cd $2; exec setpriv --reuid 1000 --regid 1000 --clear-groups \
                 env -i HOME=$2 XDG_RUNTIME_DIR=$2/run PATH=$3:/usr/sbin:/usr/bin GROUP=$1 sh -ec \"$4\"";
    let mut command = Command::new("sh");
    command.args(["-ec", enter, "sh"]).arg(&group.0).arg(&home).arg(programs).arg(script);
    let output = command.output().expect("sh");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
#[ignore = "for ./x guest"]
fn containers_have_groups_that_count_hold_and_end() {
    let Some(house) = house() else { return };
    let group = Handed::new();
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run --rm web\n\
        tsubo run -d --name one web /bin/sh -c 'trap \"exit 5\" TERM; echo up; while :; do sleep 0.1; done' >/dev/null\n\
        for n in $(seq 50); do tsubo logs one | grep -q up && break; sleep 0.2; done\n\
        ls -d $GROUP/session/tsubo/*/ | wc -l\n\
        cat $GROUP/session/tsubo/*/cgroup.procs | wc -l | grep -cv '^0$'\n\
        tsubo exec one /bin/cat /proc/self/cgroup\n\
        tsubo exec one /bin/id -u\n\
        tsubo top one | grep -c 'while'\n\
        tsubo pause one >/dev/null\n\
        tsubo ps | grep -c paused\n\
        grep -c 'frozen 1' $GROUP/session/tsubo/*/cgroup.events\n\
        tsubo unpause one >/dev/null\n\
        tsubo stop one >/dev/null\n\
        tsubo ps -a | grep -c 'exited (5)'\n\
        ls -d $GROUP/session/tsubo/*/ 2>/dev/null | wc -l\n\
        tsubo rm one >/dev/null";
    let said = as_ann(&house, &group, script);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["it", "ran", "1", "1", "0::/", "0", "1", "1", "1", "1", "0"], "{said}");
}

#[test]
#[ignore = "for ./x guest"]
fn a_container_is_ended_with_all_that_left_its_session() {
    let Some(house) = house() else { return };
    let group = Handed::new();
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run -d --name one web /bin/sh -c 'for n in 1 2 3 4; do (trap \"\" TERM HUP; sleep 4712 &) & done; echo up; sleep 4712' >/dev/null\n\
        for n in $(seq 50); do tsubo logs one | grep -q up && break; sleep 0.2; done\n\
        tsubo rm -f one >/dev/null\n\
        tsubo run -d --name two --restart on-failure:2 web /bin/sh -c 'exit 7' >/dev/null\n\
        tsubo wait two\n\
        tsubo rm two >/dev/null\n\
        ls $XDG_RUNTIME_DIR/tsubo/containers | wc -l";
    let said = as_ann(&house, &group, script);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["7", "0"], "{said}");
    let left = fs::read_to_string(group.0.join("session/tsubo/cgroup.events")).unwrap_or_default();
    assert!(!left.contains("populated 1"), "{left}");
}
