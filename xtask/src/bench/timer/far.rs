//! The far end of a timer: one line `FIRST COUNT PAUSE_MS` in, one line of nanoseconds out.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{MODES, NEXT, Until};
use crate::shell::{self, Result};

/// How long a command that has said its byte may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &[String]) -> Result {
    let split = args.iter().position(|a| a == "--").ok_or("timer --MODE -- CMD…")?;
    let mode = args[..split].first().and_then(|word| MODES.iter().find(|m| m.1 == word));
    let until = mode.ok_or("timer: no such mode")?.0;
    let commands: Vec<&[String]> = args[split + 1..].split(|word| word == NEXT).collect();
    for line in std::io::stdin().lines() {
        let line = line?;
        let numbers = line.split(' ').map(str::parse).collect::<std::result::Result<Vec<u32>, _>>()?;
        let [first, count, pause] = numbers[..] else { return Err("FIRST COUNT PAUSE_MS".into()) };
        let times = if until == Until::Burst {
            burst(commands[0], first, count)?
        } else {
            laps(until, &commands, first, count, Duration::from_millis(pause.into()))?
        };
        let words: Vec<String> = times.iter().map(u128::to_string).collect();
        println!("{}", words.join(" "));
    }
    Ok(())
}

fn laps(until: Until, commands: &[&[String]], first: u32, count: u32, pause: Duration) -> Result<Vec<u128>> {
    let mut times = Vec::new();
    for number in first..first + count {
        for line in commands {
            let mut command = numbered(line, number)?;
            thread::sleep(pause);
            times.push(match until {
                Until::Byte | Until::Echo => byte(&mut command, until)?,
                _ => end(&mut command, until)?,
            });
        }
    }
    Ok(times)
}

fn numbered(line: &[String], number: u32) -> Result<Command> {
    let words: Vec<String> = line.iter().map(|w| w.replace("{}", &number.to_string())).collect();
    let (program, args) = words.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn end(command: &mut Command, until: Until) -> Result<u128> {
    if until == Until::End {
        command.stderr(Stdio::null());
    }
    let began = Instant::now();
    let status = command.status()?;
    let taken = began.elapsed().as_nanos();
    let fine = status.success() || until == Until::End;
    if fine { Ok(taken) } else { Err(format!("{}: {status}", shell::show(command)).into()) }
}

fn byte(command: &mut Command, until: Until) -> Result<u128> {
    let echo = until == Until::Echo;
    command.stdin(if echo { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn()?;
    if let Some(stdin) = &mut child.stdin {
        stdin.write_all(b"x\n")?;
    }
    let mut first = [0];
    let said = child.stdout.as_mut().map(|out| out.read_exact(&mut first));
    let taken = began.elapsed().as_nanos();
    finish(&mut child, echo)?;
    let said = said.is_some_and(|said| said.is_ok());
    if said { Ok(taken) } else { Err(format!("{}: said nothing", shell::show(command)).into()) }
}

/// An attached client is killed before its input ends: the container's would end with it.
fn finish(child: &mut Child, kill: bool) -> Result {
    let deadline = Instant::now() + if kill { Duration::ZERO } else { PATIENCE };
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn burst(line: &[String], first: u32, count: u32) -> Result<Vec<u128>> {
    let commands = (first..first + count).map(|number| numbered(line, number));
    let mut commands = commands.collect::<Result<Vec<Command>>>()?;
    let began = Instant::now();
    let children: Vec<_> = commands.iter_mut().map(Command::spawn).collect();
    let ends = children.into_iter().map(|child| child.and_then(|mut child| child.wait()));
    let fine = ends.filter(|end| end.as_ref().is_ok_and(ExitStatus::success)).count();
    Ok(vec![began.elapsed().as_nanos(), u128::from(count) - fine as u128])
}
