//! `./x lint`: what is checked before any test runs.

use std::process::Command;

use crate::shell::{self, Result};
use crate::{floors, house};

/// Format, clippy with warnings denied, floors, and the shell scripts.
pub(crate) fn run(_args: &[String]) -> Result {
    sources()?;
    scripts()?;
    println!("== clippy");
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell::run(&mut house::cargo(&clippy)?)
}

/// What nothing needs to be compiled for; clippy comes with the build of the tests.
pub(crate) fn sources() -> Result {
    println!("== fmt");
    shell::run(&mut house::cargo(&["fmt", "--all", "--check"])?)?;
    println!("== floors");
    floors::run(&[])
}

/// The shell scripts.
pub(crate) fn scripts() -> Result {
    println!("== scripts");
    if !shell::has("shellcheck") {
        println!("SKIPPED: there is no shellcheck");
        return Ok(());
    }
    let tracked = shell::read(
        Command::new("git").args(["ls-files", "x", ".ci/run", "*.sh"]).current_dir(house::top()),
    )?;
    shell::run(Command::new("shellcheck").arg("-x").args(tracked.lines()).current_dir(house::top()))
}
