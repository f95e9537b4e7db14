//! What a neighbour feels: the small service of [`crate::neighbour`], started, listened to, and summed up.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spec::{Error, Result};

use super::root;
use super::runtime::{PREFIX, Runtime, Target};

/// One request or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, in microseconds of the monotonic clock.
    pub at: u64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// Whether it was a write that had to reach the disk.
    pub is_write: bool,
}

/// Latencies of a stretch, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stretch {
    /// So many were measured.
    pub count: u64,
    /// Half took no longer.
    pub p50: u64,
    /// Ninety-nine of a hundred took no longer.
    pub p99: u64,
}

impl Stretch {
    /// Of these latencies.
    pub fn of(mut took: Vec<u64>) -> Self {
        took.sort_unstable();
        let at =
            |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1)));
        let value = |share| at(share).copied().unwrap_or(0);
        Self { count: took.len() as u64, p50: value(0.5), p99: value(0.99) }
    }
}

/// The running neighbour.
#[derive(Debug)]
pub struct Neighbour {
    child: Child,
    stdin: Option<ChildStdin>,
    samples: Arc<Mutex<Vec<Sample>>>,
    used: Receiver<u64>,
}

impl Neighbour {
    /// Starts it, in a container beside those that are attacked: one with the defaults, whatever theirs are.
    /// It has a file in `dir`, which is on the disk of all containers.
    pub fn start(runtime: &Runtime, dir: &Path) -> Result<Self> {
        let mut volume = OsString::from(dir);
        volume.push(":/srv");
        let flags = vec!["-v".into(), volume];
        let target =
            Target { image: PREFIX.to_owned(), program: root::PROGRAM.to_owned(), bound: None, flags };
        let name = format!("{PREFIX}-{}-neighbour", std::process::id());
        let words = ["neighbour".to_owned(), "/srv".to_owned()];
        let mut child =
            runtime.run(&name, &target, &words)?.spawn().map_err(|cause| runtime.missing(cause))?;
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (tell, used) = channel();
        if let Some(stdout) = child.stdout.take() {
            let samples = Arc::clone(&samples);
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                    match understood(&line) {
                        Some(Said::Sample(sample)) => push(&samples, sample),
                        // Who asked may have stopped waiting.
                        Some(Said::Used(used)) => _ = tell.send(used),
                        None => {}
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        let neighbour = Self { child, stdin, samples, used };
        neighbour.until_heard()?;
        Ok(neighbour)
    }

    /// Waits for its first answer.
    fn until_heard(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.samples().is_empty() {
            if Instant::now() > end {
                return Err(Error::failed("the neighbour was not heard of"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// From now on it wants all processors.
    pub fn wants_all(&mut self) {
        self.say(b"h");
    }

    /// No more; the processor time that it got, in microseconds.
    pub fn got(&mut self) -> Option<u64> {
        self.say(b"q");
        self.used.recv_timeout(Duration::from_secs(10)).ok()
    }

    fn say(&mut self, word: &[u8]) {
        // If it is gone there is nothing to hear of it either, which is noticed.
        let _ = self.stdin.as_mut().map(|stdin| stdin.write_all(word).and_then(|()| stdin.flush()));
    }

    /// All samples so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().map(|samples| samples.clone()).unwrap_or_default()
    }

    /// Requests, or writes, that began between two moments.
    pub fn stretch(&self, from: u64, to: u64, is_write: bool) -> Stretch {
        let samples = self.samples.lock().map(|samples| samples.clone()).unwrap_or_default();
        let within = samples.iter().filter(|one| one.is_write == is_write && (from..=to).contains(&one.at));
        Stretch::of(within.map(|one| one.took).collect())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Without input it ends, and its container with it.
        self.stdin = None;
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The neighbour's part of the processor time that both have used. Of a container that nothing counts,
/// its part of all that there was.
pub fn share(neighbour: Option<u64>, container: Option<(u64, u64)>, elapsed: u64) -> Option<f64> {
    let neighbour = neighbour?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let both = match container {
        Some((before, after)) => neighbour + after.saturating_sub(before),
        None => elapsed * processors,
    };
    (both > 0).then(|| neighbour as f64 / both as f64)
}

fn push(samples: &Mutex<Vec<Sample>>, sample: Sample) {
    if let Ok(mut samples) = samples.lock() {
        samples.push(sample);
    }
}

enum Said {
    Sample(Sample),
    Used(u64),
}

fn understood(line: &str) -> Option<Said> {
    let mut words = line.split(' ');
    let (kind, at, took) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    match kind {
        "r" | "f" => Some(Said::Sample(Sample { at, took, is_write: kind == "f" })),
        "h" => Some(Said::Used(took)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let stretch = Stretch::of((1..=100).rev().collect());
        assert_eq!((stretch.count, stretch.p50, stretch.p99), (100, 51, 100));
        assert_eq!(Stretch::of(vec![]), Stretch::default());
    }

    #[test]
    fn lines_of_the_neighbour() {
        assert!(matches!(
            understood("f 10 20"),
            Some(Said::Sample(Sample { at: 10, took: 20, is_write: true }))
        ));
        assert!(understood("r x 1").is_none() && understood("").is_none());
    }
}
