//! Disks of the host beside the one that containers are on.

use std::process::{Command, Stdio};

use crate::house::{House, SMALL, json, program};

/// Mounts a small disk in a mount namespace of its own, and audits there.
const BESIDE: &str = "set -e\n\
    truncate -s 96M disk; mke2fs -q -F -t ext4 disk; mkdir place; mount -o loop disk place\n\
    mkdir place/inner\n\
    set +e; \"$@\"; code=$?\n\
    ls -A place/inner | wc -l >left; umount place; exit $code";

#[test]
fn a_disk_of_the_host_is_not_filled_beyond_half_of_what_it_had_though_it_is_a_mounted_file() {
    let Some(house) = House::new() else { return };
    let volume = format!("{}/place/inner:/srv", house.dir.path().display());
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", BESIDE, "sh"]).arg(program("tsubo-audit"));
    command.arg("--root").arg(house.root()).args(["--quick", "--format", "json"]);
    command.args(["--only", "disk-bytes,disk-files"]).args(SMALL).args(["-v", &volume]);
    let output = command.current_dir(house.dir.path()).stdin(Stdio::null()).output().expect("unshare");
    let value = json(&output);
    for row in value["attacks"].as_array().expect("attacks") {
        assert!(["host-at-risk", "not-limited"].iter().any(|red| row["verdict"] == *red), "{row:#}");
    }
    // It has some 80 MiB, and what is taken is taken by 16.
    let got = |at: usize| value["attacks"][at]["got"].as_u64().expect("a number");
    assert!((8 << 20..60 << 20).contains(&got(0)), "{value:#}");
    // And 24,576 files.
    assert!((1..13_000).contains(&got(1)), "{value:#}");
    let left = std::fs::read_to_string(house.dir.path().join("left")).expect("a number");
    assert_eq!(left.trim(), "0");
}
