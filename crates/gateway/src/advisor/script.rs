//! A function of a script: the program that does hooks waits with it for the next question.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use lifecycle::{hooks, open_files};
use rustix::event::{PollFd, PollFlags, Timespec};
use spec::{Error, Result, ResultExt};

use super::{LONGEST, PATIENCE};

/// The process, which has read the script. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Script {
    source: Source,
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    errors: ChildStderr,
}

/// What the function is called where nothing else is said.
const USUAL: &str = "policy";

/// What it says when it has read the script.
#[derive(serde::Deserialize)]
struct Greeting {
    #[serde(default)]
    log: Vec<String>,
}

/// What it was read from: something else is read anew.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    file: PathBuf,
    function: String,
    /// File system, number, size, time of change.
    stamp: (u64, u64, u64, i64, i64),
}

impl Source {
    fn of(file: &Path, function: &str) -> Result<Self> {
        let meta = fs::metadata(file).doing(|| format!("opening {}", file.display()))?;
        let stamp = (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        Ok(Self { file: file.to_owned(), function: function.to_owned(), stamp })
    }
}

impl Script {
    /// Asks the one that is kept; makes one where there is none, or it was changed. What it has said before, and its
    /// answer; one that gives none is not kept.
    pub(super) fn ask(
        kept: &mut Option<Self>,
        file: &Path,
        function: &str,
        question: &str,
    ) -> Result<(Vec<String>, String)> {
        let source = Source::of(file, function)?;
        let (mut script, before) = match kept.take() {
            Some(script) if script.source == source => (script, Vec::new()),
            _ => Self::begin(source)?,
        };
        let said = script.say(question).and_then(|()| script.line());
        match said {
            Ok(said) => {
                *kept = Some(script);
                Ok((before, said))
            }
            Err(error) => Err(script.why(error)),
        }
    }

    /// Whether it has that function.
    pub(super) fn examine(file: &Path, function: &str) -> Result<()> {
        Self::begin(Source::of(file, function)?).map(drop)
    }

    fn begin(source: Source) -> Result<(Self, Vec<String>)> {
        let program = hooks::program()?;
        let mut word = source.file.clone().into_os_string();
        word.push("#");
        word.push(if source.function.is_empty() { USUAL } else { &source.function });
        let doing = || format!("running {}", program.display());
        let mut child = Command::new(&program)
            .arg("policy")
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(doing)?;
        open_files::as_given_to(&child);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            let _ = child.kill().and_then(|()| child.wait());
            return Err(Error::internal("a process without its pipes"));
        };
        let mut script = Self { source, child, input, output, errors };
        match script.line() {
            Ok(line) => {
                let log = serde_json::from_str(&line).map(|Greeting { log }| log).unwrap_or_default();
                Ok((script, log))
            }
            Err(error) => Err(script.why(error)),
        }
    }

    fn say(&mut self, question: &str) -> Result<()> {
        let line = format!("{question}\n");
        self.input.write_all(line.as_bytes()).doing(|| "asking it")
    }

    /// The next line of what it says.
    fn line(&mut self) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while said.last() != Some(&b'\n') {
            let left = end.saturating_duration_since(Instant::now());
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut polled = [PollFd::new(&self.output, PollFlags::IN)];
            match rustix::event::poll(&mut polled, Some(&time)) {
                Ok(0) => return Err(Error::failed(format!("it takes longer than {PATIENCE:?}"))),
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(io::Error::from(errno)).doing(|| "waiting for its answer"),
                Ok(_) => {}
            }
            let mut piece = [0; 4096];
            let read = self.output.read(&mut piece).doing(|| "reading its answer")?;
            if read == 0 || said.len() as u64 > LONGEST {
                return Err(Error::failed("it ended, or says too much"));
            }
            said.extend_from_slice(&piece[..read]);
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// What went wrong, in its own words where it has said any.
    fn why(mut self, error: Error) -> Error {
        let _ = self.child.kill();
        let mut words = String::new();
        let _ = self.errors.by_ref().take(LONGEST).read_to_string(&mut words);
        let own = words.lines().next().map(|line| line.trim_start_matches("error: ").to_owned());
        let file = self.source.file.display();
        match own.filter(|own| !own.is_empty()) {
            Some(own) => Error::failed(format!("{file}: {own}")),
            None => Error::failed(format!("{file}: {}", error.chain())),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
