//! How a container lives: what is done when it ends, and how its health is told. Unlike the rest of
//! a spec this can change while it runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The choices about a container's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Whether it is started again when it has ended.
    pub restart: Restart,
    /// How its health is told.
    pub health: Option<Health>,
    /// Its standard input is kept open for whoever starts it or attaches to it.
    pub input: bool,
    /// It was made to be started later: not being started is no sign of a killed command.
    pub standing: bool,
}

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it failed, at most so often.
    OnFailure {
        /// None is without end.
        most: Option<u32>,
    },
    /// Whenever it ends by itself; after a reboot in any case.
    Always,
    /// Likewise, but after a reboot only if it had not been stopped by hand.
    UnlessStopped,
}

impl Restart {
    /// Whether one that ended by itself with `code`, after having been started again `times`, is
    /// started once more.
    pub fn again(self, code: i32, times: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { most } => code != 0 && most.is_none_or(|most| times < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// Whether one that was found ended after a reboot is started; `stopped` by hand or not.
    pub fn after_reboot(self, code: i32, stopped: bool) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { .. } => code != 0 && !stopped,
            Self::Always => true,
            Self::UnlessStopped => !stopped,
        }
    }
}

impl FromStr for Restart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::user(format!("{text:?} is no restart policy"))
                .hint("use no, on-failure, on-failure:5 (at most five times), always or unless-stopped")
        };
        Ok(match text.split_once(':') {
            Some(("on-failure", most)) => Self::OnFailure { most: Some(most.parse().map_err(|_| bad())?) },
            Some(_) => return Err(bad()),
            None => match text {
                "no" => Self::No,
                "on-failure" => Self::OnFailure { most: None },
                "always" => Self::Always,
                "unless-stopped" => Self::UnlessStopped,
                _ => return Err(bad()),
            },
        })
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure { most: None } => f.write_str("on-failure"),
            Self::OnFailure { most: Some(most) } => write!(f, "on-failure:{most}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

/// A command in the container whose exit code tells its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// From the end of one check to the next, in milliseconds.
    pub interval: u64,
    /// A check that takes longer, in milliseconds, has failed.
    pub timeout: u64,
    /// So many failures in a row mean unhealthy.
    pub retries: u32,
    /// Failures in this time after the start, in milliseconds, do not count.
    pub start_period: u64,
}

impl Health {
    /// Docker's times, for a command line.
    pub fn new(argv: Vec<String>) -> Self {
        Self { argv, interval: 30_000, timeout: 30_000, retries: 3, start_period: 0 }
    }
}

/// What the checks have told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wellness {
    /// Nothing yet.
    #[default]
    Starting,
    /// The last check passed, or too few have failed since.
    Healthy,
    /// Too many have failed in a row.
    Unhealthy,
}

impl fmt::Display for Wellness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_round_trip_and_nonsense_is_refused() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Restart>().expect(text).to_string(), text);
        }
        for text in ["", "yes", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"] {
            assert!(!text.parse::<Restart>().expect_err(text).hints().is_empty(), "{text}");
        }
    }

    #[test]
    fn who_is_started_again() {
        let three = Restart::OnFailure { most: Some(3) };
        assert!(three.again(1, 2) && !three.again(1, 3) && !three.again(0, 0));
        assert!(Restart::Always.again(0, 1_000_000) && !Restart::No.again(1, 0));
        assert!(Restart::Always.after_reboot(0, true) && !Restart::UnlessStopped.after_reboot(137, true));
        assert!(Restart::UnlessStopped.after_reboot(0, false) && three.after_reboot(137, false));
        assert!(!three.after_reboot(0, false) && !three.after_reboot(137, true));
    }
}
