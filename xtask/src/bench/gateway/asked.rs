//! Requests at given times (bench/gateway/ask.c), and what became of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Home, milliseconds};
use crate::bench::samples::Samples;
use crate::shell::{self, Result};

/// What became of one request.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// When it was to be asked, in milliseconds; and from then to its answer's first byte.
    pub(super) at: f64,
    pub(super) first: f64,
    /// Whether it was answered with what was asked for, and if not, what its status was; 0 where nothing came.
    pub(super) fine: bool,
    status: u16,
    /// Whether it is the first answer of a server.
    pub(super) cold: bool,
}

/// Lines of a schedule: a request of each host, one after the other and over again, `gap` microseconds apart.
pub(super) fn schedule(hosts: &[String], path: &str, count: usize, gap: u64) -> String {
    let mut lines = String::new();
    for (at, host) in (0_u64..).step_by(gap.max(1) as usize).zip(hosts.iter().cycle()).take(count) {
        let _ = writeln!(lines, "{at} {host} {path}");
    }
    lines
}

impl Home {
    /// Asks on a port of this host as the schedule says; returns when all have an answer, or none will come.
    pub(super) fn ask(&self, port: u16, schedule: &str) -> Result<Vec<Answer>> {
        let mut asking = Command::new(self.ground.dir.join("ask"));
        asking.arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut asking = asking.spawn()?;
        // It reads all before it says anything.
        asking.stdin.take().ok_or("no pipe")?.write_all(schedule.as_bytes())?;
        let done = asking.wait_with_output()?;
        shell::unless_interrupted()?;
        let said = String::from_utf8_lossy(&done.stdout);
        let answers: Vec<Answer> = said.lines().filter_map(Answer::read).collect();
        if answers.len() == schedule.lines().count() {
            Ok(answers)
        } else {
            Err("some were not asked".into())
        }
    }
}

impl Answer {
    /// `AT FIRST END STATUS LETTER`, times in microseconds.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut time = || Some(words.next()?.parse::<f64>().ok()? / 1e3);
        let [at, first, _] = [time()?, time()?, time()?];
        let status = words.next()?.parse().ok()?;
        Some(Self { at, first, fine: status == 200, status, cold: words.next()? == "f" })
    }
}

/// All answers, and those among them that a start stood before.
pub(super) struct Summary {
    pub(super) asked: usize,
    pub(super) errors: usize,
    /// The statuses among them.
    statuses: BTreeSet<u16>,
    pub(super) all: Samples,
    pub(super) cold: Samples,
    pub(super) warm: Samples,
    pub(super) starts: usize,
}

impl Summary {
    pub(super) fn of(answers: &[Answer]) -> Self {
        let times = |which: fn(&Answer) -> bool| {
            let mut samples = Samples::default();
            samples.extend(answers.iter().filter(|a| a.fine && which(a)).map(|a| a.first));
            samples
        };
        Self {
            asked: answers.len(),
            errors: answers.iter().filter(|a| !a.fine).count(),
            statuses: answers.iter().filter(|a| !a.fine).map(|a| a.status).collect(),
            all: times(|_| true),
            cold: times(|a| a.cold),
            warm: times(|a| !a.cold),
            starts: answers.iter().filter(|a| a.fine && a.cold).count(),
        }
    }
}

impl Summary {
    /// How many failed, and how.
    pub(super) fn failures(&self) -> String {
        let how: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
        if how.is_empty() { "0".into() } else { format!("{} ({})", self.errors, how.join(", ")) }
    }
}

/// Median, 99 % and the slowest.
pub(super) fn cells(samples: &Samples) -> Vec<String> {
    [0.5, 0.99, 1.0].map(|share| milliseconds(samples.quantile(share))).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_request_is_read() {
        let answer = Answer { at: 1.5, first: 0.25, fine: true, status: 200, cold: true };
        assert_eq!(Answer::read("1500 250 300 200 f"), Some(answer));
        let none = Answer::read("1500 -1 60000000 0 -").expect("a line");
        assert!(!none.fine && !none.cold);
    }

    #[test]
    fn hosts_are_asked_in_turn() {
        let hosts = ["a".to_owned(), "b".to_owned()];
        assert_eq!(schedule(&hosts, "/", 3, 5000), "0 a /\n5000 b /\n10000 a /\n");
    }
}
