//! The moments at which hooks are done, as they are written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, signal};

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum When {
    /// What it comes before is not done if it says no.
    Before(Event),
    /// When it has happened.
    After(Event),
    /// Once, so many milliseconds after the start.
    Once(u64),
    /// Again and again.
    Every {
        /// Milliseconds from one to the next.
        interval: u64,
        /// Up to so many are added by chance, so that many containers do not do it all at once.
        jitter: u64,
    },
    /// The keeper gets this signal, or `tsubo signal` is said.
    Signal(i32),
    /// A resource is short.
    Short(Resource),
    /// What its health checks tell has changed.
    Health,
    /// It has used no processor time to speak of for so many milliseconds.
    Idle(u64),
}

/// What happens to containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It is made.
    Create,
    /// Its network is made.
    Network,
    /// It is started.
    Start,
    /// It is ready.
    Ready,
    /// It is asked to stop.
    Stop,
    /// It is started again.
    Restart,
    /// Its limits or choices are changed.
    Update,
    /// A picture of it is taken.
    Snapshot,
    /// It ends by itself, and not well.
    Failure,
    /// The kernel ends a process of it for want of memory.
    Oom,
    /// What is left of it is removed.
    Cleanup,
}

/// What can be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Percent of the last ten seconds in which something waited for memory.
    MemoryPressure(u8),
    /// It has as many processes as it may have.
    Pids,
    /// Percent of the periods of a second in which its processor time was over.
    Throttled(u8),
    /// Percent of its disk.
    Disk(u8),
}

const EVENTS: [(Event, &str); 11] = [
    (Event::Create, "create"),
    (Event::Network, "network"),
    (Event::Start, "start"),
    (Event::Ready, "ready"),
    (Event::Stop, "stop"),
    (Event::Restart, "restart"),
    (Event::Update, "update"),
    (Event::Snapshot, "snapshot"),
    (Event::Failure, "failure"),
    (Event::Oom, "oom"),
    (Event::Cleanup, "cleanup"),
];

/// The signals that a keeper may be sent: others end it or mean something to it.
const SIGNALS: [&str; 5] = ["USR1", "USR2", "TTIN", "TTOU", "HUP"];

impl Event {
    /// Its word.
    pub fn word(self) -> &'static str {
        EVENTS.iter().find(|(event, _)| *event == self).map_or("", |(_, word)| word)
    }

    /// Whether it can be prevented: a failure or the kernel asks nobody.
    pub fn can_be_prevented(self) -> bool {
        !matches!(self, Self::Failure | Self::Oom | Self::Ready)
    }
}

impl When {
    /// Whether somebody who wants to end or change a container would wait for it.
    pub fn holds_up_operators(&self) -> bool {
        matches!(self, Self::Before(Event::Stop | Event::Restart | Event::Update | Event::Cleanup))
    }
}

impl FromStr for When {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["before", event] => before(event),
            ["after", word] if word.starts_with(|c: char| c.is_ascii_digit()) => Ok(Self::Once(milliseconds(word)?)),
            ["after", event] => known(event).map(Self::After),
            ["every", time] => every(time, "0s"),
            ["every", time, "jitter", jitter] => every(time, jitter),
            ["signal", name] => signal_of(name).map(Self::Signal),
            ["memory", "pressure", share] => percent(share).map(|share| Self::Short(Resource::MemoryPressure(share))),
            ["pids", "at", "limit"] => Ok(Self::Short(Resource::Pids)),
            ["cpu", "throttled", share] => percent(share).map(|share| Self::Short(Resource::Throttled(share))),
            ["disk", share] => percent(share).map(|share| Self::Short(Resource::Disk(share))),
            ["health"] => Ok(Self::Health),
            ["idle", time] => idle(time),
            _ => Err(Error::user(format!("{text:?} is no moment of a hook")).hint(
                "as in \"before start\", \"after 30s\", \"every 1m jitter 5s\", \"signal USR1\", \"memory pressure 20%\", \"pids at limit\", \
                 \"cpu throttled 10%\", \"disk 80%\", \"health\", \"idle 5m\"",
            )),
        }
    }
}

fn known(word: &str) -> Result<Event> {
    if let Some((event, _)) = EVENTS.iter().find(|(_, known)| *known == word) {
        return Ok(*event);
    }
    let nearest = EVENTS.iter().max_by(|a, b| strsim::jaro(a.1, word).total_cmp(&strsim::jaro(b.1, word)));
    let all = EVENTS.map(|(_, known)| known).join(", ");
    let near = nearest.map_or("", |(_, known)| known);
    Err(Error::user(format!("nothing that happens to a container is called {word:?}"))
        .hint(format!("did you mean {near:?}? There are: {all}")))
}

fn before(word: &str) -> Result<When> {
    let event = known(word)?;
    if event.can_be_prevented() {
        return Ok(When::Before(event));
    }
    Err(Error::user(format!("nothing comes before {word:?}: it is only noticed"))
        .hint(format!("use \"after {word}\"")))
}

fn every(time: &str, jitter: &str) -> Result<When> {
    let (interval, jitter) = (milliseconds(time)?, milliseconds(jitter)?);
    if interval < 100 {
        return Err(Error::user(format!("every {time} is too often")).hint("every 100ms at most"));
    }
    Ok(When::Every { interval, jitter })
}

fn idle(time: &str) -> Result<When> {
    let time = milliseconds(time)?;
    if time < 1000 {
        return Err(Error::user("less than a second is not idle").hint("as in \"idle 5m\""));
    }
    Ok(When::Idle(time))
}

fn signal_of(name: &str) -> Result<i32> {
    let number = signal::parse(name)?;
    let is_ours =
        number >= 34 || SIGNALS.iter().any(|known| signal::parse(known).is_ok_and(|own| own == number));
    is_ours.then_some(number).ok_or_else(|| {
        Error::user(format!("signal {name} means something to the keeper itself"))
            .hint("use USR1, USR2, TTIN, TTOU, HUP or RTMIN+0 to RTMIN+30")
    })
}

fn percent(text: &str) -> Result<u8> {
    let share = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    share
        .filter(|share| (1..=100).contains(share))
        .ok_or_else(|| Error::user(format!("{text:?} is no percentage")).hint("1% to 100%"))
}

/// A time as people write it: `250ms`, `30s`, `5m`, `2h`, `1d`.
///
/// # Errors
/// What is none, or longer than a year.
pub fn milliseconds(text: &str) -> Result<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        "d" => 86_400e3,
        _ => 0.0,
    };
    let time = number.parse::<f64>().ok().map(|number| number * scale);
    let time = time.filter(|time| scale > 0.0 && *time <= 366.0 * 86_400e3);
    time.map(|time| time.round() as u64)
        .ok_or_else(|| Error::user(format!("{text:?} is no time")).hint("as in 250ms, 30s, 5m, 2h or 1d"))
}

/// A time in the largest unit that tells it whole.
fn spelt(time: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.iter().find(|(size, _)| time > 0 && time % size == 0);
    unit.map_or_else(|| format!("{time}ms"), |(size, unit)| format!("{}{unit}", time / size))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(event) => write!(f, "before {}", event.word()),
            Self::After(event) => write!(f, "after {}", event.word()),
            Self::Once(time) => write!(f, "after {}", spelt(*time)),
            Self::Every { interval, jitter: 0 } => write!(f, "every {}", spelt(*interval)),
            Self::Every { interval, jitter } => {
                write!(f, "every {} jitter {}", spelt(*interval), spelt(*jitter))
            }
            Self::Signal(number) => write!(f, "signal {}", signal::name(*number)),
            Self::Short(Resource::MemoryPressure(share)) => write!(f, "memory pressure {share}%"),
            Self::Short(Resource::Pids) => f.write_str("pids at limit"),
            Self::Short(Resource::Throttled(share)) => write!(f, "cpu throttled {share}%"),
            Self::Short(Resource::Disk(share)) => write!(f, "disk {share}%"),
            Self::Health => f.write_str("health"),
            Self::Idle(time) => write!(f, "idle {}", spelt(*time)),
        }
    }
}

impl From<When> for String {
    fn from(when: When) -> Self {
        when.to_string()
    }
}

impl TryFrom<String> for When {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip() {
        for text in [
            "before start",
            "after oom",
            "after 30s",
            "every 1m",
            "every 90s jitter 5s",
            "every 250ms",
            "signal USR1",
            "signal RTMIN+3",
            "memory pressure 20%",
            "pids at limit",
            "cpu throttled 10%",
            "disk 80%",
            "health",
            "idle 5m",
        ] {
            assert_eq!(text.parse::<When>().expect(text).to_string(), text);
        }
        assert_eq!("after 0.5h".parse::<When>().expect("a time"), When::Once(1_800_000));
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for text in [
            "",
            "start",
            "before oom",
            "before strat",
            "every 5",
            "every 1ms",
            "every -1s",
            "signal KILL",
            "signal TERM",
            "signal",
            "disk 0%",
            "disk 101%",
            "idle 10ms",
            "after 1e99s",
            "after 9999999h",
        ] {
            assert!(!text.parse::<When>().expect_err(text).hints().is_empty(), "{text}");
        }
    }
}
