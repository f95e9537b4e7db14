//! Lessons of others: images and callers that mean ill, and a death at the wrong moment.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::harness::Ground;

/// 2019-5736: the program is executed through /proc/self/exe and then written to.
#[test]
fn cve_2019_5736_the_runtime_cannot_be_overwritten_from_inside() {
    let ground = Ground::new();
    // A copy: should it be overwritten, it is not the one that all tests use.
    let program = ground.at("tsubo-oci");
    fs::copy(env!("CARGO_BIN_EXE_tsubo-oci"), &program).expect("a copy");
    let before = fs::read(&program).expect("program");
    let script = "#!/proc/self/exe\n";
    fs::write(ground.at("bundle/rootfs/bin/evil"), script).expect("script");
    fs::set_permissions(ground.at("bundle/rootfs/bin/evil"), fs::Permissions::from_mode(0o755))
        .expect("mode");
    let mut config = Ground::config(
        "cat /proc/1/comm; for p in 1 $$; do for i in $(seq 200); do echo x 2>/dev/null > /proc/$p/exe && echo WROTE; done; done; sleep 5",
    );
    let all = json!(["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    config["process"]["capabilities"] = json!({ "bounding": all, "permitted": all, "effective": all });
    ground.write(&config);
    let call = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("--root").arg(ground.at("state")).args(words).current_dir(ground.bundle());
        command.stdin(std::process::Stdio::null());
        command
    };
    let id = ground.id();
    let out = fs::File::create(ground.at("out")).expect("file");
    let mut run = call(&["run", &id]).stdout(out).spawn().expect("run");
    ground.until("it runs", || !ground.output().is_empty());
    for _ in 0..20 {
        call(&["exec", &id, "/bin/evil"]).output().expect("exec");
        call(&["exec", &id, "/proc/self/exe", "--version"]).output().expect("exec");
    }
    run.wait().expect("the end");
    assert!(!ground.output().contains("WROTE"), "{}", ground.output());
    assert!(fs::read(&program).expect("program") == before, "it was overwritten");
    ground.clean();
}

/// 2024-21626: a working directory that is a descriptor of the host's.
#[test]
fn cve_2024_21626_no_working_directory_outside() {
    let ground = Ground::new();
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8/../..", "/proc/1/root/.."] {
        let mut config = Ground::config("pwd; ls; ls -d bundle state ../bundle 2>/dev/null");
        config["process"]["cwd"] = json!(cwd);
        let said = ground.write(&config).run();
        assert!(said.code != 0 || !said.out.contains("bundle"), "{cwd}: {said:?}");
    }
    symlink("/proc/self/fd/7", ground.at("bundle/rootfs/link")).expect("link");
    let mut config = Ground::config("ls");
    config["process"]["cwd"] = json!("/link");
    let said = ground.write(&config).run();
    assert!(said.code != 0, "{said:?}");
    ground.clean();
}

/// 2021-30465, 2019-19921, 2025-31133 and their like: places that are symlinks.
#[test]
fn links_in_the_image_lead_nowhere_outside() {
    let ground = Ground::new();
    let outside = ground.at("outside");
    fs::create_dir(&outside).expect("dir");
    for place in ["proc", "sys", "dev"] {
        let path = ground.at("bundle/rootfs").join(place);
        fs::remove_dir(&path).expect("dir");
        symlink(&outside, &path).expect("link");
        let said = ground.script("true").run();
        assert!(said.code != 0, "{place}: {said:?}");
        assert_eq!(fs::read_dir(&outside).expect("dir").count(), 0, "{place}");
        fs::remove_file(&path).expect("link");
        fs::create_dir(&path).expect("dir");
    }
    ground.clean();
}

/// 2022-29162 and its like.
#[test]
fn no_inheritable_capabilities_unless_they_are_asked_for() {
    let ground = Ground::new();
    let id = ground.script("grep CapInh /proc/self/status; exec sleep 100").start();
    ground.until("its word", || !ground.output().is_empty());
    assert_eq!(ground.output(), "CapInh:\t0000000000000000");
    let said = ground.call(&["exec", "--cap", "CAP_SYS_CHROOT", &id, "grep", "CapInh", "/proc/self/status"]);
    assert_eq!(said.well(), "CapInh:\t0000000000000000");
    ground.call(&["delete", "-f", &id]).well();
}

#[test]
fn bundles_that_are_none() {
    let ground = Ground::new();
    let path = ground.at("bundle/config.json");
    ground.run().failed("config.json");
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"ociVersion\":\"2.0.0\"}",
        "\0",
        "{\"ociVersion\":\"1.0.0\",\"ociVersion\":\"1.0.0\"}",
    ] {
        fs::write(&path, text).expect("file");
        assert_eq!(ground.run().code, 1, "{text:?}");
    }
    fs::remove_file(&path).expect("file");
    // Nobody writes there: it must not be waited for.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).expect("pipe");
    ground.run().failed("no file of at most");
    ground.clean();
}

/// Every call of a program that is to be killed at it: its name, and which of that name.
fn calls(ground: &Ground, words: &[&str]) -> Vec<(String, usize)> {
    let log = ground.at("calls");
    let command = ground.command(words);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-qq", "-o"]).arg(&log).arg(command.get_program()).args(command.get_args());
    let out = fs::File::create(ground.at("out")).expect("file");
    strace
        .current_dir(ground.bundle())
        .stdin(std::process::Stdio::null())
        .stdout(out.try_clone().expect("dup"));
    assert!(strace.stderr(out).status().expect("strace").success());
    let mut seen = std::collections::BTreeMap::new();
    let text = fs::read_to_string(&log).expect("calls");
    let names = text.lines().filter_map(|line| line.split_once('(').map(|(name, _)| name.to_owned()));
    let number = |name: String| {
        let count = seen.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
        (name, *count)
    };
    names.map(number).collect()
}

/// runc #4534: killed before its state is written, or at any other moment.
#[test]
fn whenever_a_command_is_killed_delete_leaves_nothing() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        println!("SKIPPED: strace is not installed");
        return;
    }
    let ground = Ground::new();
    let mut config = Ground::config("exec sleep 100");
    config["linux"]["cgroupsPath"] = json!(format!("/{}/deep/group", ground.name));
    let id = ground.write(&config).id();
    for words in [&["create", &id][..], &["start", &id], &["delete", "--force", &id]] {
        let before = || {
            if words[0] != "create" {
                ground.detached(&["create", &id]).well();
            }
        };
        before();
        let points = calls(&ground, words);
        ground.call(&["delete", "--force", &id]).well();
        // All of them take a minute; these are others each time that something changes.
        for (name, number) in points.iter().step_by(11) {
            before();
            let command = ground.command(words);
            let mut strace = std::process::Command::new("strace");
            let inject = format!("inject={name}:signal=KILL:when={number}");
            strace.args(["-qq", "-o", "/dev/null", "-e", &inject]);
            strace.arg(command.get_program()).args(command.get_args()).current_dir(ground.bundle());
            let out = fs::File::create(ground.at("out")).expect("file");
            strace.stdin(std::process::Stdio::null()).stderr(out.try_clone().expect("dup")).stdout(out);
            strace.status().expect("strace");
            ground.call(&["delete", "--force", &id]).well();
            ground.clean();
            let waits = |entry: &fs::DirEntry| {
                let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
                command.contains(&id)
            };
            let left = fs::read_dir("/proc").expect("proc").flatten().filter(waits).count();
            assert_eq!(left, 0, "{} killed at {name} {number}", words[0]);
        }
    }
    // The same id can be made again.
    ground.detached(&["create", &id]).well();
    ground.call(&["delete", &id]).well();
    ground.clean();
}
