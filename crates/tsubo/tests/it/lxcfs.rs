//! Processors and memory as a container sees them, with lxcfs on the host. It is mounted where nobody
//! else sees it, and ends with the test.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::{House, ended, have};

/// Runs the rest of a script where lxcfs runs; its process is $LXCFS.
const BESIDE_LXCFS: &str = r#"
set -e
lxcfs -f -p "$PWD/lxcfs.pid" /var/lib/lxcfs > /dev/null 2>&1 &
LXCFS=$!
# What it leaves there is empty, unless another one runs.
end() { kill -CONT $LXCFS; kill $LXCFS; wait $LXCFS; rmdir /run/lxcfs/* /run/lxcfs; }
trap 'end 2> /dev/null || true' EXIT
tries=0
until test -e /var/lib/lxcfs/proc/meminfo; do
    tries=$((tries + 1)); test $tries -lt 100 || exit 77
    sleep 0.1
done
t() { timeout 30 "$TSUBO" --root "$ROOT" "$@"; }
"#;

/// What `script` says beside lxcfs; None where that does not run here.
#[track_caller]
fn beside_lxcfs(house: &House, script: &str) -> Option<String> {
    // One after the other: they would take away each other's /run/lxcfs.
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--mount",
        "--propagation",
        "private",
        "flock",
        "-o",
        "/var/lib/lxcfs",
        "sh",
        "-c",
        &format!("{BESIDE_LXCFS}{script}"),
    ]);
    unshare.env("TSUBO", env!("CARGO_BIN_EXE_tsubo")).env("ROOT", house.elsewhere());
    unshare.current_dir(house.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = ended(unshare.spawn().expect("unshare"), "the script");
    if output.status.code() == Some(77) {
        println!("SKIPPED: lxcfs does not start here");
        return None;
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

fn house() -> Option<House> {
    if !have(&["lxcfs", "unshare", "flock", "timeout"]) {
        return None;
    }
    installed(|tar| tar, json!({"command": ["/bin/grep", "MemTotal", "/proc/meminfo"]}))
}

/// Kilobytes of a line of meminfo.
#[track_caller]
fn total(line: &str) -> u64 {
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{line:?}"))
}

#[test]
fn processors_memory_and_time_inside_are_those_of_the_container() {
    let Some(house) = house() else { return };
    let Some(said) = beside_lxcfs(
        &house,
        r#"
t run --rm --memory 100m web
t run --rm --memory 100m --isolation lxcfs=false web
t run --rm --memory 100m --without /proc/meminfo web
t run --explain --memory 100m web 2>&1 | grep -c "by its own limits"
t run --rm --best-effort --cpuset-cpus 0 web /bin/grep -c ^processor /proc/cpuinfo
t run --rm --best-effort --cpuset-cpus 0 web /bin/cat /sys/devices/system/cpu/online
t run --rm --best-effort --cpuset-cpus 0 web /bin/grep Cpus_allowed_list /proc/self/status
t run --rm web /bin/cat /proc/uptime
cat /proc/uptime
"#,
    ) else {
        return;
    };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(total(lines[0]), 100 << 10, "{said}");
    assert!(total(lines[1]) > 100 << 10 && total(lines[2]) > 100 << 10, "{said}");
    assert_eq!(lines[3], "1", "{said}");
    if lines[6].split_whitespace().last() == Some("0") {
        assert_eq!(lines[4..6], ["1", "0"], "{said}");
    } else {
        println!("SKIPPED: no control group of cpuset can be had here");
    }
    let seconds = |line: &str| line.split('.').next().and_then(|whole| whole.parse::<u64>().ok());
    assert!(seconds(lines[7]) < seconds(lines[8]), "{said}");
    assert!(seconds(lines[7]).is_some_and(|seconds| seconds < 60), "{said}");
}

#[test]
fn a_silent_or_dead_lxcfs_holds_up_no_start() {
    let Some(house) = house() else { return };
    let Some(said) = beside_lxcfs(
        &house,
        r#"
t create --memory 100m --name later web > /dev/null
kill -STOP $LXCFS
t run --rm --memory 100m web
kill -CONT $LXCFS
t run --rm --memory 100m web
kill $LXCFS
wait $LXCFS || true
t run --rm --memory 100m web
t start later > /dev/null
t wait later
t rm later > /dev/null
"#,
    ) else {
        return;
    };
    let lines: Vec<&str> = said.lines().collect();
    assert!(total(lines[0]) > 100 << 10, "{said}");
    assert_eq!(total(lines[1]), 100 << 10, "{said}");
    assert!(total(lines[2]) > 100 << 10, "{said}");
    assert_eq!(lines.last(), Some(&"0"), "{said}");
}
