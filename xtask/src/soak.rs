//! `./x soak [N]`: every fault test N times, with dated counts in docs/soak.md.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use cargo_metadata::Message;

use crate::shell::{self, Result};
use crate::{apt, house, table, test};

/// Tests whose last part starts so put a fault somewhere and look at what is left.
const MARK: &str = "fault_";

/// Runs them, one process each, and records the counts; a failure does not end the soak.
pub(crate) fn run(args: &[String]) -> Result {
    let times: u32 =
        args.first().map_or(Ok(200), |n| n.parse().map_err(|_| format!("{n:?} is not a number")))?;
    apt::ensure(apt::TESTS);
    test::programs()?;
    let tests = find()?;
    if tests.is_empty() {
        return Err(format!("no test's name starts with {MARK}").into());
    }
    let counts: Vec<Count> = tests.iter().map(|t| repeat(t, times)).collect::<Result<_>>()?;
    record(times, &counts)?;
    let failed: u32 = counts.iter().map(|c| c.failed).sum();
    if failed == 0 { Ok(()) } else { Err(format!("{failed} failures").into()) }
}

/// One test: the binary that holds it, its name there, and the directory it runs in.
struct Test {
    binary: PathBuf,
    name: String,
    package: PathBuf,
}

struct Count {
    name: String,
    passed: u32,
    failed: u32,
    skipped: u32,
    seconds: f64,
}

fn find() -> Result<Vec<Test>> {
    let mut build = house::cargo(&["test", "--workspace", "--no-run", "--quiet", "--message-format=json"])?;
    let messages = shell::read(&mut build)?;
    let mut tests = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        let (Some(binary), true) = (artifact.executable, artifact.profile.test) else { continue };
        let package = artifact.manifest_path.parent().ok_or("a manifest without a directory")?;
        let listed = shell::read(Command::new(&binary).args(["--list", "--format", "terse"]))?;
        let names = listed.lines().filter_map(|l| l.strip_suffix(": test"));
        let faults = names.filter(|n| n.rsplit("::").next().is_some_and(|last| last.starts_with(MARK)));
        tests.extend(faults.map(|n| Test {
            binary: binary.clone().into(),
            name: n.to_owned(),
            package: package.into(),
        }));
    }
    Ok(tests)
}

fn repeat(test: &Test, times: u32) -> Result<Count> {
    let began = Instant::now();
    let mut count = Count { name: test.name.clone(), passed: 0, failed: 0, skipped: 0, seconds: 0.0 };
    for _ in 0..times {
        let mut command = Command::new(&test.binary);
        command.args(["--exact", &test.name, "--nocapture"]).current_dir(&test.package).stdin(Stdio::null());
        let done = command.env("CARGO_MANIFEST_DIR", &test.package).output()?;
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        match (done.status.success(), said.contains("SKIPPED:")) {
            (true, false) => count.passed += 1,
            (true, true) => count.skipped += 1,
            (false, _) => {
                count.failed += 1;
                println!("{} failed:\n{said}", test.name);
            }
        }
    }
    count.seconds = began.elapsed().as_secs_f64();
    println!(
        "{:<60} {:>5} passed {:>4} failed {:>4} skipped",
        count.name, count.passed, count.failed, count.skipped
    );
    Ok(count)
}

fn record(times: u32, counts: &[Count]) -> Result {
    let mut rows = vec![["fault", "passed", "failed", "skipped", "seconds"].map(str::to_owned).to_vec()];
    for c in counts {
        let numbers = [c.passed, c.failed, c.skipped].map(|n| n.to_string());
        rows.push(
            [vec![format!("`{}`", c.name)], numbers.to_vec(), vec![format!("{:.0}", c.seconds)]].concat(),
        );
    }
    let date = shell::read(Command::new("date").args(["-u", "+%F %H:%M UTC"]))?;
    let kernel = shell::read(Command::new("uname").arg("-r"))?;
    let mut file = OpenOptions::new().create(true).append(true).open(house::top().join("docs/soak.md"))?;
    let head = format!("\n## {}: each {times} times, kernel {}\n\n", date.trim(), kernel.trim());
    Ok(writeln!(file, "{head}{}", table::markdown(&rows))?)
}
