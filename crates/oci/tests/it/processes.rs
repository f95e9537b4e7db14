//! Attacks 21 to 28, and what they became elsewhere: who is let in, what he brings, who hits whom.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Ground, rounds};

const PROBE: &str = include_str!("../../../tsubo/tests/it/programs/probe.c");

fn capabilities(config: &mut Value, names: &[&str]) {
    config["process"]["capabilities"] = json!({ "bounding": names, "permitted": names, "effective": names });
}

/// 2024-21626, 2016-8649: whatever the caller has open, and of whatever kind.
#[test]
fn attack_21_descriptors_of_run_and_exec() {
    let ground = Ground::new();
    let look = "ls /proc/self/fd | xargs; ls -l /proc/1/fd | grep -c -v -E 'pipe:|/dev/null|total|/out$|/error$'; readlink /proc/self/cwd";
    let id = ground.script("exec sleep 100").id();
    let open = "exec 3</ 4</etc 7</etc/shadow 9>>lock; exec \"$0\" \"$@\"";
    let call = |words: &[&str]| {
        let command = ground.command(words);
        let mut shell = Command::new("bash");
        shell.args(["-c", open]).arg(command.get_program()).args(command.get_args());
        shell.current_dir(ground.bundle()).stdin(Stdio::null());
        shell
    };
    let status = call(&["run", "--detach", &id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("run").success());
    for _ in 0..rounds(3) {
        let output = call(&["exec", &id, "sh", "-c", look]).output().expect("exec");
        // The fourth is the directory that is listed.
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0 1 2 3\n0\n/\n", "{output:?}");
    }
    let output = call(&["exec", "--cwd", "/proc/self/fd/4", &id, "pwd"]).output().expect("exec");
    assert!(!output.status.success(), "{output:?}");
    ground.call(&["delete", "--force", &id]).well();
    ground.clean();
}

#[test]
fn attack_22_exec_into_one_that_is_paused_or_dying() {
    let ground = Ground::new();
    let id = ground.script("exec sleep 100").start();
    ground.call(&["pause", &id]).well();
    ground.call(&["exec", &id, "true"]).failed("cannot exec in a paused container");
    let mut late = ground.command(&["exec", "--ignore-paused", &id, "true"]).spawn().expect("exec");
    std::thread::sleep(std::time::Duration::from_millis(50));
    ground.call(&["resume", &id]).well();
    assert!(late.wait().expect("the end").success());
    // One that is killed while it is held takes along who waits in it.
    ground.call(&["pause", &id]).well();
    let mut late = ground.command(&["exec", "--ignore-paused", &id, "sleep", "50"]).spawn().expect("exec");
    ground.call(&["kill", &id, "KILL"]).well();
    ground.call(&["delete", "--force", &id]).well();
    assert!(!late.wait().expect("the end").success());
    ground.clean();
    for step in 0..rounds(8) {
        let life = format!("{:.3}", 0.004 * f64::from(step % 8));
        let mut config = Ground::config("");
        config["process"]["args"] = json!(["/bin/sleep", life]);
        ground.write(&config).start();
        for _ in 0..4 {
            let said = ground.call(&["exec", &id, "true"]);
            let late = ["stopped container", "container is stopping", "not running", "ended", "has stopped"];
            let told = late.iter().any(|words| said.error.contains(words)) || said.error.contains("os error");
            assert!(matches!(said.code, 0 | 137) || told && !said.error.contains("panicked"), "{said:?}");
        }
        ground.until("its end", || ground.status(&id) == "stopped");
        ground.call(&["delete", &id]).well();
    }
    ground.clean();
}

#[test]
fn attack_23_a_set_uid_program_gains_nothing_under_no_new_privs() {
    let ground = Ground::new();
    let tells = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"%d %d\\n\", getuid(), geteuid()); }";
    let Some(program) = ground.program("elevated", tells) else { return };
    let file = ground.at("bundle/rootfs/bin/elevated");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).expect("mode");
    for (without, expected) in [(true, "1000 1000"), (false, "1000 0")] {
        let mut config = Ground::config("");
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["process"]["noNewPrivileges"] = json!(without);
        config["process"]["args"] = json!([program]);
        assert_eq!(ground.write(&config).run().well(), expected);
        // And of one that joins.
        config["process"]["args"] = json!(["/bin/sleep", "100"]);
        let id = ground.write(&config).start();
        assert_eq!(ground.call(&["exec", &id, "elevated"]).well(), expected);
        ground.call(&["delete", "--force", &id]).well();
    }
    ground.clean();
}

/// Nobody inside looks into a process that joins before it is one of theirs: neither root with what
/// engines give him, nor who has every capability in a user namespace of his own.
#[test]
fn attack_24_ptrace_of_who_joins() {
    let ground = Ground::new();
    let Some(probe) = ground.program("probe", PROBE) else { return };
    let all: Vec<_> = spec::container::CAPABILITY_NAMES.iter().map(|name| format!("CAP_{name}")).collect();
    for users in [false, true] {
        let _ = fs::remove_file(ground.at("out"));
        let mut config = Ground::config("");
        config["process"]["args"] = json!([probe, "look", "tsubo"]);
        if users {
            let map = json!([{ "containerID": 0, "hostID": 0x7fdb_0000_u32, "size": 65_536 }]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            capabilities(&mut config, &all);
        }
        let id = ground.write(&config).start();
        while ground.status(&id) == "running" {
            let said = ground.call(&["exec", &id, "true"]);
            assert!(!said.error.contains("panicked"), "{said:?}");
        }
        ground.call(&["delete", "--force", &id]).well();
        let said = ground.output();
        assert!(said.ends_with(" passed") && said.lines().count() == 1, "users of its own: {users}: {said}");
    }
    ground.clean();
}

/// 2017-5226, 2019-10063: what is typed into a terminal of the caller would be his next command.
#[test]
fn attack_25_typing_into_the_callers_terminal() {
    let ground = Ground::new();
    let Some(probe) = ground.program("probe", PROBE) else { return };
    let mut config = Ground::config("");
    config["process"]["args"] = json!([probe, "types"]);
    let id = ground.write(&config).id();
    // The caller's terminal is its standard input and output.
    let command = ground.command(&["run", &id]);
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let line = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
    let on_a_terminal = |line: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", line, "/dev/null"]).current_dir(ground.bundle()).stdin(Stdio::null());
        script.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    match on_a_terminal(&line) {
        Err(error) => println!("SKIPPED: no program script: {error}"),
        Ok(said) => {
            assert!(said.contains("tiocsti "), "{said}");
            for line in said.lines() {
                let refused =
                    ["1", "5", "6", "25"].iter().any(|errno| line.trim_end().ends_with(&format!(" {errno}")));
                assert!(refused, "{said}");
            }
        }
    }
    // A filter that looks at 32 bits of the request stands before all of them, on a terminal of its own.
    config["process"]["terminal"] = json!(true);
    config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
        "names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
        "args": [{ "index": 1, "value": 0xffff_ffff_u32, "valueTwo": 0x5412, "op": "SCMP_CMP_MASKED_EQ" }] }] });
    let said = ground.write(&config).run();
    let typed: Vec<&str> = said.out.lines().filter(|line| line.contains("tiocsti")).collect();
    assert!(typed.len() == 6 && typed.iter().all(|line| line.trim_end().ends_with(" 13")), "{said:?}");
    ground.clean();
}

/// The keys of a session are not inherited: its own ring has another serial.
#[test]
fn attack_27_the_callers_keys() {
    let ground = Ground::new();
    let ring = "#include <stdio.h>\n#include <unistd.h>\n#include <sys/syscall.h>\nint main(void) { printf(\"%ld\\n\", syscall(SYS_keyctl, 0, -3, 0)); }";
    let Some(program) = ground.program("ring", ring) else { return };
    let own = Command::new(ground.at("bundle/rootfs/bin/ring")).output().expect("ring");
    let own = String::from_utf8_lossy(&own.stdout).trim().to_owned();
    let mut config = Ground::config("");
    config["process"]["args"] = json!([program]);
    let first = ground.write(&config).run().well();
    let second = ground.run().well();
    assert!(first != own && second != own && first != second, "{own} {first} {second}");
    ground.clean();
}

/// It is stopped before its program runs: nobody waits for ever, it can be removed, and it goes on.
#[test]
fn attack_28_the_first_process_is_stopped_while_it_starts() {
    let ground = Ground::new();
    let id = ground.script("echo it ran; exec sleep 100").id();
    for goes_on in [true, false] {
        ground.detached(&["create", &id]).well();
        let pid = ground.pid(&id);
        sys::process::kill(pid, 19).expect("SIGSTOP");
        let mut start = ground.command(&["start", &id]).stderr(Stdio::null()).spawn().expect("start");
        std::thread::sleep(std::time::Duration::from_millis(100));
        // Others are answered meanwhile.
        assert!(["created", "running"].contains(&ground.status(&id).as_str()));
        assert_eq!(ground.rows().len(), 1);
        assert!(start.try_wait().expect("start").is_none(), "it waits for the program");
        if goes_on {
            sys::process::kill(pid, 18).expect("SIGCONT");
            assert!(start.wait().expect("start").success());
            ground.until("it runs", || ground.output().contains("it ran"));
        } else {
            ground.call(&["kill", &id, "KILL"]).well();
            // Whether its program ran before it was killed nobody can tell.
            start.wait().expect("start");
            assert_eq!(ground.status(&id), "stopped");
        }
        ground.call(&["delete", "--force", &id]).well();
        ground.clean();
    }
}

/// Runs a script as process 1 of a pid namespace, where `take N` starts a bystander with the number N.
fn among_numbers(ground: &Ground, script: &str) -> Option<String> {
    if !std::path::Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        println!("SKIPPED: this kernel does not let the next process's number be chosen (ns_last_pid)");
        return None;
    }
    let script = format!(
        "T=\"$TSUBO --root $STATE\"; taken=
         take() {{ echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid; sleep 1000 & test $! = $1 || echo missed $1; taken=\"$taken $1\"; }}
         gone() {{ for i in $(seq 500); do test -e /proc/$1 || return; sleep 0.01; done; echo $1 stays; }}
         all() {{ for one in $taken; do kill -0 $one 2>/dev/null || echo $1 hit $one; done; }}
         {script}"
    );
    let program = ground.command(&[]).get_program().to_owned();
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "-p", "-f", "--mount-proc", "bash", "-c", &script]).env("TSUBO", program);
    unshare.env("STATE", ground.at("state")).env("ID", ground.id()).env("PLACE", ground.at(""));
    let output = unshare.current_dir(ground.bundle()).stdin(Stdio::null()).output().expect("unshare");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout) + &text(&output.stderr))
}

const REUSED: &str = "
    for verb in 'kill ID KILL' 'kill --all ID KILL' 'delete ID' 'delete --force ID' 'exec ID true' 'pause ID' 'start ID' 'state ID' 'ps ID'; do
      $T run -d $ID >/dev/null 2>&1 </dev/null || echo no run
      pid=$(cat $STATE/$ID/state.json | tr ',{' '\\n\\n' | sed -n 's/.*\"pid\":\\([0-9]*\\).*/\\1/p' | head -1)
      sleep 0.03; kill -9 $pid; gone $pid; take $pid
      $T ${verb/ID/$ID} >/dev/null 2>&1; all \"$verb\"
      case $verb in delete*) ;; *) $T state $ID | grep -q stopped || echo \"$verb: believed\";; esac
      $T delete --force $ID >/dev/null 2>&1; all \"delete after $verb\"
    done; echo done";

/// The number of a container's first process is somebody else's by the time of the command. The kernel tells
/// when a process started in hundredths of a second: to go round in less takes more processes than it can make.
#[test]
fn attack_26_a_number_that_is_somebody_elses_is_not_hit() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    let Some(said) = among_numbers(&ground, REUSED) else { return };
    assert_eq!(said, "done\n");
    ground.clean();
}

/// With a few hundred numbers each is used again and again, while containers come and go by force.
#[test]
fn fault_f9_numbers_go_round_while_containers_are_killed() {
    let ground = Ground::new();
    ground.script("exec sleep 100");
    let script = format!(
        "echo 400 > /proc/sys/kernel/pid_max 2>/dev/null || {{ echo one pid_max for all; exit; }}
         for i in 1 2 3 4 5 6; do sleep 1000 & taken=\"$taken $!\"; done
         for i in $(seq {}); do $T run -d $ID >/dev/null 2>&1 </dev/null || echo no run
           (exit 0); $T kill $ID KILL; $T delete --force $ID || echo no delete; all round; done; echo done",
        rounds(40)
    );
    let Some(said) = among_numbers(&ground, &script) else { return };
    if said.starts_with("one pid_max") {
        println!("SKIPPED: this kernel has one pid_max for all pid namespaces");
        return;
    }
    assert_eq!(said, "done\n");
    ground.clean();
}
