//! `x timer [--MODE] -- CMD… [::: CMD…]` (not for people): runs CMDs as often as a line on stdin says
//! and answers with the times. A process of its own, so that a peer can be timed inside a mount
//! namespace that it needs without paying for entering it.

mod complaints;
mod far;
mod watchdog;

pub(crate) use far::run;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::runtimes::Words;
use crate::shell::Result;

/// What is timed of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Its end; anything but success is an error.
    Success,
    /// Its end, whatever it says: for cleaning up.
    End,
    /// The first byte that it says; it ends by itself.
    Byte,
    /// The first byte that it says after it has been told a line; it is killed.
    Echo,
    /// The end of the last of all, started at once: one number, and how many failed.
    Burst,
}

const MODES: [(Until, &str); 5] = [
    (Until::Success, "--success"),
    (Until::End, "--end"),
    (Until::Byte, "--byte"),
    (Until::Echo, "--echo"),
    (Until::Burst, "--burst"),
];

/// Between two command lines.
const NEXT: &str = ":::";

/// The near end.
pub(crate) struct Timer {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    commands: usize,
}

impl Timer {
    /// A timer for `commands`, run one after the other; `wrapper` is a command line that it is
    /// itself started by.
    pub(crate) fn start(wrapper: &Words, commands: &[&Words], until: Until) -> Result<Self> {
        let me = std::env::current_exe()?.to_string_lossy().into_owned();
        let mode = MODES.iter().find(|m| m.0 == until).map_or("", |m| m.1);
        let lines: Vec<Words> = commands.iter().map(|c| (*c).clone()).collect();
        let timer = [me, "timer".into(), mode.into(), "--".into()];
        let line: Words = [wrapper, &timer[..], &lines.join(&NEXT.to_owned())].concat();
        let (program, args) = line.split_first().ok_or("nothing to time")?;
        let mut child =
            Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let (questions, answers) = questions.zip(answers).ok_or("a timer without pipes")?;
        Ok(Self { child, questions, answers: BufReader::new(answers), commands: commands.len() })
    }

    /// Runs the command `count` times with a pause before each; milliseconds.
    pub(crate) fn time(&mut self, count: u32, pause_ms: u64) -> Result<Vec<f64>> {
        Ok(self.laps(0, count, pause_ms)?.concat())
    }

    /// Runs all commands in turn, `count` times, with numbers from `first` for their `{}`; for each
    /// time and command the milliseconds.
    pub(crate) fn laps(&mut self, first: u32, count: u32, pause_ms: u64) -> Result<Vec<Vec<f64>>> {
        let times: Vec<f64> = self.ask(first, count, pause_ms)?.into_iter().map(|t| t as f64 / 1e6).collect();
        let laps = times.chunks(self.commands.max(1)).map(<[f64]>::to_vec).collect::<Vec<_>>();
        if times.len() == count as usize * self.commands {
            Ok(laps)
        } else {
            Err("the command failed".into())
        }
    }

    /// Starts all at once: milliseconds until the last has ended, and how many failed.
    pub(crate) fn burst(&mut self, first: u32, count: u32) -> Result<(f64, u64)> {
        let answer = self.ask(first, count, 0)?;
        let [taken, failed] = answer[..] else { return Err("no burst".into()) };
        Ok((taken as f64 / 1e6, failed))
    }

    fn ask(&mut self, first: u32, count: u32, pause_ms: u64) -> Result<Vec<u64>> {
        writeln!(self.questions, "{first} {count} {pause_ms}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
