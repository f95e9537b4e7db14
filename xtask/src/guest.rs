//! `./x guest [WORD…]`: our tests on the distribution's own kernel, with control groups of version 2 only
//! and AppArmor, in a virtual machine: what no kernel that happens to run here can show.

mod boot;
mod compiler;
mod cpio;
mod fetch;
mod image;
mod kernel;
mod programs;
mod results;
mod suites;

use std::time::Instant;

use crate::apt;
use crate::shell::{self, Result};
use crate::test::{self, Outcome};

/// By hand: `words` choose tests by their names.
pub(crate) fn run(words: &[String]) -> Result {
    apt::ensure(apt::TESTS);
    outcome(words)?.tell()
}

/// The same as a part of all tests. What cannot be had here is skipped loudly.
pub(crate) fn outcome(words: &[String]) -> Result<Outcome> {
    println!("== guest");
    let begun = Instant::now();
    let kernel = match ready() {
        Ok(kernel) => kernel,
        Err(reason) => return Ok(skipped(&reason.to_string())),
    };
    test::programs()?;
    let jobs = suites::find(words)?;
    if jobs.is_empty() {
        return Err("no test of the guest has that in its name".into());
    }
    let image = image::build(&kernel, &jobs)?;
    println!(
        "    guest: {} tests with {} after {:.0} s",
        jobs.len(),
        kernel.release,
        begun.elapsed().as_secs_f64()
    );
    let mut results = results::Results::of(&jobs);
    let ran = boot::run(&kernel, &image, &mut results);
    shell::unless_interrupted()?;
    let mut outcome = results.outcome(begun.elapsed().as_secs_f64());
    if let Err(error) = ran {
        outcome.summary += &format!("\n{error}");
        outcome.passed = false;
    }
    Ok(outcome)
}

/// Fetches what can be had before anything is built; what cannot is told when it is missed.
pub(crate) fn fetch_beforehand() {
    if std::env::consts::ARCH == "x86_64" {
        let _ = kernel::Kernel::find();
    }
}

/// The kernel, once everything else is there too.
fn ready() -> Result<kernel::Kernel> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("it is for x86_64".into());
    }
    apt::ensure(apt::GUEST);
    for program in [boot::QEMU, "mke2fs", "busybox"] {
        if !shell::has(program) {
            return Err(format!("there is no {program}").into());
        }
    }
    kernel::Kernel::find()
}

fn skipped(reason: &str) -> Outcome {
    let reason = reason.lines().next().unwrap_or_default();
    let line = format!("guest: SKIPPED: no test ran on another kernel: {reason}");
    println!("{line}");
    Outcome { skipped: vec![line], summary: "Guest: not run".into(), passed: true }
}
