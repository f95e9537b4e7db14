//! `./x test`: lint, then every test; what was skipped is said once more at the end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::house;
use crate::shell::{self, Result};
use crate::{apt, guest, junit, lint};

/// `args` go to the test runner, so `./x test pack_` runs the tests with that in their name
/// (and leaves out the lint and the guest); `--no-guest` leaves out the guest only.
pub(crate) fn run(args: &[String]) -> Result {
    let (no_guest, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|arg| arg == "--no-guest");
    let all = args.is_empty();
    if all {
        lint::sources()?;
    }
    let with_guest = all && no_guest.is_empty();
    ready(with_guest)?;
    if all {
        lint::scripts()?;
    }
    println!("== test");
    let nextest = shell::has("cargo-nextest");
    let words: &[&str] = if nextest { &["nextest", "run"] } else { &["test", "--no-fail-fast"] };
    let mut command = house::cargo_linting(words)?;
    command.arg("--workspace").args(&args);
    let outcome = if nextest { with_nextest(&mut command) } else { with_cargo(&mut command) }?;
    if with_guest {
        return outcome.and(guest()).tell();
    }
    outcome.tell()
}

/// Builds, and installs what the tests need beside that: together it takes half a minute less on a fresh machine.
/// Where sudo may ask for a password, it asks first.
fn ready(with_guest: bool) -> Result {
    let needs = [apt::TESTS, apt::ENGINES, if with_guest { apt::GUEST } else { &[] }].concat();
    let root = shell::is_root();
    if !root {
        apt::ensure(&needs);
    }
    println!("== build and clippy");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if root {
                apt::ensure(&needs);
            }
            if with_guest {
                guest::fetch_beforehand();
            }
        });
        programs().map_err(|error| error.to_string())
    })?;
    Ok(())
}

/// The last part of all tests. What kept it from running is told with the results of the others.
fn guest() -> Outcome {
    guest::outcome(&[]).unwrap_or_else(|error| Outcome {
        skipped: Vec::new(),
        summary: format!("Guest: {error}"),
        passed: false,
    })
}

/// The tests run the programs as a person would, the keeper lying beside `tsubo`. The tests are built
/// with them: for the programs alone cargo would choose other features of what both use, and build that
/// twice.
pub(crate) fn programs() -> Result {
    shell::run(&mut house::cargo_linting(&["build", "--quiet", "--workspace", "--all-targets"])?)
}

/// What came of a run of tests.
pub(crate) struct Outcome {
    /// The lines by which tests said that they did not run.
    pub(crate) skipped: Vec<String>,
    /// The runner's own closing line, to be the last one here too.
    pub(crate) summary: String,
    /// Whether all passed.
    pub(crate) passed: bool,
}

impl Outcome {
    /// Both as one.
    fn and(mut self, other: Self) -> Self {
        self.skipped.extend(other.skipped);
        let summary = format!("{}\n{}", self.summary, other.summary);
        Self { summary, passed: self.passed && other.passed, ..self }
    }

    /// Says once more what was skipped, and sums up.
    pub(crate) fn tell(self) -> Result {
        println!("== {} SKIPPED", self.skipped.len());
        for line in &self.skipped {
            println!("  {line}");
        }
        println!("{}", self.summary);
        if self.passed { Ok(()) } else { Err("a test failed".into()) }
    }
}

fn with_nextest(command: &mut Command) -> Result<Outcome> {
    // nextest keeps this in the workspace, wherever cargo builds to; an older run's is no use.
    let report = house::top().join("target/nextest/default/junit.xml");
    let _ = fs::remove_file(&report);
    let (lines, passed) = tee(command.stderr(Stdio::piped()), |child| child.stderr.take())?;
    // A run without its report must not read as one that skipped nothing.
    let xml = fs::read_to_string(&report)
        .map_err(|e| format!("the tests did not run, or left no report in {}: {e}", report.display()))?;
    let summary = lines.into_iter().rfind(|l| l.contains("Summary [")).ok_or("nextest gave no summary")?;
    Ok(Outcome { skipped: junit::skipped(&xml), summary: summary.trim().to_owned(), passed })
}

fn with_cargo(command: &mut Command) -> Result<Outcome> {
    let command = command.args(["--", "--show-output"]).stdout(Stdio::piped());
    let (lines, passed) = tee(command, |child| child.stdout.take())?;
    let skipped = lines.iter().filter(|l| l.contains("SKIPPED:")).cloned().collect();
    Ok(Outcome { skipped, summary: sum(&lines), passed })
}

/// Adds up the closing lines of cargo's test binaries, in the same form.
fn sum(lines: &[String]) -> String {
    let count = |what: &str| -> u64 {
        let results = lines.iter().filter(|l| l.starts_with("test result:"));
        let before = results.filter_map(|l| l.split(what).next()?.rsplit(' ').next()?.parse::<u64>().ok());
        before.sum()
    };
    let (passed, failed, ignored) = (count(" passed;"), count(" failed;"), count(" ignored;"));
    let word = if failed == 0 { "ok" } else { "FAILED" };
    format!("test result: {word}. {passed} passed; {failed} failed; {ignored} ignored")
}

/// Runs `command`, shows one of its streams as it comes, and returns that stream's lines.
fn tee<R: std::io::Read>(
    command: &mut Command,
    stream: impl Fn(&mut std::process::Child) -> Option<R>,
) -> Result<(Vec<String>, bool)> {
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", shell::show(command)))?;
    let mut lines = Vec::new();
    if let Some(stream) = stream(&mut child) {
        for line in BufReader::new(stream).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            writeln!(std::io::stdout(), "{line}")?;
            lines.push(line);
        }
    }
    Ok((lines, child.wait()?.success()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_of_several_binaries_add_up() {
        let lines = [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "noise",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(super::sum(&lines), "test result: FAILED. 7 passed; 2 failed; 1 ignored");
    }
}
