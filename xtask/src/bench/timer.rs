//! `x timer -- CMD…` (not for people): starts CMD as often as a line on stdin says and answers with
//! the times. A process of its own, so that a peer can be timed inside a mount namespace that it
//! needs without paying for entering it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::shell::{self, Result};

/// The far end: one line `COUNT PAUSE_MS` in, one line of nanoseconds out.
pub(crate) fn run(args: &[String]) -> Result {
    let argv = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let (program, rest) = argv.split_first().ok_or("timer -- CMD…")?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (count, pause) = line.split_once(' ').ok_or("COUNT PAUSE_MS")?;
        let pause = Duration::from_millis(pause.parse()?);
        let times = (0..count.parse()?).map(|_| once(program, rest, pause));
        let times = times.collect::<Result<Vec<u128>>>()?;
        let words: Vec<String> = times.iter().map(u128::to_string).collect();
        println!("{}", words.join(" "));
    }
    Ok(())
}

fn once(program: &str, args: &[String], pause: Duration) -> Result<u128> {
    thread::sleep(pause);
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status()?;
    let taken = began.elapsed().as_nanos();
    if status.success() { Ok(taken) } else { Err(format!("{}: {status}", shell::show(&command)).into()) }
}

/// The near end.
pub(crate) struct Timer {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Timer {
    /// A timer for `argv`; `wrapper` is a command line that it is itself started by.
    pub(crate) fn start(wrapper: &[String], argv: &[String]) -> Result<Self> {
        let me = std::env::current_exe()?.to_string_lossy().into_owned();
        let line: Vec<String> = [wrapper, &[me, "timer".into(), "--".into()], argv].concat();
        let (program, args) = line.split_first().ok_or("nothing to time")?;
        let mut child =
            Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let (questions, answers) = questions.zip(answers).ok_or("a timer without pipes")?;
        Ok(Self { child, questions, answers: BufReader::new(answers) })
    }

    /// Starts the command `count` times with a pause before each; milliseconds.
    pub(crate) fn time(&mut self, count: u32, pause_ms: u64) -> Result<Vec<f64>> {
        writeln!(self.questions, "{count} {pause_ms}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let times =
            line.split_whitespace().map(|w| Ok(w.parse::<f64>()? / 1e6)).collect::<Result<Vec<f64>>>()?;
        if times.len() == count as usize { Ok(times) } else { Err("the command failed".into()) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
