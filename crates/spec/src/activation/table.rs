//! The table as it is written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Activation, After, Protocol, Range, WaitingPage};
use crate::hooks::milliseconds;
use crate::limits::{Cpus, Size};
use crate::ready::Ready;
use crate::resources::Limit;
use crate::{Error, Result, ResultExt};

/// More of anything is a mistake.
const MOST: u32 = 100_000;

/// Declares the table, and how a stronger one is laid over it.
macro_rules! table {
    ($($(#[$note:meta])* $field:ident: $kind:ty,)*) => {
        /// What is said of how a service comes and goes; all of it optional.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct ActivationTable {
            $($(#[$note])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$kind>,)*
        }

        impl ActivationTable {
            /// This table with a stronger one over it: what that says holds.
            #[must_use]
            pub fn merged(self, stronger: Self) -> Self {
                Self { $($field: stronger.$field.or(self.$field),)* }
            }
        }
    };
}

table! {
    /// The port of the container that requests go to. Default: the one its tests showed, or that `ready` names.
    port: u16,
    /// What is spoken there: `http` (default), `h2c` (HTTP/2 without TLS, as gRPC services speak), `tcp`.
    protocol: String,
    /// So many instances run even when nobody asks. Default: 0.
    min: u32,
    /// So many run at most. Default: 1.
    max: u32,
    /// So many requests, or connections where only bytes are passed, one instance has at once. Default: 64.
    concurrency: u32,
    /// An instance without requests is stopped after this time, as in `5m`; `learn` from when requests come; `never`. Default: 5m.
    idle: String,
    /// An instance without requests is frozen after this time (and its memory taken back): `1m`, `never`. Default: 1m.
    freeze: String,
    /// An instance that is older is replaced: `1d`. Default: never.
    max_age: String,
    /// When an instance is ready: `tcp:PORT`, `http:URL`, `log:REGEX`, `file:PATH`, `unix:PATH`, or seconds. Default: when it accepts a connection.
    ready: String,
    /// An instance that is not ready within this time has failed. Default: 60s.
    start_time: String,
    /// So many requests wait for an instance at most. Default: 1000.
    queue: u32,
    /// And so long each. Default: 60s.
    queue_time: String,
    /// The head of an answer must come within this time. Default: 2m.
    answer_time: String,
    /// How long an instance that is to go may finish its requests. Default: 30s.
    drain_time: String,
    /// The path that is asked whether an instance is well, as in `/healthz`; for `tcp`, any word means a connection.
    health: String,
    /// From one such question to the next. Default: 10s.
    health_interval: String,
    /// So long there must be less to do before there are fewer instances. Default: 30s.
    calm: String,
    /// Processors' worth of time that an instance starts with, and may be given under load: `["0.5", "2"]`.
    cpus: [Cpus; 2],
    /// Memory likewise: `["64M", "256M"]`.
    memory: [Size; 2],
    /// An instance that holds more than this percentage of its memory limit for long is replaced: 1 to 100.
    leak: u8,
    /// What a browser sees while an instance starts: true for a small page of ours, or the path of one. Default: it waits.
    waiting_page: Page,
    /// Never two instances at once. Default: true for a service with volumes of its own.
    exclusive: bool,
}

/// Whether, or which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Page {
    /// Whether there is one.
    Is(bool),
    /// Where it is on the host.
    At(String),
}

impl ActivationTable {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Fills in every default.
    ///
    /// # Errors
    /// A word that means nothing; numbers that exclude each other.
    pub fn resolve(&self) -> Result<Activation> {
        let usual = Activation::default();
        let made = Activation {
            port: self.port,
            protocol: self.protocol.as_deref().map_or(Ok(Protocol::Http), protocol).doing(|| "protocol")?,
            min: self.min.unwrap_or(usual.min),
            max: self.max.unwrap_or_else(|| usual.max.max(self.min.unwrap_or(0))),
            concurrency: self.concurrency.unwrap_or(usual.concurrency),
            idle: after(self.idle.as_deref(), usual.idle, true).doing(|| "idle")?,
            freeze: after(self.freeze.as_deref(), usual.freeze, false).doing(|| "freeze")?,
            max_age: match after(self.max_age.as_deref(), After::Never, false).doing(|| "max_age")? {
                After::Time(time) => Some(time),
                After::Learnt | After::Never => None,
            },
            ready: self.ready.as_deref().map(str::parse::<Ready>).transpose().doing(|| "ready")?,
            start_time: time(self.start_time.as_deref(), usual.start_time).doing(|| "start_time")?,
            queue: self.queue.unwrap_or(usual.queue),
            queue_time: time(self.queue_time.as_deref(), usual.queue_time).doing(|| "queue_time")?,
            answer_time: time(self.answer_time.as_deref(), usual.answer_time).doing(|| "answer_time")?,
            drain_time: time(self.drain_time.as_deref(), usual.drain_time).doing(|| "drain_time")?,
            health: self.health.clone(),
            health_interval: time(self.health_interval.as_deref(), usual.health_interval)
                .doing(|| "health_interval")?,
            calm: time(self.calm.as_deref(), usual.calm).doing(|| "calm")?,
            cpus: self.cpus.map(|[least, most]| range(least.0, most.0)).transpose().doing(|| "cpus")?,
            memory: self.memory.map(|[least, most]| range(least.0, most.0)).transpose().doing(|| "memory")?,
            leak: self.leak,
            waiting_page: match &self.waiting_page {
                None | Some(Page::Is(false)) => None,
                Some(Page::Is(true)) => Some(WaitingPage::Usual),
                Some(Page::At(path)) => Some(WaitingPage::File(path.clone())),
            },
            exclusive: self.exclusive.unwrap_or(usual.exclusive),
        };
        check(&made)?;
        Ok(made)
    }
}

fn check(made: &Activation) -> Result<()> {
    let bad = |why: &str, hint: &str| Err(Error::user(why.to_owned()).hint(hint.to_owned()));
    if made.port == Some(0) {
        return bad("port 0 is none", "1 to 65535");
    }
    if made.max == 0 || made.min > made.max {
        return bad("max must be at least 1 and at least min", "as in min = 0, max = 4");
    }
    if made.concurrency == 0 || [made.max, made.concurrency].iter().any(|number| *number > MOST) {
        return bad("max and concurrency are numbers from 1 to 100000", "as in concurrency = 64");
    }
    for (word, time) in [
        ("max_age", made.max_age.unwrap_or(Duration::MAX)),
        ("start_time", made.start_time),
        ("queue_time", made.queue_time),
        ("answer_time", made.answer_time),
        ("health_interval", made.health_interval),
    ] {
        if time.is_zero() {
            return bad(&format!("{word} is no time at all"), &format!("as in {word} = \"30s\""));
        }
    }
    if made.exclusive && made.max > 1 {
        return bad(
            "an exclusive service has one instance at most",
            "leave out max, or exclusive where the instances share no files",
        );
    }
    if made.leak.is_some_and(|share| share == 0 || share > 100) {
        return bad("leak is a percentage of the memory limit", "as in leak = 90");
    }
    if made.health.as_ref().is_some_and(|path| made.protocol == Protocol::Http && !path.starts_with('/')) {
        return bad("health is a path of the service", "as in health = \"/healthz\"");
    }
    Ok(())
}

fn protocol(word: &str) -> Result<Protocol> {
    match word {
        "http" => Ok(Protocol::Http),
        "h2c" => Ok(Protocol::H2c),
        "tcp" => Ok(Protocol::Tcp),
        _ => Err(Error::user(format!("{word:?} is no protocol")).hint("use http, h2c or tcp")),
    }
}

fn time(text: Option<&str>, usual: Duration) -> Result<Duration> {
    let Some(text) = text else { return Ok(usual) };
    milliseconds(text).map(Duration::from_millis)
}

fn after(text: Option<&str>, usual: After, learns: bool) -> Result<After> {
    match text {
        None => Ok(usual),
        Some("never") => Ok(After::Never),
        Some("learn") if learns => Ok(After::Learnt),
        Some(text) => milliseconds(text).map(|time| After::Time(Duration::from_millis(time))),
    }
}

fn range(least: Limit, most: Limit) -> Result<Range> {
    match (least, most) {
        (Limit::At(least), Limit::At(most)) if 0 < least && least <= most => Ok(Range { least, most }),
        _ => Err(Error::user("two amounts, the smaller one first").hint("as in [\"0.5\", \"2\"]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<Activation> {
        toml::from_str::<ActivationTable>(text).map_err(|cause| Error::user(cause.to_string()))?.resolve()
    }

    #[test]
    fn what_nobody_says_is_the_default() {
        assert_eq!(resolved("").expect("empty"), Activation::default());
        let said = resolved("min = 2\nidle = \"learn\"\ncpus = [\"0.5\", \"2\"]\nwaiting_page = true")
            .expect("fine");
        assert_eq!((said.min, said.max, said.idle), (2, 2, After::Learnt));
        assert_eq!(said.cpus, Some(Range { least: 500, most: 2000 }));
        assert_eq!(said.waiting_page, Some(WaitingPage::Usual));
    }

    #[test]
    fn what_may_happen_at_once_may_take_no_time() {
        let said =
            resolved("idle = \"0s\"\nfreeze = \"0s\"\ndrain_time = \"0s\"\ncalm = \"0s\"").expect("fine");
        assert_eq!((said.idle, said.drain_time), (After::Time(Duration::ZERO), Duration::ZERO));
    }

    #[test]
    fn the_stronger_word_holds() {
        let weak: ActivationTable = toml::from_str("min = 1\nmax = 3").expect("weak");
        let strong: ActivationTable = toml::from_str("max = 9").expect("strong");
        let both = weak.merged(strong).resolve().expect("both");
        assert_eq!((both.min, both.max), (1, 9));
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for text in [
            "max = 0",
            "min = 3\nmax = 2",
            "concurrency = 0",
            "idle = \"soon\"",
            "freeze = \"learn\"",
            "protocol = \"ftp\"",
            "ready = \"nope\"",
            "cpus = [\"2\", \"1\"]",
            "exclusive = true\nmax = 2",
            "leak = 0",
            "health = \"healthz\"",
            "port = 0",
            "max_age = \"0s\"",
            "start_time = \"0s\"",
            "queue_time = \"0s\"",
            "answer_time = \"0ms\"",
            "health_interval = \"0s\"",
        ] {
            assert!(!resolved(text).expect_err(text).hints().is_empty(), "{text}");
        }
        assert!(resolved("maximum = 3").is_err());
    }
}
