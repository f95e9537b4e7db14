//! How many mounts there are, their attributes, and parts of /dev on their own.

use std::fs;

use spec::container::{MountFlags, MountKind};

use crate::harness::{Ended, mount, path, shell};
use crate::users::with_users;

fn tmpfs(seeded: bool) -> MountKind {
    MountKind::Tmpfs { bytes: 1 << 20, inodes: 64, seeded, mode: 0o755 }
}

#[test]
fn fewer_mounts_than_fingers() {
    let mut made = with_users(shell("cat /proc/mounts"));
    made.spec.masked.clear();
    made.spec.read_only.clear();
    made.spec.mounts.retain(|mount| mount.at != path("/sys/fs/cgroup"));
    let Ended { output, .. } = made.run();
    assert_eq!(output.lines().count(), 7, "{output}");
}

#[test]
fn all_attributes_of_a_mount() {
    let outside = tempfile::tempdir().expect("dir");
    fs::write(outside.path().join("file"), "x").expect("file");
    std::os::unix::fs::symlink("file", outside.path().join("link")).expect("link");
    let mut made =
        with_users(shell("grep ' /srv ' /proc/mounts; cat /srv/link 2>&1; touch /run/x 2>&1; ls /run"))
            .bind("/srv", outside.path(), false)
            .mount("/run", tmpfs(true));
    fs::write(made.tree().join("run/seed"), "").expect("file");
    let count = made.spec.mounts.len();
    made.spec.mounts[count - 2].flags = MountFlags {
        no_suid: true,
        no_exec: true,
        no_atime: true,
        no_symlinks: true,
        ..MountFlags::default()
    };
    made.spec.mounts[count - 1].flags.read_only = true;
    let said = made.run().output;
    for wanted in
        ["nosuid", "nodev", "noexec", "noatime", "nosymfollow", "Too many levels", "Read-only", "seed"]
    {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn pseudo_terminals_and_message_queues_on_their_own() {
    let mut made = with_users(shell(
        "ls -l /dev/pts/ptmx; grep -c devpts /proc/mounts; ls -d /dev/mqueue; touch /dev/mqueue/q",
    ));
    made.spec.mounts.retain(|mount| mount.at != path("/dev"));
    for (at, what) in
        [("/dev", tmpfs(false)), ("/dev/pts", MountKind::Devpts), ("/dev/mqueue", MountKind::Mqueue)]
    {
        made.spec.mounts.push(mount(at, what));
    }
    let said = made.said();
    assert!(said.contains("crw-rw-rw-") && said.ends_with("1\n/dev/mqueue"), "{said}");
}
