//! Firings of programs: they get the state, say no by their code, and nothing of them stays.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{fire, firing, verdict};

fn shell(text: &str) -> Value {
    firing(json!({ "program": ["/bin/sh", "-c", text] }), json!({}))
}

#[test]
fn the_state_comes_as_to_hooks_of_oci() {
    let outcome = fire(&shell("cat; echo said >&2"));
    assert_eq!(verdict(&outcome), ("done", ""));
    let log = outcome["log"].as_array().expect("lines");
    let state: Value = serde_json::from_str(log[0].as_str().expect("text")).expect("JSON");
    assert_eq!(
        (&state["ociVersion"], &state["id"], &state["status"], &state["pid"]),
        (&json!("1.2.0"), &json!("0123456789ab"), &json!("running"), &json!(1))
    );
    assert_eq!(state["tsubo"]["hook"]["when"], "every 30s");
    assert_eq!(log[1], "said");
}

#[test]
fn its_code_says_how_it_went() {
    assert_eq!(verdict(&fire(&shell("echo one >&2; echo two >&2; exit 3"))), ("failed", "exit code 3: two"));
    let mut own = shell("echo not today >&2; exit 1");
    own["hook"]["when"] = json!("before start");
    assert_eq!(verdict(&fire(&own)), ("failed", "exit code 1: not today"));
    own["hook"]["on_error"] = json!("abort");
    assert_eq!(verdict(&fire(&own)), ("veto", "not today"));
    let missing = fire(&firing(json!({ "program": ["/nonexistent"] }), json!({})));
    assert!(verdict(&missing).1.contains("executing /nonexistent"), "{missing}");
    assert_eq!(verdict(&fire(&shell("kill -9 $$"))), ("failed", "exit code 137"));
}

#[test]
fn one_that_hangs_or_does_not_read_is_ended() {
    let mut own = shell("sleep 1000");
    own["hook"]["timeout"] = json!(200);
    own["detail"] = json!({ "much": "x".repeat(1 << 20) });
    assert_eq!(verdict(&fire(&own)), ("overdue", "/bin/sh took longer than 200 ms"));
    let outcome = fire(&shell("head -c 10000000 /dev/zero | tr '\\0' 'x' | fold -w 1000; exec 0<&-"));
    assert_eq!(verdict(&outcome).0, "done");
    assert!(outcome["log"].to_string().len() < 20_000);
}

#[test]
fn nothing_that_it_leaves_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let list = folder.path().join("pids");
    let script = format!(
        "for i in 1 2 3; do setsid sh -c 'echo $$ >> {0}; trap \"\" TERM HUP; (sleep 1000 & echo $! >> {0}; wait)' & done; \
         (setsid sh -c '(setsid sh -c \"echo \\$\\$ >> {0}; sleep 1000\" &) &' &); while [ $(wc -l < {0} || echo 0) -lt 7 ]; do :; done; exit 0",
        list.display()
    );
    assert_eq!(verdict(&fire(&shell(&script))), ("done", ""));
    all_gone(&list, 7);
}

/// A program that leaves some, and hangs.
fn leaver(list: &Path) -> String {
    format!(
        "setsid sh -c 'echo $$ >> {0}; (setsid sh -c \"echo \\$\\$ >> {0}; sleep 1000\" &) & sleep 1000' & echo $$ >> {0}; sleep 1000",
        list.display()
    )
}

#[test]
fn nothing_stays_where_the_kernel_ends_us() {
    let folder = tempfile::tempdir().expect("folder");
    let list = folder.path().join("pids");
    let text = format!(
        "pcall(run, {{ '/bin/sh', '-c', [==[{}]==] }}, {{ timeout = 0.7 }}) log('on') while true do end",
        leaver(&list)
    );
    let mut own = crate::inside(&text);
    own["allow"] = json!({ "run": ["/bin/sh"] });
    own["hook"]["timeout"] = json!(1000);
    assert_eq!(verdict(&fire(&own)).0, "overdue");
    all_gone(&list, 3);
}

#[test]
fn nothing_stays_where_the_hook_is_killed() {
    let folder = tempfile::tempdir().expect("folder");
    let list = folder.path().join("pids");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tsubo-hook"));
    command.arg("fire").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut child = command.spawn().expect("the program");
    let told = shell(&leaver(&list)).to_string();
    std::io::Write::write_all(&mut child.stdin.take().expect("input"), told.as_bytes()).expect("written");
    let begun = || std::fs::read_to_string(&list).is_ok_and(|text| text.lines().count() >= 3);
    for _ in 0..500 {
        if begun() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("killed");
    child.wait().expect("waited");
    all_gone(&list, 3);
}

fn all_gone(list: &Path, count: usize) {
    let pids = std::fs::read_to_string(list).expect("list");
    assert!(pids.lines().count() >= count, "{pids}");
    for pid in pids.lines() {
        // What was killed may still be on its way out.
        let gone = || !Path::new("/proc").join(pid).join("exe").exists();
        for _ in 0..100 {
            if gone() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(gone(), "{pid} is there");
    }
}

#[test]
fn what_follows_ends_where_it_fails_and_is_undone() {
    let folder = tempfile::tempdir().expect("folder");
    let say = |word: &str, end: &str| json!(["/bin/sh", "-c", format!("echo {word} >> said; {end}")]);
    let own = shell("true");
    let asked = json!({ "hook": own["hook"], "container": own["container"], "steps": [
        { "run": say("one", "true"), "or": [say("never", "true")] },
        { "run": say("two", "echo why >&2; exit 3"), "or": [say("back", "false"), say("again", "true")] },
        { "run": say("three", "true"), "or": [] },
    ] });
    let said = crate::hook(&["follow-up"], &asked.to_string(), folder.path());
    assert!(said.code != 0 && said.error.contains("exit status: 3: why"), "{}", said.error);
    let order = std::fs::read_to_string(folder.path().join("said")).expect("said");
    assert_eq!(order, "one\ntwo\nback\nagain\n");
}
