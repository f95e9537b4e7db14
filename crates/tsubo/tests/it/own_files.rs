//! Limits of a container's own files, each tried by a program that wants more: fresh directories, a
//! writable root, shared memory, logs, volumes.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::busybox::installed;
use crate::support::{House, one_clear_error, succeed, until};

const MIB: u64 = 1 << 20;

/// A house whose container `web` sleeps; `/tmp` and `/srv` are fresh.
fn house() -> Option<House> {
    installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"], "writable": ["/tmp", "/srv"]}))
}

/// The same with a volume at `/data`; None where volumes cannot be limited.
fn with_volume() -> Option<House> {
    let change =
        json!({"command": ["/bin/sleep", "1000"], "writable": ["/tmp", "/srv"], "volumes": ["/data"]});
    installed(|tar| tar.dir("data/"), change).filter(limits_volumes)
}

/// Writes until it cannot go on; says how many bytes the file has then.
#[track_caller]
fn fill(house: &House, name: &str, file: &str) -> u64 {
    let script = format!("dd if=/dev/zero of={file} bs=64k count=100000 2>/dev/null; stat -c %s {file}");
    let said = house.ok_elsewhere(["exec", name, "sh", "-c", &script]);
    said.trim().parse().expect("a size")
}

/// Makes empty files until it cannot go on; says how many there are.
#[track_caller]
fn fill_inodes(house: &House, name: &str, dir: &str) -> u64 {
    let script = format!(
        "mkdir {dir}/many && i=0; while touch {dir}/many/$i 2>/dev/null; do i=$((i+1)); done; ls {dir}/many | wc -l"
    );
    let said = house.ok_elsewhere(["exec", name, "sh", "-c", &script]);
    said.trim().parse().expect("a number")
}

#[track_caller]
fn about(bytes: u64, expected: u64) {
    assert!(bytes <= expected && bytes >= expected - expected / 16, "{bytes} of {expected}");
}

#[test]
fn fresh_directories_share_what_the_container_may_have() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "one", "--limit", "disk=8M", "web"]);
    let script = "dd if=/dev/zero of=/tmp/a bs=1M count=5 2>/dev/null && stat -c %s /tmp/a";
    assert_eq!(house.ok_elsewhere(["exec", "one", "sh", "-c", script]).trim(), (5 * MIB).to_string());
    about(fill(&house, "one", "/srv/b"), 3 * MIB);
    assert_eq!(fill(&house, "one", "/tmp/c"), 0);

    // Raised although it is full, and kept for the next start.
    house.ok_elsewhere(["update", "--limit", "disk=16M", "one"]);
    about(fill(&house, "one", "/tmp/c"), 8 * MIB);
    let complaint = house.fails_elsewhere(125, ["update", "--limit", "disk=4M", "one"]);
    one_clear_error(&complaint, &["more than"]);
    house.ok_elsewhere(["exec", "one", "rm", "/tmp/a", "/tmp/c", "/srv/b"]);
    house.ok_elsewhere(["update", "--limit", "disk=4M", "one"]);
    about(fill(&house, "one", "/srv/b"), 4 * MIB);
    house.ok_elsewhere(["restart", "-t", "0", "one"]);
    about(fill(&house, "one", "/tmp/a"), 4 * MIB);
}

#[test]
fn empty_files_are_counted_too() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "one", "--limit", "inodes=200", "web"]);
    let made = fill_inodes(&house, "one", "/tmp");
    assert!((180..=200).contains(&made), "{made}");
    assert_eq!(fill_inodes_more(&house, "/srv"), 0);
    house.ok_elsewhere(["update", "--limit", "inodes=300", "one"]);
    let more = fill_inodes(&house, "one", "/srv");
    assert!((90..=100).contains(&more), "{more}");
}

#[track_caller]
fn fill_inodes_more(house: &House, dir: &str) -> u64 {
    let script = format!("touch {dir}/x 2>/dev/null; ls {dir} | wc -l");
    house.ok_elsewhere(["exec", "one", "sh", "-c", &script]).trim().parse().expect("a number")
}

#[test]
fn a_writable_root_and_its_fresh_directories_are_one_room() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "one", "--writable", "--limit", "disk=8M", "web"]);
    about(fill(&house, "one", "/file"), 8 * MIB);
    assert_eq!(fill(&house, "one", "/tmp/c"), 0);
    // There is nothing but an overlay to ask by.
    let complaint = house.fails_elsewhere(125, ["update", "--limit", "disk=16M", "one"]);
    one_clear_error(&complaint, &["writable root"]);
}

#[test]
fn shared_memory_is_room_for_files_too() {
    let Some(house) = house() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "one", "--limit", "disk=8M", "web"]);
    // What /dev itself may hold is on the same file system.
    const DEVICES: u64 = 64 << 10;
    about(fill(&house, "one", "/dev/shm/a"), 8 * MIB + DEVICES);
    house.ok_elsewhere([
        "run",
        "-d",
        "--name",
        "two",
        "--limit",
        "disk=8M",
        "--isolation",
        "shm_size=16m",
        "web",
    ]);
    about(fill(&house, "two", "/dev/shm/a"), 16 * MIB + DEVICES);
}

#[test]
fn logs_are_as_long_as_they_may_be() {
    let Some(house) = house() else { return };
    let flood = "while :; do seq 1 20000; sleep 0.05; done";
    house.ok_elsewhere(["run", "-d", "--name", "one", "--limit", "logs=600K", "web", "sh", "-c", flood]);
    let dir = house.elsewhere().join("containers/one");
    let kept = || -> u64 {
        let files =
            ["log", "log.1", "log.2"].iter().filter_map(|name| std::fs::metadata(dir.join(name)).ok());
        files.map(|meta| meta.len()).sum()
    };
    until("three files of logs", || dir.join("log.2").exists());
    assert!(kept() <= 600 << 10, "{}", kept());
    house.ok_elsewhere(["update", "--limit", "logs=90K", "one"]);
    assert!(kept() <= 90 << 10, "{}", kept());
    for (said, reason) in [("logs=max", "fill the disk"), ("logs=1K", "that short")] {
        let complaint = house.fails_elsewhere(125, ["run", "--limit", said, "web"]);
        one_clear_error(&complaint, &[reason]);
    }
}

#[test]
fn what_could_not_begin_is_refused_before() {
    let seed = vec![b'x'; 300 << 10];
    let more =
        |tar: crate::support::forge::Tar| crate::support::busybox::file(tar, "srv/large", &seed, 0o644);
    let Some(house) = installed(more, json!({"command": ["/bin/true"], "writable": ["/srv"]})) else {
        return;
    };
    let complaint = house.fails_elsewhere(125, ["run", "--limit", "disk=100K", "web"]);
    one_clear_error(&complaint, &["disk = 100K", "less than"]);
    let complaint = house.fails_elsewhere(125, ["run", "--limit", "inodes=1", "web"]);
    one_clear_error(&complaint, &["inodes = 1", "less than"]);
    house.ok_elsewhere(["run", "--rm", "--limit", "disk=400K", "--limit", "inodes=10", "web"]);
}

/// Whether volumes can be limited where tests keep them; if not, it is said.
fn limits_volumes(house: &House) -> bool {
    let mut command = house.command_elsewhere(["create", "--name", "probe", "--limit", "disk=16M", "web"]);
    let done = command.output().expect("tsubo");
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr);
        let lacks = ["loop device", "mke2fs", "root"].iter().any(|what| complaint.contains(what));
        assert!(lacks, "{complaint}");
        println!("SKIPPED: {complaint}");
        return false;
    }
    house.ok_elsewhere(["rm", "-v", "probe"]);
    true
}

/// Loop devices over files of a house.
fn loops(house: &House) -> Vec<String> {
    let of = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("loop/backing_file")).ok();
    let files = std::fs::read_dir("/sys/block").expect("sysfs").flatten().filter_map(of);
    let own = house.dir().to_string_lossy().into_owned();
    files.filter(|file| file.contains(&own)).collect()
}

#[test]
fn volumes_hold_what_they_may_and_keep_it() {
    let Some(house) = with_volume() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "db", "--limit", "disk=32M", "web"]);
    about(fill(&house, "db", "/data/a"), 32 * MIB);
    let stats = house.json_elsewhere(["stats", "--no-stream", "--format", "json", "db"]);
    let rooms = stats["containers"][0]["file_systems"].as_array().expect("file systems").clone();
    let data = rooms.iter().find(|room| room["at"] == "/data").expect("the volume");
    assert_eq!(data["size_bytes"].as_u64(), Some(32 * MIB), "{data}");
    about(data["used_bytes"].as_u64().expect("a number"), 32 * MIB);
    house.ok_elsewhere(["update", "--limit", "disk=48M", "db"]);
    about(fill(&house, "db", "/data/b"), 16 * MIB);
    house.ok_elsewhere(["exec", "db", "sh", "-c", "rm /data/a; echo mine >/data/c"]);
    house.ok_elsewhere(["restart", "-t", "0", "db"]);
    assert_eq!(house.ok_elsewhere(["exec", "db", "cat", "/data/c"]), "mine\n");
    house.ok_elsewhere(["stop", "-t", "0", "db"]);
    until("its file system to be let go", || loops(&house).is_empty());

    // Also while it does not run.
    let copied = house.path("copied");
    house.ok_elsewhere(["cp", "db:/data/c", copied.to_str().expect("a path")]);
    assert_eq!(std::fs::read_to_string(&copied).expect("copied"), "mine\n");
    house.ok_elsewhere(["rm", "db"]);
    house.ok_elsewhere(["run", "-d", "--name", "db", "web"]);
    assert_eq!(house.ok_elsewhere(["exec", "db", "cat", "/data/c"]), "mine\n");
    house.ok_elsewhere(["rm", "-f", "-v", "db"]);
    until("nothing of it", || loops(&house).is_empty() && !volumes(&house).exists());
}

fn volumes(house: &House) -> std::path::PathBuf {
    house.elsewhere().join("volumes/db")
}

#[test]
fn what_is_reserved_is_taken_from_the_disk() {
    let Some(house) = with_volume() else { return };
    let reserved = ["--limit", "disk=24M", "--limit", "disk_reserved=true"];
    house.ok_elsewhere([&["create", "--name", "db"], &reserved[..], &["web"]].concat());
    let image = volumes(&house).join("%image");
    let taken = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&image).expect("an image")) * 512;
    assert!(taken >= 24 * MIB, "{taken}");
    house.ok_elsewhere(["start", "db"]);
    about(fill(&house, "db", "/data/a"), 24 * MIB);
    let complaint = house.fails_elsewhere(125, ["update", "--limit", "disk_reserved=false", "db"]);
    one_clear_error(&complaint, &["disk_reserved"]);
}

#[test]
fn traps_in_a_volume_catch_nobody() {
    let Some(house) = with_volume() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "db", "--limit", "disk=32M", "--limit", "inodes=500", "web"]);
    let outside = house.path("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    (0..1200).for_each(|number| std::fs::write(outside.join(number.to_string()), "mine").expect("write"));
    let trap = format!("mkdir /data/x; ln -s {} /data/%spares 2>/dev/null || true", outside.display());
    house.ok_elsewhere(["exec", "db", "sh", "-c", &trap]);
    for inodes in ["600", "450", "700"] {
        house.ok_elsewhere(["update", "--limit", &format!("inodes={inodes}"), "db"]);
        assert_eq!(std::fs::read_dir(&outside).expect("read").count(), 1200, "{inodes}");
    }
    let made = fill_inodes(&house, "db", "/data");
    assert!((600..=700).contains(&made), "{made}");
}

#[test]
fn what_is_refused_changes_nothing() {
    let Some(house) = with_volume() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "db", "--limit", "disk=16M", "web"]);
    for limit in ["disk=0", "disk=max", "disk=1K"] {
        house.fails_elsewhere(125, ["update", "--limit", limit, "db"]);
        about(fill(&house, "db", "/tmp/a"), 16 * MIB);
        house.ok_elsewhere(["exec", "db", "rm", "/tmp/a"]);
    }
    house.ok_elsewhere(["update", "--limit", "disk=24M", "db"]);
    about(fill(&house, "db", "/tmp/a"), 24 * MIB);
}

#[test]
fn the_hosts_own_memory_is_not_resized() {
    let Some(house) = house() else { return };
    // In a private mount namespace, so that nothing of the host's is touched.
    let script = "mkdir -p $HOUSE/shown && mount -t tmpfs -o size=64m shown $HOUSE/shown && \
                  tsubo run -d --name one -v $HOUSE/shown:/tmp:noidmap web && tsubo update --limit disk=4M one; \
                  stat -f -c '%b %S' $HOUSE/shown; tsubo rm -f one";
    let tsubo = house.command_elsewhere(["--version"]).get_program().to_owned();
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!(
        "tsubo() {{ {} --root {} \"$@\"; }}; {script}",
        tsubo.to_string_lossy(),
        house.elsewhere().display()
    ));
    let said = succeed(with_house(command, &house));
    assert!(said.contains("16384 4096"), "{said}");
}

fn with_house(mut command: std::process::Command, house: &House) -> std::process::Command {
    command.env("HOUSE", house.dir());
    command
}

#[test]
fn volumes_of_a_container_that_never_was_do_not_stay() {
    let Some(house) = with_volume() else { return };
    house.fails_elsewhere(127, ["run", "--name", "db", "web", "/no/such/command"]);
    assert!(!volumes(&house).exists());
}

#[test]
fn volumes_take_only_so_many_files() {
    let Some(house) = with_volume() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "db", "--limit", "disk=64M", "--limit", "inodes=500", "web"]);
    let made = fill_inodes(&house, "db", "/data");
    assert!((400..=512).contains(&made), "{made}");
}

#[test]
fn nobody_asks_and_still_no_volume_takes_the_last_of_the_disk() {
    let Some(house) = with_volume() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "db", "web"]);
    let room = |path: &Path| {
        let vfs = rustix::fs::statvfs(path).expect("statvfs");
        vfs.f_blocks * vfs.f_frsize
    };
    let said = house.ok_elsewhere(["exec", "db", "stat", "-f", "-c", "%S %b %a %d", "/data"]);
    let numbers: Vec<u64> = said.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    let most = (10 << 30).min(room(&house.elsewhere()) / 4);
    assert!(numbers[0] * numbers[2] <= most, "{said} of {most}");
    assert!(numbers[3] <= 500_100, "{said}");
}

#[test]
fn a_killed_keeper_leaves_volumes_that_can_be_used_again() {
    let Some(house) = with_volume() else { return };
    house.ok_elsewhere(["run", "-d", "--name", "db", "--limit", "disk=32M", "web"]);
    house.ok_elsewhere(["exec", "db", "sh", "-c", "echo mine >/data/c; sync"]);
    let state: Value = house.json_elsewhere(["inspect", "db"])["state"].clone();
    let pid =
        |value: &Value| rustix::process::Pid::from_raw(value.as_i64().expect("a pid") as i32).expect("pid");
    let keeper = pid(&state["keeper"]);
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).expect("kill");
    until("its end to be seen", || {
        house.json_elsewhere(["inspect", "db"])["status"].as_str().is_some_and(|status| status != "running")
    });
    house.ok_elsewhere(["start", "db"]);
    assert_eq!(house.ok_elsewhere(["exec", "db", "cat", "/data/c"]), "mine\n");
    house.ok_elsewhere(["rm", "-f", "-v", "db"]);
}
