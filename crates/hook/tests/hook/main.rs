//! The program itself: what goes in, what comes out, and that nothing of it stays.

mod definitions;
mod examples;
mod firing;
mod programs;
mod reach;
mod tls;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// The program, with what it said.
struct Said {
    code: i32,
    out: String,
    error: String,
}

fn hook(arguments: &[&str], input: &str, directory: &Path) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tsubo-hook"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.env("TOLD", "yes").env("SECRET", "no");
    let mut child = command.spawn().expect("the program");
    child.stdin.take().expect("input").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("its end");
    Said {
        code: output.status.code().expect("a code"),
        out: String::from_utf8(output.stdout).expect("text"),
        error: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A firing of a script `hooks.luau` with the function `it`.
fn script(text: &str) -> Value {
    firing(
        json!({ "script": { "file": "hooks.luau", "function": "it", "definition": false } }),
        json!({ "hooks.luau": text }),
    )
}

/// A script of which only the inside of the function is given.
fn inside(text: &str) -> Value {
    script(&format!("return {{ it = function(ctx)\n{text}\nend }}"))
}

fn firing(act: Value, files: Value) -> Value {
    json!({
        "version": 1,
        "hook": { "name": "grow", "when": "every 30s", "act": act, "timeout": 5000, "on_error": "warn", "memory": 33_554_432 },
        "container": { "id": "0123456789ab", "name": "web", "image": "web", "status": "running", "pid": 1,
            "lib": "/nonexistent/lib", "run": "/nonexistent/run" },
        "files": files,
        "facts": "{\"host\":{\"memory\":1024},\"flags\":{\"size\":\"64M\"}}",
    })
}

/// Fires, and gives the outcome.
fn fire(firing: &Value) -> Value {
    let said = hook(&["fire"], &firing.to_string(), Path::new("/"));
    assert_eq!(said.code, 0, "{}", said.error);
    serde_json::from_str(&said.out).unwrap_or_else(|cause| panic!("{cause}: {:?}", said.out))
}

/// The verdict in one word, and why.
fn verdict(outcome: &Value) -> (&str, &str) {
    let verdict = &outcome["verdict"];
    (verdict["is"].as_str().expect("a word"), verdict["why"].as_str().unwrap_or_default())
}

/// What a script says that fails.
fn failure(firing: &Value) -> String {
    let outcome = fire(firing);
    let (word, why) = verdict(&outcome);
    assert_eq!(word, "failed", "{outcome}");
    why.to_owned()
}
