//! The far end of a timer: one line `FIRST COUNT PAUSE_MS` in, one line of nanoseconds out.

use std::error::Error;
use std::fmt::Display;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::complaints::Complaints;
use super::watchdog::Watchdog;
use super::{MODES, NEXT, Until};
use crate::shell::{self, Result};

/// Runs what the near end asks for, until that closes our input.
pub(crate) fn run(args: &[String]) -> Result {
    let split = args.iter().position(|a| a == "--").ok_or("timer --MODE -- CMD…")?;
    let mode = args[..split].first().and_then(|word| MODES.iter().find(|m| m.1 == word));
    let commands: Vec<&[String]> = args[split + 1..].split(|word| word == NEXT).collect();
    let until = mode.ok_or("timer: no such mode")?.0;
    let far = Far { until, commands, watchdog: Watchdog::new(), complaints: Complaints::new()? };
    for line in std::io::stdin().lines() {
        let line = line?;
        let numbers = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<u32>, _>>()?;
        let [first, count, pause] = numbers[..] else { return Err("FIRST COUNT PAUSE_MS".into()) };
        let times = match far.until {
            Until::Burst => far.burst(first, count)?,
            _ => far.laps(first, count, Duration::from_millis(pause.into()))?,
        };
        let words: Vec<String> = times.iter().map(u128::to_string).collect();
        println!("{}", words.join(" "));
    }
    Ok(())
}

struct Far<'a> {
    until: Until,
    commands: Vec<&'a [String]>,
    watchdog: Watchdog,
    complaints: Complaints,
}

impl Far<'_> {
    fn laps(&self, first: u32, count: u32, pause: Duration) -> Result<Vec<u128>> {
        let mut times = Vec::new();
        for number in first..first + count {
            for line in &self.commands {
                let mut command = numbered(line, number)?;
                thread::sleep(pause);
                times.push(match self.until {
                    Until::Byte | Until::Echo => self.byte(&mut command)?,
                    _ => self.end(&mut command)?,
                });
            }
        }
        Ok(times)
    }

    fn end(&self, command: &mut Command) -> Result<u128> {
        command.stderr(self.complaints.fresh()?);
        let began = Instant::now();
        let mut child = command.spawn()?;
        self.watchdog.watch(vec![child.id()]);
        let status = child.wait()?;
        let taken = began.elapsed().as_nanos();
        self.watchdog.watch(Vec::new());
        let fine = status.success() || self.until == Until::End;
        if fine { Ok(taken) } else { Err(self.failed(command, &status)) }
    }

    fn byte(&self, command: &mut Command) -> Result<u128> {
        let echo = self.until == Until::Echo;
        command.stdin(if echo { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped());
        command.stderr(self.complaints.fresh()?);
        let began = Instant::now();
        let mut child = command.spawn()?;
        self.watchdog.watch(vec![child.id()]);
        let heard = first_byte(&mut child);
        let taken = began.elapsed().as_nanos();
        if echo {
            // Before its input ends: the container's could end with it.
            child.kill()?;
        }
        child.wait()?;
        self.watchdog.watch(Vec::new());
        heard.map(|()| taken).map_err(|error| self.failed(command, &error))
    }

    fn failed(&self, command: &Command, how: &dyn Display) -> Box<dyn Error> {
        format!("{}: {how}\n{}", shell::show(command), self.complaints.told()).into()
    }

    /// Starts all, then waits for all: nanoseconds, and how many failed.
    fn burst(&self, first: u32, count: u32) -> Result<Vec<u128>> {
        let numbers = first..first + count;
        let commands = numbers.map(|number| numbered(self.commands.first().ok_or("no command")?, number));
        let mut commands = commands.collect::<Result<Vec<Command>>>()?;
        self.complaints.fresh()?;
        for command in &mut commands {
            command.stderr(self.complaints.more()?);
        }
        let began = Instant::now();
        let children = commands.iter_mut().map(Command::spawn).collect::<std::io::Result<Vec<Child>>>()?;
        self.watchdog.watch(children.iter().map(Child::id).collect());
        let ends = children.into_iter().map(|mut child| child.wait());
        let ends = ends.collect::<std::io::Result<Vec<ExitStatus>>>()?;
        let taken = began.elapsed().as_nanos();
        self.watchdog.watch(Vec::new());
        let failed: Vec<&ExitStatus> = ends.iter().filter(|status| !status.success()).collect();
        if let Some(first) = failed.first() {
            eprintln!(
                "{} of {count} failed, the first with {first}: {}",
                failed.len(),
                self.complaints.told()
            );
        }
        Ok(vec![taken, failed.len() as u128])
    }
}

fn numbered(line: &[String], number: u32) -> Result<Command> {
    let words: Vec<String> = line.iter().map(|w| w.replace("{}", &number.to_string())).collect();
    let (program, args) = words.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn first_byte(child: &mut Child) -> Result {
    if let Some(stdin) = &mut child.stdin {
        stdin.write_all(b"x\n")?;
    }
    let out = child.stdout.as_mut().ok_or("no pipe")?;
    Ok(out.read_exact(&mut [0])?)
}
