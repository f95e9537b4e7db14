//! Odd surroundings and odd containers: closed descriptors, no terminal type, arguments beyond all
//! bounds, orphans and zombies, a container that wants the host's own programs.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::base::compile;
use crate::support::busybox::{file, installed};
use crate::support::{House, ended, have, one_clear_error, succeed, until};

/// Runs a script of the host's shell with `$T` as `tsubo --root …`.
fn script(house: &House, text: &str) -> Output {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &format!("T=\"$TSUBO --root $ROOT\"; {text}")])
        .env("TSUBO", env!("CARGO_BIN_EXE_tsubo"));
    shell.env("ROOT", house.elsewhere()).current_dir(house.dir()).stdin(Stdio::null());
    ended(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh"), text)
}

/// What such a script prints; it must succeed.
#[track_caller]
fn says(house: &House, text: &str) -> String {
    let output = script(house, text);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}: {}: {complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn closed_descriptors_are_nobodys_files() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    house.ok_elsewhere(["run", "--rm", "web"]);
    let store = crate::support::leftovers::everything(&house.elsewhere());
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"] {
        for verb in ["ps -a", "images", "info", "run --rm web", "run --rm -i web", "nonsense"] {
            let output = script(&house, &format!("exec $T {verb} {closed}"));
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(!complaint.contains("panicked"), "{verb} {closed}: {complaint}");
            let code = if verb == "nonsense" { 125 } else { 0 };
            // Output that can go nowhere is an error of who ran it that way.
            let nowhere = closed.contains(">&-") && verb.starts_with("run");
            assert!(
                output.status.code() == Some(code) || nowhere,
                "{verb} {closed}: {}: {complaint}",
                output.status
            );
        }
    }
    until("nothing is left of them", || house.json_elsewhere(["ps", "-a", "--format", "json"]) == json!([]));
    let changed = crate::support::leftovers::everything(&house.elsewhere());
    let new: Vec<_> = changed.iter().filter(|path| !store.contains(path) && path.is_file()).collect();
    assert!(new.is_empty(), "{new:?}");
    assert_eq!(
        says(&house, "$T run -d --name one web /bin/sleep 100 <&- >&- 2>&-; $T exec one /bin/echo in"),
        "in\n"
    );
    // Its own three are there all the same.
    assert_eq!(
        says(&house, "$T run --rm web /bin/sh -c 'ls /proc/self/fd' <&- | cat").split_whitespace().count(),
        4
    );
}

#[test]
fn a_listing_whose_reader_leaves_early_is_no_failure() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    for number in 0..20 {
        house.ok_elsewhere(["run", "-d", "--name", &format!("c{number}"), "web"]);
    }
    for verb in ["ps -a", "ps -a --format json", "info", "inspect c1", "logs c1", "images", "--help"] {
        let output = script(&house, &format!("($T {verb}; echo code $? >&2) | head -c 1 >/dev/null"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(complaint, "code 0\n", "{verb}");
        let output = script(&house, &format!("($T {verb}; echo code $? >&2) | true"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "code 0\n", "{verb}");
        // Where nothing more can be written to a device, that is no panic either.
        let output = script(&house, &format!("exec $T {verb} > /dev/full"));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{verb}");
    }
}

#[test]
fn colours_are_for_terminals_that_have_them() {
    if !have(&["script"]) {
        return;
    }
    let house = House::new();
    let on_a_terminal = |environment: &str| {
        // Nothing of the surroundings: where `CI` is set, every terminal is taken to have colours.
        let command = format!(
            "env -i {environment} {} --root {} inspect nobody",
            env!("CARGO_BIN_EXE_tsubo"),
            house.elsewhere().display()
        );
        let mut script = Command::new("script");
        let output =
            script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().expect("script");
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let coloured = on_a_terminal("TERM=xterm");
    assert!(coloured.contains('\x1b') && coloured.contains("nobody"), "{coloured:?}");
    for plain in ["NO_COLOR=1 TERM=xterm", "", "TERM=dumb"] {
        let said = on_a_terminal(plain);
        assert!(!said.contains('\x1b') && said.starts_with("error:"), "{plain}: {said:?}");
    }
    // No terminal, no colours, whatever its type would be.
    let output = house.command_elsewhere(["inspect", "nobody"]).env("TERM", "xterm").output().expect("tsubo");
    one_clear_error(&String::from_utf8_lossy(&output.stderr), &["nobody"]);
}

#[test]
fn surroundings_that_are_odd_change_nothing() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    assert_eq!(says(&house, "exec env -i $T run --rm web"), "it ran\n");
    assert_eq!(says(&house, "mkdir gone; cd gone; rmdir ../gone; exec $T run --rm web"), "it ran\n");
    assert_eq!(
        says(
            &house,
            "umask 0; $T run -d --name open web /bin/sleep 100; find $ROOT -perm -o=w ! -type l ! -path '*/root/*'"
        ),
        "open\n"
    );
    assert_eq!(says(&house, "umask 777; exec $T run --rm web"), "it ran\n");
    assert_eq!(says(&house, "trap '' PIPE HUP INT TERM; exec $T run --rm web"), "it ran\n");
    assert_eq!(says(&house, "ulimit -n 64; exec $T run --rm web"), "it ran\n");
    let broken = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    for args in [["run".as_ref(), broken], ["rm".as_ref(), broken], [broken, broken]] {
        let output = house.command_elsewhere(args).output().expect("tsubo");
        assert_eq!(output.status.code(), Some(125));
        one_clear_error(&String::from_utf8_lossy(&output.stderr), &[]);
    }
}

#[test]
fn arguments_beyond_what_the_kernel_takes_are_told() {
    let long = "x".repeat(200_000);
    let command = json!({"command": ["/bin/echo", long]});
    let Some(house) = installed(|tar| tar, command) else { return };
    let complaint = house.fails_elsewhere(126, ["run", "--rm", "web"]);
    one_clear_error(&complaint, &["/bin/echo", "too long"]);
    assert!(complaint.len() < 2000, "all of it is not repeated: {} bytes", complaint.len());
    // As much as can be given to us can be given on.
    let piece = "y".repeat(100_000);
    let many: Vec<&str> =
        ["run", "--rm", "web", "/bin/echo"].into_iter().chain([piece.as_str(); 15]).collect();
    assert_eq!(house.ok_elsewhere(&many).len(), 15 * 100_001);
    house.ok_elsewhere(["run", "-d", "--name", "one", "web", "/bin/sleep", "1000"]);
    let many: Vec<&str> = ["exec", "one", "/bin/echo"].into_iter().chain([piece.as_str(); 15]).collect();
    assert_eq!(house.ok_elsewhere(&many).len(), 15 * 100_001);
    // Together with the package's environment it is too much.
    let env: BTreeMap<String, String> = (0..8).map(|number| (format!("V{number}"), piece.clone())).collect();
    let Some(house) = installed(|tar| tar, json!({"env": env})) else { return };
    let many: Vec<&str> =
        ["run", "--rm", "web", "/bin/echo"].into_iter().chain([piece.as_str(); 15]).collect();
    one_clear_error(&house.fails_elsewhere(126, &many), &["/bin/echo", "too long"]);
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
}

/// A first process that never waits for its children: 2,000 of them end at once, and 50 more leave
/// its session for one of their own and ignore every request.
const BAD_PARENT: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    signal(SIGTERM, SIG_IGN);
    int zombies = 0;
    for (int i = 0; i < 2000; i++) {
        int pid = fork();
        if (pid == 0) _exit(0);
        if (pid > 0) zombies++;
    }
    for (int i = 0; i < 50; i++) {
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                setsid();
                signal(SIGTERM, SIG_IGN); signal(SIGHUP, SIG_IGN); signal(SIGINT, SIG_IGN);
                for (;;) pause();
            }
            _exit(0);
        }
    }
    printf("%d zombies\n", zombies);
    fflush(stdout);
    for (;;) pause();
}
"#;

#[test]
fn fault_f12_zombies_and_orphans_end_with_their_container() {
    if !have(&["busybox", "gcc"]) {
        return;
    }
    let workshop = House::new();
    let program = compile(&workshop, "parent", BAD_PARENT, &["-static"]);
    let program = std::fs::read(program).expect("program");
    let Some(house) = installed(|tar| file(tar, "bin/parent", &program, 0o755), json!({})) else { return };
    for verb in [&["stop", "-t", "1", "bad"][..], &["kill", "bad"], &["rm", "-f", "bad"]] {
        house.ok_elsewhere(["run", "-d", "--name", "bad", "--pids-limit", "2048", "web", "/bin/parent"]);
        until("it has made them", || house.ok_elsewhere(["logs", "bad"]) == "2000 zombies\n");
        let pids: Vec<u64> = pids_of(&house);
        assert!(pids.len() > 2000, "{}", pids.len());
        house.ok_elsewhere(verb);
        until("nobody is left", || pids.iter().all(|pid| !belongs(*pid)));
        if verb[0] != "rm" {
            until("it has ended", || house.ok_elsewhere(["ps", "-a"]).contains("exited (137)"));
            house.ok_elsewhere(["rm", "bad"]);
        }
    }
}

/// The processes of the only container, as the host sees them.
fn pids_of(house: &House) -> Vec<u64> {
    let rows = house.json_elsewhere(["ps", "--format", "json"]);
    let first = rows[0]["pid"].as_u64().expect("a pid");
    let space = |pid: u64| std::fs::read_link(format!("/proc/{pid}/ns/pid_for_children")).ok();
    let children = |pid: u64| {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).collect::<Vec<_>>()
    };
    assert!(space(first).is_some());
    let mut all = vec![first];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        all.extend(children(pid));
        at += 1;
    }
    all
}

/// Whether this is (still) a process of that program, a zombie included.
fn belongs(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "parent")
}

fn hashes() -> Vec<Vec<u8>> {
    let tsubo = PathBuf::from(env!("CARGO_BIN_EXE_tsubo"));
    let programs = [tsubo.with_file_name("tsubo-keeper"), tsubo, "/bin/sh".into()];
    programs.iter().map(|path| Sha256::digest(std::fs::read(path).expect("program")).to_vec()).collect()
}

#[test]
fn attack_20_the_programs_of_the_host_are_out_of_reach() {
    // Whoever gets hold of our program through /proc, from the first process or from one that joins,
    // would write this over it.
    let evil = "#!/bin/sh\necho owned\n";
    let more = |tar: crate::support::forge::Tar| {
        let tar = file(tar, "bin/through", b"#!/proc/self/exe\n", 0o755);
        let tar = file(tar, "evil", evil.as_bytes(), 0o755);
        tar.symlink("bin/again", "/proc/self/exe")
    };
    let Some(house) = installed(more, json!({"writable": ["/tmp"]})) else { return };
    let before = hashes();
    let writes = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do for p in /proc/[0-9]*/exe /proc/[0-9]*/fd/*; do \
                  case $(readlink $p) in *tsubo*|*memfd*) echo seen $p; (cat /evil > $p) 2>/dev/null && echo written $p;; esac; done; done; echo tried";
    for command in [&["/proc/self/exe"][..], &["/bin/through"], &["/bin/again"], &["/proc/1/exe"]] {
        let args = ["run", "--rm", "web"].iter().chain(command);
        let output = ended(
            house.command_elsewhere(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run"),
            "a container that asks for our program",
        );
        // It may get to execute it, as what it is inside: nobody.
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
        assert_eq!(hashes(), before, "{command:?}");
    }
    until("they are gone", || house.json_elsewhere(["ps", "-a", "--format", "json"]) == json!([]));
    let said = house.ok_elsewhere(["run", "--rm", "web", "/bin/sh", "-c", writes]);
    assert_eq!(said, "tried\n");
    // While others join it.
    let forever = format!("while :; do {writes}; done");
    house.ok_elsewhere(["run", "-d", "--name", "evil", "web", "/bin/sh", "-c", &forever]);
    for command in
        ["/bin/true", "/proc/self/exe", "/bin/through", "/bin/again", "/bin/true"].iter().cycle().take(25)
    {
        let output = house.command_elsewhere(["exec", "evil", command]).output().expect("exec");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    }
    let said = house.ok_elsewhere(["logs", "evil"]);
    assert!(!said.contains("written") && said.contains("tried"), "{said}");
    house.ok_elsewhere(["rm", "-f", "evil"]);
    assert_eq!(hashes(), before);
    assert_eq!(house.ok_elsewhere(["run", "--rm", "web"]), "it ran\n");
}

#[test]
fn attack_8_no_capability_is_inheritable_whatever_the_caller_has() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let look = "grep -E '^Cap(Inh|Amb)' /proc/self/status";
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    let given = "setpriv --inh-caps +chown,+net_raw,+sys_admin --ambient-caps +chown,+sys_admin --";
    assert_eq!(says(&house, &format!("exec {given} $T run --rm web /bin/sh -c \"{look}\"")), none);
    house.ok_elsewhere(["run", "-d", "--name", "one", "web", "/bin/sleep", "1000"]);
    assert_eq!(says(&house, &format!("exec {given} $T exec one /bin/sh -c \"{look}\"")), none);
    // Nor when the keeper was started so.
    says(&house, &format!("exec {given} $T run -d --name two web /bin/sleep 1000"));
    assert_eq!(house.ok_elsewhere(["exec", "two", "/bin/sh", "-c", look]), none);
}

#[test]
fn attack_21_no_descriptor_of_the_caller_or_of_ours_gets_in() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let open = "exec 3</ 4</etc 7</etc/shadow 9>>lock";
    // The fourth is the directory that is being listed.
    let look = "/bin/sh -c 'ls /proc/self/fd | tr \"\\n\" \" \"; ls -l /proc/1/fd | grep -c -v -E \"/dev/null|pipe:|total\"'";
    let [run, exec] = ["run --rm web", "exec one"].map(|verb| format!("{open}; exec $T {verb} {look}; true"));
    says(&house, &format!("{open}; $T run -d --name one web /bin/sleep 1000"));
    assert_eq!(script(&house, &exec).stdout, b"0 1 2 3 0\n");
    assert_eq!(String::from_utf8_lossy(&script(&house, &run).stdout).get(..8), Some("0 1 2 3 "));
}

#[test]
fn a_keeper_holds_nothing_of_who_started_it() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    // The usual idiom of a script that must run only once, and a pipe that somebody reads to its end.
    let text =
        "exec 9>lock; flock 9; ($T run -d --name one web) 3>&1 | cat; exec 9>&-; flock -n lock echo free";
    assert_eq!(says(&house, text), "one\nfree\n");
}

#[test]
fn volumes_go_when_that_is_asked_for() {
    let Some(house) = installed(|tar| tar.dir("data/"), json!({"volumes": ["/data"]})) else { return };
    let count = "echo line >> /data/lines; wc -l < /data/lines";
    let run = |options: &[&str]| {
        let start = ["run", "--name", "db"].iter().chain(options);
        house.ok_elsewhere(start.chain(&["web", "/bin/sh", "-c", count]))
    };
    assert_eq!(run(&[]), "1\n");
    house.ok_elsewhere(["rm", "db"]);
    assert_eq!(run(&[]), "2\n", "they outlive the container");
    house.ok_elsewhere(["rm", "--volumes", "db"]);
    assert_eq!(run(&["--rm"]), "1\n", "they are gone");
    // Of a container that went by itself.
    assert_eq!(run(&["--rm"]), "2\n");
    house.ok_elsewhere(["rm", "-v", "db"]);
    one_clear_error(&house.fails_elsewhere(125, ["rm", "--volumes", "db"]), &["db"]);
    one_clear_error(&house.fails_elsewhere(125, ["rm", "--volumes", "../images"]), &[]);
    house.ok_elsewhere(["run", "-d", "--name", "db", "web", "/bin/sleep", "1000"]);
    one_clear_error(&house.fails_elsewhere(125, ["rm", "--volumes", "db"]), &["db", "running"]);
    assert_eq!(house.ok_elsewhere(["exec", "db", "/bin/ls", "-d", "/data"]), "/data\n");
    house.ok_elsewhere(["rm", "-f", "--volumes", "db"]);
    let left: Vec<_> =
        std::fs::read_dir(house.elsewhere().join("volumes")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn several_names_are_all_tried() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    for name in ["a", "b"] {
        house.ok_elsewhere(["run", "-d", "--name", name, "web"]);
    }
    let complaint = house.fails_elsewhere(125, ["rm", "-f", "a", "nobody", "b"]);
    one_clear_error(&complaint, &["nobody"]);
    assert_eq!(house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
    succeed(house.command_elsewhere(["gc"]));
}
