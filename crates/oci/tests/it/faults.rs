//! Faults F3 to F17: what happens around `tsubo-oci` and behind its back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Ground, Said, rounds};

/// Runs a script in a mount namespace of its own.
fn apart(ground: &Ground, script: &str) -> Said {
    let program = ground.command(&[]).get_program().to_owned();
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", &format!("T=\"$TSUBO --root $STATE\"; {script}")]);
    unshare.env("TSUBO", program).env("STATE", ground.at("state")).env("ID", ground.id());
    unshare.current_dir(ground.bundle()).stdin(Stdio::null());
    unshare.output().expect("unshare").into()
}

/// Control groups of a running container, one for each hierarchy.
fn groups_of(pid: i32, name: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let paths = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let below = path.trim_start_matches('/');
        let mounts = [controllers.trim_start_matches("name="), "unified", ""];
        let found = mounts
            .iter()
            .map(|mount| Path::new("/sys/fs/cgroup").join(mount).join(below))
            .find(|path| path.is_dir());
        found.filter(|path| path.to_string_lossy().contains(name))
    });
    paths.collect()
}

/// Who stays with containers is killed, twenty of them: each takes along its own and nobody else's.
#[test]
fn fault_f3_callers_are_killed() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    let staying = ground.id();
    ground.start();
    let ids: Vec<String> = (0..20).map(|number| format!("{}-{number}", ground.name)).collect();
    let run = |id: &String| {
        let mut command = ground.command(&["run", id]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run")
    };
    let mut callers: Vec<Child> = ids.iter().map(run).collect();
    ground.until("they run", || ground.rows().iter().filter(|row| row["status"] == "running").count() == 21);
    for caller in &mut callers {
        caller.kill().and_then(|()| caller.wait()).expect("killed");
    }
    ground.until("they have stopped", || {
        ground.rows().iter().filter(|row| row["status"] == "stopped").count() == 20
    });
    assert_eq!(ground.status(&staying), "running");
    for id in ids.iter().chain([&staying]) {
        ground.call(&["delete", "--force", id]).well();
    }
    ground.clean();
}

/// Hundreds come and go at once: nobody is in the way of anybody.
#[test]
fn fault_f4_many_are_made_started_and_deleted_at_once() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    let each = rounds(5);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let ground = &ground;
            scope.spawn(move || {
                let id = format!("{}-{number}", ground.name);
                for _ in 0..each {
                    let mut quiet = ground.command(&["create", &id]);
                    let made = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("create");
                    assert!(made.success());
                    ground.call(&["start", &id]).well();
                    ground.call(&["exec", &id, "true"]).well();
                    ground.call(&["kill", &id, "KILL"]).well();
                    ground.call(&["delete", "--force", &id]).well();
                }
            });
        }
    });
    assert_eq!(ground.rows().len(), 0);
    ground.clean();
}

/// The disk of the state has no more bytes, or no more inodes.
#[test]
fn fault_f6_a_full_disk_or_no_inodes() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    for (options, fill) in [
        ("size=128k", "dd if=/dev/zero of=$STATE/.filler bs=4k 2>/dev/null"),
        (
            "nr_inodes=40",
            "mkdir $STATE/.filler; i=0; while touch $STATE/.filler/$i 2>/dev/null; do i=$((i+1)); done",
        ),
    ] {
        let script = format!(
            "mkdir -p $STATE; mount -t tmpfs -o {options} state $STATE || exit 99
             $T run -d $ID >/dev/null 2>&1; {fill}
             $T create $ID-x >/dev/null 2>$STATE/../errors </dev/null; echo code $?; cat $STATE/../errors
             $T run $ID-y >/dev/null 2>$STATE/../errors </dev/null; echo code $?
             $T list -q; $T state $ID | grep -c running; $T exec $ID true; echo exec $?
             $T kill $ID KILL; $T delete --force $ID; echo delete $?; ls $STATE; rm -r $STATE/.filler
             $T create $ID </dev/null >/dev/null 2>&1; echo create $?; $T delete $ID; echo delete $?; ls -A $STATE | wc -l"
        );
        let said = apart(&ground, &script);
        let expected = format!("{}\n1\nexec 0\ndelete 0\ncreate 0\ndelete 0\n0", ground.id());
        assert!(said.out.ends_with(&expected) && said.out.contains("No space left"), "{options}: {said:?}");
        assert!(said.out.starts_with("code 1\n") && said.out.contains("\ncode 1\n"), "{options}: {said:?}");
        ground.clean();
    }
}

/// Where nothing can be written a container is not made, which is said, and nothing hangs.
#[test]
fn fault_f7_read_only_state_and_read_only_control_groups() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    let script = "mkdir -p $STATE; mount -t tmpfs state $STATE; $T run -d $ID >/dev/null 2>&1 </dev/null
        mount -o remount,ro $STATE; for verb in \"create $ID-x\" \"run $ID-x\"; do $T $verb 2>&1 </dev/null; echo code $?; done
        $T list -q; $T exec $ID true; echo exec $?; $T delete --force $ID 2>&1; mount -o remount,rw $STATE; $T delete --force $ID; echo $?";
    let said = apart(&ground, script);
    assert!(
        said.out.matches("Read-only file system").count() >= 2 && said.out.contains("exec 0"),
        "{said:?}"
    );
    assert!(said.out.matches("code 1").count() == 2 && said.out.ends_with('0'), "{said:?}");
    ground.clean();
    let script = "for m in $(grep -E ' cgroup2? ' /proc/self/mounts | cut -d ' ' -f 2); do mount -o remount,bind,ro $m || exit 99; done
        for verb in create run; do $T $verb $ID 2>&1 </dev/null; echo code $?; done; $T list -q";
    let said = apart(&ground, script);
    assert!(
        said.out.matches("code 1").count() == 2 && said.out.contains("Read-only file system"),
        "{said:?}"
    );
    ground.clean();
}

/// The state is that of another boot, or damaged: whoever has the number now is not touched.
#[test]
fn fault_f11_state_of_another_boot() {
    let ground = Ground::new();
    let id = ground.script("exec sleep 100").start();
    let file = ground.at("state").join(&id).join("state.json");
    let text = fs::read_to_string(&file).expect("state");
    // The kernel tells when a process started in hundredths of a second.
    std::thread::sleep(Duration::from_millis(30));
    let mut bystander = Command::new("sleep").arg("1000").spawn().expect("sleep");
    ground.call(&["kill", &id, "KILL"]).well();
    ground.until("its end", || ground.status(&id) == "stopped");
    let mut state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(state["init"]["pid"].is_number(), "{state}");
    state["init"]["pid"] = json!(bystander.id());
    fs::write(&file, state.to_string()).expect("state");
    assert_eq!(ground.status(&id), "stopped");
    for words in [&["kill", &id, "KILL"][..], &["pause", &id], &["exec", &id, "true"], &["start", &id]] {
        assert_ne!(ground.call(words).code, 0, "{words:?}");
    }
    // Half of it.
    fs::write(&file, &text[..text.len() / 2]).expect("state");
    ground.call(&["state", &id]).failed("state.json");
    ground.call(&["list"]);
    ground.call(&["delete", "--force", &id]).well();
    assert!(bystander.try_wait().expect("it lives").is_none());
    bystander.kill().and_then(|()| bystander.wait()).expect("killed");
    ground.clean();
}

/// Zombies that nobody waits for, processes that left its session and ignore every request.
#[test]
fn fault_f12_zombies_orphans_and_deafness() {
    let ground = Ground::new();
    let source = "#include <signal.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(void) { signal(15, SIG_IGN); signal(2, SIG_IGN);
        for (int i = 0; i < 500; i++) if (fork() == 0) _exit(0);
        for (int i = 0; i < 30; i++) if (fork() == 0) { setsid(); if (fork() == 0) { setsid(); for (;;) pause(); } _exit(0); }
        puts(\"made\"); fflush(stdout); for (;;) pause(); }";
    let Some(program) = ground.program("parent", source) else { return };
    let mut config = Ground::config("");
    config["process"]["args"] = json!([program]);
    for ending in [&["delete", "--force"][..], &["kill", "--all"]] {
        let _ = fs::remove_file(ground.at("out"));
        let id = ground.write(&config).start();
        ground.until("all are there", || ground.output() == "made");
        ground.call(&["kill", &id, "TERM"]).well();
        assert_eq!(ground.status(&id), "running");
        if ending[0] == "kill" {
            ground.call(&["kill", "--all", &id, "KILL"]).well();
            ground.until("its end", || ground.status(&id) == "stopped");
        }
        ground.call(&["delete", "--force", &id]).well();
        ground.clean();
    }
}

/// Who relays a terminal is not read from: the container waits, as it would at any pipe, and nothing
/// is heaped up meanwhile.
#[test]
fn fault_f13_nobody_reads_what_is_relayed() {
    let ground = Ground::new();
    let mut config = Ground::config("while :; do echo 0123456789012345678901234567890123456789; done");
    config["process"]["terminal"] = json!(true);
    let id = ground.write(&config).id();
    let run =
        ground.command(&["run", &id]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run");
    ground.until("it runs", || ground.at("state").join(&id).join("state.json").exists());
    std::thread::sleep(Duration::from_millis(500));
    let memory = fs::read_to_string(format!("/proc/{}/status", run.id())).expect("status");
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 64 << 10, "{peak} KiB");
    ground.call(&["kill", &id, "KILL"]).well();
    assert_eq!(run.wait_with_output().expect("the end").status.code(), Some(137));
    ground.call(&["delete", "--force", &id]).well();
    ground.clean();
}

/// Who stays with it is stopped while it ends: no end is lost.
#[test]
fn fault_f14_the_caller_is_stopped_while_it_ends() {
    let ground = Ground::new();
    ground.script("echo ready; sleep 0.2; exit 9");
    for _ in 0..rounds(2) {
        let out = fs::File::create(ground.at("out")).expect("file");
        let mut run = ground.command(&["run", &ground.id()]).stdout(out).spawn().expect("run");
        ground.until("its first word", || ground.output() == "ready");
        sys::process::kill(run.id() as i32, 19).expect("SIGSTOP");
        ground.until("its end", || ground.status(&ground.id()) == "stopped");
        sys::process::kill(run.id() as i32, 18).expect("SIGCONT");
        assert_eq!(run.wait().expect("the end").code(), Some(9));
        ground.clean();
    }
}

/// What a container is made of is taken away behind our back: it can be deleted all the same.
#[test]
fn fault_f15_groups_network_and_root_are_taken_away() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    // Its groups, where they are empty; with another's in them they stay.
    for forced in [true, false] {
        let id = ground.start();
        let pid = ground.pid(&id);
        let groups = groups_of(pid, &ground.id());
        assert!(!groups.is_empty());
        sys::process::kill(pid, 9).expect("kill");
        ground.until("its end", || ground.status(&id) == "stopped");
        for group in &groups {
            ground.until("the group is empty", || fs::remove_dir(group).is_ok() || !group.exists());
        }
        for verb in [
            &["state", &id][..],
            &["list"],
            &["ps", &id],
            &["exec", &id, "true"],
            &["events", "--stats", &id],
        ] {
            let said = ground.call(verb);
            assert!(!said.error.contains("panicked"), "{said:?}");
        }
        let delete: &[&str] = if forced { &["delete", "--force", &id] } else { &["delete", &id] };
        ground.call(delete).well();
        ground.clean();
    }
    // One that runs has been moved out of them, and they are gone.
    let id = ground.start();
    let pid = ground.pid(&id);
    for group in groups_of(pid, &ground.id()) {
        let above =
            group.ancestors().find(|path| !path.to_string_lossy().contains(&ground.name)).expect("a root");
        fs::write(above.join("cgroup.procs"), pid.to_string()).expect("moved");
        ground.until("the group is empty", || fs::remove_dir(&group).is_ok());
    }
    assert_eq!(ground.status(&id), "running");
    ground.call(&["delete", "--force", &id]).well();
    ground.clean();
    // A network that somebody made, and has removed by then.
    let name = format!("x{}", ground.name);
    let network = format!("ip netns add {name} && ip netns del {name}");
    if Command::new("sh")
        .args(["-c", &network])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        let mut config = Ground::config("exec sleep 100");
        for space in config["linux"]["namespaces"].as_array_mut().expect("list") {
            if space["type"] == "network" {
                space["path"] = json!(format!("/run/netns/{name}"));
            }
        }
        ground.write(&config);
        let ip = |words: &[&str]| Command::new("ip").args(words).status().expect("ip");
        assert!(ip(&["netns", "add", &name]).success());
        let id = ground.start();
        assert!(ip(&["netns", "del", &name]).success());
        ground.call(&["exec", &id, "true"]).well();
        ground.call(&["delete", "--force", &id]).well();
        ground.clean();
    } else {
        println!("SKIPPED: no named networks here");
    }
    // The root is unmounted, and the bundle is gone.
    ground.script("exec sleep 100");
    let script = "mkdir ../copy; mount -t tmpfs copy ../copy; cp -a . ../copy/; cd ../copy; $T run -d $ID >/dev/null 2>&1 </dev/null || echo no run
        cd ..; umount -l copy; rmdir copy; $T state $ID | grep -c running; $T kill $ID KILL; $T delete --force $ID; echo $?; $T list -q";
    assert_eq!(apart(&ground, script).out, "1\n0");
    ground.clean();
    // Its state, of a container that runs: that is all that is known of it.
    let id = ground.script("exec sleep 100").start();
    let kept = ground.at("kept");
    fs::rename(ground.at("state").join(&id), &kept).expect("moved");
    ground.call(&["state", &id]).failed("does not exist");
    fs::rename(&kept, ground.at("state").join(&id)).expect("moved back");
    assert_eq!(ground.status(&id), "running");
    ground.call(&["delete", "--force", &id]).well();
    ground.clean();
}

/// The program is replaced while containers run: the new one rules those of the old.
#[test]
fn fault_f16_the_program_is_replaced_while_containers_run() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    // By another process: what one of our threads writes to cannot be executed while another forks.
    let copy = |to: &Path| {
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tsubo-oci")).arg(to).status();
        assert!(copied.expect("cp").success());
    };
    let old = ground.at("tsubo-oci");
    copy(&old);
    let ids: Vec<String> = (0..10).map(|number| format!("{}-{number}", ground.name)).collect();
    for id in &ids {
        let mut run = Command::new(&old);
        run.arg("--root").arg(ground.at("state")).args(["run", "--detach", id]).current_dir(ground.bundle());
        let run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(run.expect("run").success());
    }
    // As a package manager does it.
    let new = ground.at("tsubo-oci.new");
    copy(&new);
    fs::rename(&new, &old).expect("replaced");
    for id in &ids {
        assert_eq!(ground.status(id), "running");
        ground.call(&["exec", id, "true"]).well();
        ground.call(&["pause", id]).well();
        ground.call(&["resume", id]).well();
        ground.call(&["kill", id, "KILL"]).well();
        ground.until("its end", || ground.status(id) == "stopped");
        ground.call(&["delete", id]).well();
    }
    ground.clean();
}

#[test]
fn fault_f17_one_after_the_other() {
    let ground = Ground::new();
    ground.script("true");
    for _ in 0..rounds(60) {
        ground.run().well();
    }
    ground.clean();
}
