//! `./x lint`: what is checked before any test runs.

use crate::shell::{self, Result};
use crate::{floors, house};

const SCRIPTS: &[&str] = &["x", ".ci/run"];

/// Format, clippy with warnings denied, floors, and the shell scripts.
pub(crate) fn run(_args: &[String]) -> Result {
    println!("== fmt");
    shell::run(&mut house::cargo(&["fmt", "--all", "--check"])?)?;
    println!("== clippy");
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell::run(&mut house::cargo(&clippy)?)?;
    println!("== floors");
    floors::run(&[])?;
    println!("== scripts");
    scripts()
}

fn scripts() -> Result {
    if !shell::has("shellcheck") {
        println!("SKIPPED: there is no shellcheck");
        return Ok(());
    }
    let bench = std::fs::read_dir(house::top().join("bench/services"));
    let more = bench
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "sh"));
    let mut check = std::process::Command::new("shellcheck");
    shell::run(check.current_dir(house::top()).args(SCRIPTS).args(more))
}
