//! The screen of `tsubo top`.

use std::path::Path;

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::{House, one_clear_error, shell};
use crate::terminal::Person;

/// A house with a container that is busy and one that is not; None where the screen was not built.
fn house() -> Option<House> {
    if !Path::new(env!("CARGO_BIN_EXE_tsubo")).with_file_name("tsubo-top").is_file() {
        eprintln!("SKIPPED: tsubo-top is not built: cargo build -p tsubo-top (in the same profile)");
        return None;
    }
    let house = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]}))?;
    house.ok_elsewhere(["run", "-d", "--name", "worker", "web", "/bin/sh", "-c", "while :; do :; done"]);
    house.ok_elsewhere(["run", "-d", "--name", "sleeper", "web"]);
    Some(house)
}

const ENTERED: &str = "\x1b[?1049h";
const LEFT: &str = "\x1b[?1049l";

#[test]
fn keys_lead_from_the_list_to_one_and_back_and_out() {
    let Some(house) = house() else { return };
    let mut person = Person::types(house.command_elsewhere(["top"]));
    person.sees(ENTERED);
    person.sees("2 containers");
    person.sees("sort by cpu");
    // From the name that is first in the alphabet to the next.
    person.says("n\x1b[B");
    person.says("\r");
    // Only what changes is drawn: blanks that were there are not.
    person.sees("held");
    for (rows, columns) in [(6, 20), (1, 1), (50, 200), (24, 80)] {
        person.resizes(rows, columns);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    person.sees("held");
    person.says("\x7f");
    person.sees("NAME");
    person.says("q");
    person.sees(LEFT);
    person.ends_with(0);
}

#[test]
fn whoever_is_told_to_end_puts_the_terminal_back() {
    let Some(house) = house() else { return };
    for signal in ["TERM", "HUP", "INT"] {
        let mut person = Person::types(house.command_elsewhere(["top"]));
        person.sees("sort by cpu");
        shell(&format!("kill -{signal} {}", person.pid()));
        person.sees(LEFT);
        person.ends_with(0);
    }
}

#[test]
fn without_a_terminal_it_says_what_there_is_instead() {
    let Some(house) = house() else { return };
    one_clear_error(&house.fails_elsewhere(125, ["top"]), &["terminal", "tsubo stats"]);
    one_clear_error(&house.fails_elsewhere(125, ["top", "--format", "json"]), &["tsubo stats"]);
    let program = Path::new(env!("CARGO_BIN_EXE_tsubo")).with_file_name("tsubo-top");
    let output =
        std::process::Command::new(program).stdin(std::process::Stdio::null()).output().expect("run");
    assert_eq!(output.status.code(), Some(125));
    one_clear_error(&String::from_utf8_lossy(&output.stderr), &["terminal", "tsubo stats"]);
}
