//! An ordinary user's audit.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::house::{House, json, program};

/// A user who exists in a private mount namespace only, with subordinate ids, a home and the programs.
const BECOME: &str = "set -e\n\
    cp /etc/passwd passwd; echo \"eva:x:4242:4242::$PWD/home:/bin/sh\" >> passwd\n\
    echo 'eva:300000:65536' > sub\n\
    mkdir -p home/run\n\
    for file in /etc/subuid /etc/subgid; do [ -e $file ] || { echo SKIPPED: no $file; exit 0; }; mount --bind sub $file; done\n\
    mount --bind passwd /etc/passwd\n\
    chown -R 4242:4242 home\n\
    exec setpriv --reuid 4242 --regid 4242 --clear-groups env -i HOME=$PWD/home XDG_RUNTIME_DIR=$PWD/home/run \
    PATH=$PWD/bin:/usr/sbin:/usr/bin:/sbin:/bin tsubo audit --quick --format json --only \"$1\"";

#[test]
fn an_ordinary_user_audits_his_own_containers() {
    let Some(house) = House::new() else { return };
    let bin = house.dir.path().join("bin");
    std::fs::create_dir_all(&bin).expect("mkdir");
    for name in ["tsubo", "tsubo-keeper", "tsubo-audit", "tsubo-attack"] {
        std::fs::copy(program(name), bin.join(name)).expect(name);
    }
    std::fs::set_permissions(house.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", BECOME, "sh"]);
    command.arg("mount,kcore,root-is-root,disk-bytes,processes").current_dir(house.dir.path());
    let output = command.stdin(Stdio::null()).output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if said.contains("SKIPPED") || complaint.contains("lets no ordinary user") {
        println!("SKIPPED: {said}{complaint}");
        return;
    }
    println!("{said}{complaint}");
    let value = json(&output);
    let rows = value["attacks"].as_array().expect("attacks");
    let verdict = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name);
        row.and_then(|row| row["verdict"].as_str()).unwrap_or_default().to_owned()
    };
    assert_eq!(["mount", "kcore", "root-is-root"].map(verdict), ["held", "held", "held"], "{value:#}");
    assert!(rows.iter().all(|row| row["verdict"] != "unknown"), "{value:#}");
    // Nobody has delegated a group to him.
    assert_eq!(value["notes"].as_array().map(Vec::len), Some(1), "{value:#}");
    assert_eq!(verdict("processes"), "not-limited");
    let state = house.dir.path().join("home/.local/share/tsubo");
    assert_eq!(std::fs::metadata(&state).expect("state").uid(), 4242, "in the user's own directory");
    assert!(!state.join("audit").exists());
}
