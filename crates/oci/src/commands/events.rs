//! `tsubo-oci events`: figures of a container, and when it lacks memory.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cgroup::{OomWatch, Told};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;
use serde_json::Value;
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::cli::{Context, Verb};
use crate::container::Container;
use crate::line::{Line, Reach, switch, value};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "events",
    words: "ID",
    about: "Print figures of a running container every few seconds, and when it lacks memory",
    flags: &[
        switch("stats", None, "print the figures once"),
        value("interval", None, "TIME", "how often, such as 5s, 1m30s or 500ms (5s)"),
    ],
    reach: Reach::All,
    example: "  tsubo-oci events --stats web\n  tsubo-oci events --interval 1s web",
    run,
};

/// One line.
#[derive(Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

fn run(context: &Context, line: &Line) -> Result<u8> {
    let container = Container::open(&context.home, line.only_id()?)?;
    let interval = line.text("interval").map_or(Ok(Duration::from_secs(5)), time)?;
    container.running()?;
    if line.on("stats") {
        return figures(&container).map(|_| 0);
    }
    follow(&container, interval).map(|()| 0)
}

/// Prints; false where nobody reads any more.
fn print<T: Serialize>(container: &Container, kind: &str, data: Option<T>) -> Result<bool> {
    let event = Event { kind, id: &container.record.id, data };
    let text = serde_json::to_string(&event);
    let text = text.map_err(|cause| Error::internal("encoding an event").because(cause))?;
    let mut out = std::io::stdout();
    Ok(writeln!(out, "{text}").and_then(|()| out.flush()).is_ok())
}

fn figures(container: &Container) -> Result<bool> {
    print(container, "stats", Some(container.record.groups.group().stats()))
}

/// Until it has ended.
fn follow(container: &Container, interval: Duration) -> Result<()> {
    let process = container.running()?;
    let mut memory = match container.record.groups.group().watch_oom() {
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        watch => Some(watch?),
    };
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let (ended, told) = wait(&process, memory.as_ref(), &left)?;
        if told && lacks(&mut memory)? && !print(container, "oom", None::<Value>)? {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next += interval;
            if !figures(container)? {
                return Ok(());
            }
        }
    }
}

fn wait(process: &impl AsFd, memory: Option<&OomWatch>, left: &Timespec) -> Result<(bool, bool)> {
    let mut polled = vec![PollFd::new(process, PollFlags::IN)];
    polled.extend(memory.map(|memory| PollFd::new(memory, PollFlags::IN)));
    let poll = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(left)));
    poll.map_err(std::io::Error::from).doing(|| "waiting for events")?;
    let ready = |at: usize| polled.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(0), ready(1)))
}

fn lacks(memory: &mut Option<OomWatch>) -> Result<bool> {
    let told = memory.as_mut().map_or(Ok(Told::Nothing), OomWatch::read)?;
    if told == Told::Ended {
        *memory = None;
    }
    Ok(told == Told::OutOfMemory)
}

/// As Go writes times: numbers with units, one after the other.
fn time(text: &str) -> Result<Duration> {
    let wrong = || Error::user(format!("--interval {text}: it is no time")).hint("for example 5s or 1m30s");
    let mut all = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        all += Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        rest = after;
    }
    // No loop that never rests.
    if all < Duration::from_millis(1) { Err(wrong()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, milliseconds) in [("5s", 5000), ("1m30s", 90_000), ("500ms", 500), ("1.5h", 5_400_000)] {
            assert_eq!(time(text).expect(text), Duration::from_millis(milliseconds));
        }
        for text in ["", "5", "s", "0s", "-1s", "1d", "1e999s"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
