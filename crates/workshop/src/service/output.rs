//! What a watched service says: kept in a bounded file, its last lines at hand for errors.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use spec::{Result, ResultExt};

/// Bytes that are kept in the file; what comes later is only looked at.
const FILE_LIMIT: u64 = 10 << 20;
/// Lines kept in memory.
const LINES: usize = 200;
/// A line is cut here, so that a service without line ends costs bounded memory.
const LINE_LIMIT: u64 = 64 << 10;

/// The output of a service while it runs.
#[derive(Debug, Clone)]
pub struct Output(Arc<Mutex<Said>>);

#[derive(Debug)]
struct Said {
    lines: VecDeque<String>,
    wanted: Option<Regex>,
    matched: bool,
    ended: bool,
}

impl Output {
    /// Starts to read from `pipe` into `log`; looks out for a line that matches `wanted`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn collect(pipe: OwnedFd, log: &Path, wanted: Option<Regex>) -> Result<Self> {
        let file = File::create(log).doing(|| format!("writing {}", log.display()))?;
        let output =
            Self(Arc::new(Mutex::new(Said { lines: VecDeque::new(), wanted, matched: false, ended: false })));
        let reader = output.clone();
        std::thread::Builder::new()
            .name("service-output".to_owned())
            .spawn(move || {
                reader.read(BufReader::new(File::from(pipe)), file);
                reader.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            })
            .doing(|| "starting a thread")?;
        Ok(output)
    }

    fn read(&self, mut pipe: BufReader<File>, mut file: File) {
        let mut written = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut pipe).take(LINE_LIMIT).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    written += count as u64;
                    // A full disk must not end the service; its words are a convenience.
                    if written <= FILE_LIMIT {
                        let _ = file.write_all(&line);
                    }
                    self.note(String::from_utf8_lossy(&line).trim_end());
                }
            }
        }
    }

    fn note(&self, line: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.matched |= said.wanted.as_ref().is_some_and(|regex| regex.is_match(line));
        if said.lines.len() == LINES {
            said.lines.pop_front();
        }
        said.lines.push_back(line.to_owned());
    }

    /// Whether the line that was looked out for has come.
    pub fn matched(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).matched
    }

    /// The last `count` lines.
    pub fn last(&self, count: usize) -> Vec<String> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.lines.iter().skip(said.lines.len().saturating_sub(count)).cloned().collect()
    }

    /// All that was said, and whether it is all: what is older than the last [`LINES`] is gone, and
    /// who still holds the pipe may say more. Waits a moment for what is on its way.
    pub fn all(&self) -> (Vec<String>, bool) {
        const MOMENT: Duration = Duration::from_millis(200);
        let begun = Instant::now();
        loop {
            let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if said.ended || begun.elapsed() > MOMENT {
                let all = said.ended && said.lines.len() < LINES;
                return (said.lines.iter().cloned().collect(), all);
            }
            drop(said);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The last lines as hints of an error.
    pub fn as_hint(&self) -> String {
        let last = self.last(12);
        if last.is_empty() {
            return "the service said nothing".to_owned();
        }
        format!("the service's last lines:\n  {}", last.join("\n  "))
    }
}
