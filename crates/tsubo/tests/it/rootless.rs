//! The same commands as an ordinary user.

use std::process::Command;

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::{House, have};

/// An id that no user of a test machine has.
const USER: u32 = 4242;

/// A user who exists in a private mount namespace only, with subordinate ids, a home and the programs.
const BECOME: &str = "set -e\n\
    cp /etc/passwd passwd; echo \"eva:x:4242:4242::$PWD/home:/bin/sh\" >> passwd\n\
    echo 'eva:300000:65536' > sub\n\
    mkdir -p home/run etc; touch etc/subuid etc/subgid\n\
    for file in /etc/subuid /etc/subgid; do [ -e $file ] || { echo SKIPPED: no $file; exit 0; }; mount --bind sub $file; done\n\
    mount --bind passwd /etc/passwd\n\
    chown -R 4242:4242 home\n\
    exec setpriv --reuid 4242 --regid 4242 --clear-groups env -i HOME=$PWD/home XDG_RUNTIME_DIR=$PWD/home/run \
    PATH=$PWD/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -ec \"$1\"";

/// Runs a script as the user; its output, or None where this host lacks something, which was said.
fn as_user(house: &House, script: &str) -> Option<String> {
    if !have(&["newuidmap", "newgidmap", "setpriv", "unshare"]) {
        return None;
    }
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_tsubo")).parent().expect("a folder");
    std::fs::create_dir_all(house.path("bin")).expect("mkdir");
    for name in ["tsubo", "tsubo-keeper"] {
        std::fs::copy(programs.join(name), house.path("bin").join(name)).expect(name);
    }
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", BECOME, "sh", script])
        .current_dir(house.dir())
        .output()
        .expect("unshare");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("SKIPPED") || complaint.contains("lets no ordinary user") {
        println!("SKIPPED: {said}{complaint}");
        return None;
    }
    assert!(output.status.success(), "{said}{complaint}");
    Some(said.into_owned())
}

#[test]
fn an_ordinary_user_has_containers() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run --rm web\n\
        tsubo run -d --name one web /bin/sh -c 'trap \"exit 5\" TERM; echo up; while :; do sleep 0.1; done' >/dev/null\n\
        for n in 1 2 3 4 5 6 7 8 9; do tsubo logs one | grep -q up && break; sleep 0.2; done\n\
        tsubo ps | grep -c running\n\
        tsubo exec one /bin/sh -c 'id -u; cat /proc/self/uid_map | wc -l'\n\
        tsubo exec one /bin/true\n\
        tsubo stop one >/dev/null\n\
        tsubo ps -a | grep -c 'exited (5)'\n\
        tsubo rm one >/dev/null\n\
        tsubo rmi web >/dev/null\n\
        tsubo ps -a | wc -l\n\
        ls $XDG_RUNTIME_DIR/tsubo/containers | wc -l";
    let Some(said) = as_user(&house, script) else { return };
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["it", "ran", "1", "0", "2", "1", "1", "0"],
        "{said}"
    );
    let owner = std::fs::metadata(house.path("home/.local/share/tsubo")).expect("state");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), USER, "in the user's own directory");
}

#[test]
fn what_takes_root_is_said_before_the_start() {
    let Some(house) = installed(|tar| tar, json!({ "ports": [{ "protocol": "tcp", "port": 80 }] })) else {
        return;
    };
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run --rm web 2>&1 && echo unexpected || echo code $?\n\
        tsubo run --rm --network none web\n\
        tsubo run --rm --network none --users auto web 2>&1 && echo unexpected || echo code $?";
    let Some(said) = as_user(&house, script) else { return };
    assert!(said.contains("port 80") && said.contains("it ran") && said.contains("second mapping"), "{said}");
    assert_eq!(said.matches("code 125").count(), 2, "{said}");
}
