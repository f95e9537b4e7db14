//! `./x soak [N] [--minutes M] [--only WORD]… [--record]`: every test of an attack, a lesson or a fault
//! up to N times, how often it really ran and what it left, dated; with `--record` in the page
//! about security, otherwise in docs/soak.md. `--list` only writes which test tries what.

mod ground;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cargo_metadata::Message;

use crate::attacks::{self, PAGE};
use crate::shell::{self, Result};
use crate::{apt, house, table, test};

use ground::Ground;

/// Tests whose last part starts so try what went wrong elsewhere, and look at what is left.
const MARKS: [&str; 4] = ["fault_", "attack_", "attacks_", "lesson_"];
/// Where the counts stand in the page.
const COUNTS: [&str; 2] = ["<!-- counts -->", "<!-- /counts -->"];
/// The slowest takes a tenth of it on a busy machine: beyond that it hangs.
const LONGEST: Duration = Duration::from_secs(900);

/// Runs them, one process each, and records the counts; a failure does not end the soak, and an
/// interrupt or the end of the time loses nothing that was counted.
pub(crate) fn run(args: &[String]) -> Result {
    let wish = Wish::parse(args)?;
    if wish.list {
        return attacks::write();
    }
    apt::ensure(apt::TESTS);
    test::programs()?;
    let mut counts: Vec<Count> = find()?.into_iter().filter(|t| wish.wants(t)).map(Count::new).collect();
    if counts.is_empty() {
        return Err(format!("no such test's name starts with one of {MARKS:?}").into());
    }
    let end = wish.minutes.map(|m| Instant::now() + Duration::from_secs(60 * m));
    while let Some(count) = next(&mut counts, wish.rounds) {
        if shell::interrupted() || end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        count.round()?;
    }
    record(&wish, &counts)?;
    let sum = |of: fn(&Count) -> u32| counts.iter().map(of).sum::<u32>();
    match (sum(|c| c.failed), sum(|c| c.leaks)) {
        (0, 0) => Ok(()),
        (failed, leaks) => Err(format!("{failed} failures, {leaks} rounds that left something").into()),
    }
}

struct Wish {
    rounds: u32,
    minutes: Option<u64>,
    only: Vec<String>,
    record: bool,
    list: bool,
}

impl Wish {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wish = Self { rounds: 200, minutes: None, only: Vec::new(), record: false, list: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--minutes" => wish.minutes = Some(number(value()?)?.into()),
                "--record" => wish.record = true,
                "--list" => wish.list = true,
                "--only" => wish.only.push(value()?.clone()),
                rounds => wish.rounds = number(rounds)?,
            }
        }
        Ok(wish)
    }

    fn wants(&self, test: &Test) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| test.name.contains(word))
    }
}

fn number(text: &str) -> Result<u32> {
    Ok(text.parse().map_err(|_| format!("{text:?} is not a number"))?)
}

/// Of the tests that have rounds to go, the one that had the least time: the quick ones get all
/// their rounds early, and the slow ones share what is left.
fn next(counts: &mut [Count], rounds: u32) -> Option<&mut Count> {
    let open = counts.iter_mut().filter(|c| c.done() < rounds);
    open.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

/// One test: the binary that holds it, its name there, and the directory it runs in.
struct Test {
    binary: PathBuf,
    name: String,
    package: PathBuf,
}

struct Count {
    test: Test,
    passed: u32,
    failed: u32,
    skipped: u32,
    /// Rounds after which something was left.
    leaks: u32,
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
        let wanted = |last: &str| MARKS.iter().any(|mark| last.starts_with(mark));
        let faults = names.filter(|n| n.rsplit("::").next().is_some_and(wanted));
        tests.extend(faults.map(|n| Test {
            binary: binary.clone().into(),
            name: n.to_owned(),
            package: package.into(),
        }));
    }
    Ok(tests)
}

impl Count {
    fn new(test: Test) -> Self {
        Self { test, passed: 0, failed: 0, skipped: 0, leaks: 0, seconds: 0.0 }
    }

    fn done(&self) -> u32 {
        self.passed + self.failed + self.skipped
    }

    /// Runs it once. A round that an interrupt cut short counts for nothing.
    fn round(&mut self) -> Result {
        let log = house::target().join("soak.log");
        let began = Instant::now();
        let ground = Ground::new(self.done())?;
        let child = self.test.start(&ground, &log)?;
        let pid = child.id();
        let passed = wait(child)?;
        self.seconds += began.elapsed().as_secs_f64();
        let left = ground.left(pid);
        if !left.is_empty() && !shell::interrupted() {
            self.leaks += 1;
            println!("{} left in round {}:\n  {}", self.test.name, self.done() + 1, left.join("\n  "));
        }
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        match (passed, said.contains("SKIPPED:")) {
            (true, false) => self.passed += 1,
            (true, true) => self.skipped += 1,
            (false, _) if shell::interrupted() => {}
            (false, _) => {
                self.failed += 1;
                println!("{} failed in round {}:\n{said}", self.test.name, self.done());
            }
        }
        println!("{:>5}  {}  {:.0} s in all", self.done(), self.test.name, self.seconds);
        Ok(())
    }
}

impl Test {
    fn start(&self, ground: &Ground, log: &Path) -> Result<Child> {
        let log = File::create(log)?;
        let mut command = ground.command(&self.binary);
        command.args(["--exact", &self.name, "--nocapture"]).current_dir(&self.package).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).env("CARGO_MANIFEST_DIR", &self.package);
        Ok(command.spawn()?)
    }
}

/// Whether it passed; one that hangs is ended and has not.
fn wait(mut child: Child) -> Result<bool> {
    let end = Instant::now() + LONGEST;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > end {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn record(wish: &Wish, counts: &[Count]) -> Result {
    let head = ["test", "rounds", "passed", "failed", "skipped", "left something", "seconds"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for c in counts.iter().filter(|c| c.done() > 0) {
        let numbers = [c.done(), c.passed, c.failed, c.skipped, c.leaks].map(|n| n.to_string());
        let (name, seconds) = (format!("`{}`", c.test.name), format!("{:.0}", c.seconds));
        rows.push([vec![name], numbers.to_vec(), vec![seconds]].concat());
    }
    let read = |program: &str, args: &[&str]| {
        shell::read_even_if_interrupted(Command::new(program).args(args).current_dir(house::top()))
    };
    let date = read("date", &["-u", "+%F %H:%M UTC"])?;
    let kernel = read("uname", &["-r"])?;
    // A source tree need not be a repository.
    let commit = read("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let minutes = wish.minutes.map_or(String::new(), |m| format!(", within {m} minutes"));
    let [date, kernel, commit] = [&date, &kernel, &commit].map(|text| text.trim());
    let head =
        format!("{date}: at most {} rounds each{minutes}; kernel {kernel}, source {commit}", wish.rounds);
    let rows = table::markdown(&rows);
    if wish.record {
        attacks::write()?;
        let page = house::top().join(PAGE);
        let text = format!("\n{head}\n\n{rows}\n");
        return Ok(fs::write(&page, attacks::between(&fs::read_to_string(&page)?, COUNTS, &text)?)?);
    }
    let mut file = OpenOptions::new().create(true).append(true).open(house::top().join("docs/soak.md"))?;
    Ok(writeln!(file, "\n## {head}\n\n{rows}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(passed: u32, seconds: f64) -> Count {
        let test = Test { binary: PathBuf::new(), name: "it::fault_x".into(), package: PathBuf::new() };
        Count { passed, seconds, ..Count::new(test) }
    }

    #[test]
    fn the_time_is_shared_and_the_rounds_end() {
        let mut counts = vec![count(3, 1.0), count(1, 9.0), count(2, 4.0)];
        assert_eq!(next(&mut counts, 3).expect("one").passed, 2);
        assert!(next(&mut counts, 1).is_none());
    }

    #[test]
    fn a_wish_is_understood() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wish = Wish::parse(&args("7 --minutes 90 --only disk --record --only keeper")).expect("a wish");
        assert_eq!((wish.rounds, wish.minutes, wish.only.len(), wish.record), (7, Some(90), 2, true));
        assert!(Wish::parse(&args("--minutes")).is_err() && Wish::parse(&args("many")).is_err());
    }
}
