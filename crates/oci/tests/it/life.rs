//! From create to delete.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::Ground;

#[test]
fn the_standard_bundle_runs_and_leaves_nothing() {
    let ground = Ground::new();
    let said = ground.script("echo said; echo loud >&2; exit 7").run();
    assert_eq!((said.code, said.out.as_str(), said.error.as_str()), (7, "said", "loud"));
    ground.clean();
    let said = ground.script("kill -9 $$").run();
    // Nothing kills the first process of a pid namespace from inside.
    assert_eq!(said.code, 0);
    ground.clean();
}

#[test]
fn create_start_kill_delete() {
    let ground = Ground::new();
    ground.script("echo began; trap 'echo asked; exit 3' TERM; while :; do sleep 0.05; done");
    let id = ground.id();
    let file = ground.at("pid");
    ground.detached(&["create", "--pid-file", file.to_str().expect("text"), &id]).well();
    assert_eq!(ground.status(&id), "created");
    assert_eq!(ground.output(), "", "nothing is executed yet");
    let pid = fs::read_to_string(&file).expect("the pid file");
    assert_eq!(pid, ground.pid(&id).to_string());
    let place = ground.at("state").join(&id);
    assert_eq!(fs::metadata(&place).expect("its directory").mode() & 0o7777, 0o700);
    ground.call(&["create", &id]).failed("container with id exists");
    ground.call(&["start", &id]).well();
    assert_eq!(ground.status(&id), "running");
    ground.until("its first word", || ground.output() == "began");
    ground.call(&["start", &id]).failed("cannot start an already running container");
    ground
        .call(&["delete", &id])
        .failed(&format!("cannot delete container {id} that is not stopped: running"));
    let list: Value = serde_json::from_str(&ground.call(&["list", "-f", "json"]).well()).expect("JSON");
    assert_eq!((list.as_array().expect("list").len(), &list[0]["id"]), (1, &json!(id)));
    ground.call(&["kill", &id]).well();
    ground.until("its end", || ground.status(&id) == "stopped");
    assert_eq!(ground.output(), "began\nasked");
    ground.call(&["kill", &id]).failed("container not running");
    ground.call(&["start", &id]).failed("cannot start a container that has stopped");
    ground.call(&["delete", &id]).well();
    for words in [&["state", &id][..], &["start", &id], &["kill", &id], &["delete", &id], &["pause", &id]] {
        ground.call(words).failed("container does not exist");
    }
    ground.call(&["delete", "--force", &id]).well();
    ground.clean();
}

#[test]
fn delete_by_force_and_of_one_that_was_never_started() {
    let ground = Ground::new();
    ground.script("sleep 100 & sleep 100 & wait");
    let id = ground.start();
    ground.call(&["delete", "-f", &id]).well();
    ground.clean();
    ground.detached(&["create", &id]).well();
    ground.call(&["delete", &id]).well();
    ground.clean();
}

#[test]
fn what_cannot_be_executed_is_told_by_every_verb() {
    let ground = Ground::new();
    let id = ground.id();
    for (program, words) in [
        ("/nothing", "executable file not found in $PATH"),
        ("nothing", "executable file not found in $PATH"),
        ("/etc", "permission denied"),
    ] {
        let mut config = Ground::config("");
        config["process"]["args"] = json!([program]);
        ground.write(&config);
        ground.run().failed(words);
        ground.detached(&["create", &id]).failed(words);
        ground.clean();
    }
    // This much only the kernel knows.
    fs::write(ground.at("bundle/rootfs/bin/odd"), "#!/no/interpreter\n").expect("a script");
    fs::set_permissions(
        ground.at("bundle/rootfs/bin/odd"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("mode");
    let mut config = Ground::config("");
    config["process"]["args"] = json!(["/bin/odd"]);
    ground.write(&config);
    ground.detached(&["create", &id]).well();
    ground.call(&["start", &id]).failed("executable file not found in $PATH");
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    ground.clean();
}

#[test]
fn pause_and_resume() {
    let ground = Ground::new();
    ground.script("while :; do echo .; sleep 0.01; done");
    let id = ground.start();
    ground.call(&["resume", &id]).failed("container not paused");
    ground.call(&["pause", &id]).well();
    assert_eq!(ground.status(&id), "paused");
    ground.call(&["exec", &id, "true"]).failed("cannot exec in a paused container");
    let before = ground.output();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(ground.output(), before);
    ground.call(&["resume", &id]).well();
    ground.until("more", || ground.output() != before);
    ground.call(&["pause", &id]).well();
    // One that is held dies too.
    ground.call(&["kill", &id, "KILL"]).well();
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    ground.clean();
}

#[test]
fn fault_f4_of_many_that_make_one_id_one_wins() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    let id = ground.id();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let mut command = ground.command(&["create", &id]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tsubo-oci")
        })
        .collect();
    let won = calls.into_iter().filter_map(|mut call| call.wait().expect("the end").success().then_some(()));
    assert_eq!(won.count(), 1);
    assert_eq!(ground.status(&id), "created");
    // Of many that start it, too.
    let calls: Vec<_> = (0..8)
        .map(|_| ground.command(&["start", &id]).stderr(Stdio::null()).spawn().expect("tsubo-oci"))
        .collect();
    let won = calls.into_iter().filter_map(|mut call| call.wait().expect("the end").success().then_some(()));
    assert_eq!(won.count(), 1);
    ground.call(&["delete", "-f", &id]).well();
    ground.clean();
}

#[test]
fn fault_f12_processes_that_outlive_the_first_end_with_the_container() {
    let ground = Ground::new();
    let mut config = Ground::config("sleep 100 & echo $!");
    config["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "pid");
    let left = ground.write(&config).at("out");
    let out = fs::File::create(&left).expect("file");
    let status = ground.command(&["run", &ground.id()]).stdout(out).status().expect("tsubo-oci");
    assert!(status.success());
    let pid = ground.output();
    assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists(), "{pid} lives");
    ground.clean();
}

#[test]
fn without_pivot_and_with_the_callers_keyring() {
    let ground = Ground::new();
    ground
        .script("ls -d /bin /proc/1/root/bin; chroot . /bin/echo inside; grep -c . /proc/mounts > /dev/null");
    let said = ground.call(&["run", "--no-pivot", "--no-new-keyring", &ground.id()]).well();
    assert!(said.starts_with("/bin\n/proc/1/root/bin"), "{said}");
    ground.clean();
}

#[test]
fn fault_f3_a_run_that_is_killed_takes_the_container_along() {
    let ground = Ground::new();
    ground.script("echo $$; exec sleep 100");
    let id = ground.id();
    let out = fs::File::create(ground.at("out")).expect("file");
    let mut run = ground.command(&["run", &id]).stdout(out).spawn().expect("tsubo-oci");
    ground.until("its first word", || !ground.output().is_empty());
    run.kill().and_then(|()| run.wait()).expect("the end");
    ground.until("its end", || ground.status(&id) == "stopped");
    ground.call(&["delete", &id]).well();
    ground.clean();
}

#[test]
fn signals_to_run_reach_the_container() {
    let ground = Ground::new();
    ground.script("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    let out = fs::File::create(ground.at("out")).expect("file");
    let mut run = ground.command(&["run", &ground.id()]).stdout(out).spawn().expect("tsubo-oci");
    ground.until("its first word", || ground.output() == "ready");
    sys::process::kill(run.id() as i32, 15).expect("kill");
    assert_eq!(run.wait().expect("the end").code(), Some(5));
    ground.clean();
}

/// A stand-in that tells what it was called with: the program itself needs a kernel that it knows.
#[test]
fn checkpoints_are_made_by_criu() {
    let ground = Ground::new();
    let id = ground.script("exec sleep 100").start();
    let without = ground.at("empty");
    fs::create_dir(&without).expect("dir");
    let call = |path: &std::path::Path, words: &[&str]| {
        let output = ground.command(words).env("PATH", path).output().expect("tsubo-oci");
        crate::harness::Said::from(output)
    };
    let said = call(&without, &["checkpoint", "--image-path", "images", &id]);
    said.failed("the program criu, which is not installed");
    let with = ground.at("programs");
    fs::create_dir(&with).expect("dir");
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\n", ground.at("calls").display());
    fs::write(with.join("criu"), script).expect("script");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(with.join("criu"), executable).expect("mode");
    call(&with, &["checkpoint", "--image-path", "images", "--leave-running", "--tcp-established", &id])
        .well();
    let calls = fs::read_to_string(ground.at("calls")).expect("calls");
    for wanted in [
        "dump --images-dir images --work-dir images --log-file dump.log",
        "--tcp-established",
        "--manage-cgroups=soft",
        &format!("--tree {} --root {}", ground.pid(&id), ground.at("bundle/rootfs").display()),
        "--leave-running",
    ] {
        assert!(calls.contains(wanted), "{wanted}: {calls}");
    }
    // It has restored nothing, so there is nothing: neither a container nor what was made for one.
    let other = format!("{id}-2");
    call(&with, &["restore", "--detach", "--image-path", "images", &other]).failed("restored");
    ground.call(&["state", &other]).failed("container does not exist");
    ground.call(&["delete", "-f", &id]).well();
    ground.clean();
}

/// Without a privilege, and with nobody's help.
#[test]
fn an_ordinary_user_has_containers_too() {
    use std::os::unix::process::CommandExt;
    const USER: u32 = 0x7fde_0001;
    let ground = Ground::new();
    let program = ground.at("tsubo-oci");
    fs::copy(env!("CARGO_BIN_EXE_tsubo-oci"), &program).expect("a copy");
    let run = ground.at("run");
    fs::create_dir(&run).expect("dir");
    std::os::unix::fs::chown(&run, Some(USER), Some(USER)).expect("owner");
    let mut config = spec::oci::example(Some((USER, USER)));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] =
        json!(["/bin/sh", "-c", "id -u; cat /proc/self/uid_map | xargs; exec sleep 100"]);
    config["process"]["env"] = json!(["PATH=/bin"]);
    ground.write(&config);
    let call = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(words).current_dir(ground.bundle()).uid(USER).gid(USER).stdin(Stdio::null());
        command.env("XDG_RUNTIME_DIR", &run);
        command
    };
    let id = ground.id();
    let out = fs::File::create(ground.at("out")).expect("file");
    let error = fs::File::create(ground.at("error")).expect("file");
    let status = call(&["run", "-d", &id]).stdout(out).stderr(error).status().expect("tsubo-oci");
    let told = fs::read_to_string(ground.at("error")).expect("text");
    if told.contains("lets no ordinary user") {
        println!("SKIPPED: {told}");
        return;
    }
    assert!(status.success(), "{told}");
    ground.until("its words", || ground.output() == format!("0\n0 {USER} 1"));
    let said = |words: &[&str]| crate::harness::Said::from(call(words).output().expect("tsubo-oci"));
    assert_eq!(
        said(&["exec", &id, "sh", "-c", "id -u; readlink /proc/self/ns/pid"]).well().lines().count(),
        2
    );
    assert!(said(&["list"]).well().contains("running"));
    said(&["delete", &id]).failed("that is not stopped");
    said(&["kill", &id, "KILL"]).well();
    ground.until("its end", || said(&["state", &id]).well().contains("stopped"));
    said(&["delete", &id]).well();
    assert_eq!(fs::read_dir(run.join("tsubo-oci")).expect("state").count(), 0);
    // Ids of others are not to be had.
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    ground.write(&config);
    said(&["run", &id]).failed("mapped");
    ground.script("true");
    said(&["run", &id]).failed("an ordinary user's container has users of its own");
    ground.clean();
}
