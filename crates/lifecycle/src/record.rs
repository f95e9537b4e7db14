//! What the state directory holds of a container.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use spec::container::Spec;

use crate::pinned::Pinned;

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// `container.json`: written when the container is created, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format version.
    pub version: u32,
    /// The resolved spec.
    pub spec: Spec,
    /// What it was made from, for people: an image's name and digest.
    pub image: String,
    /// Milliseconds since 1970.
    pub created: u64,
    /// It is removed when it ends.
    pub remove: bool,
}

/// `state.json` in the run directory: true while it runs, and only on this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The boot on which it was started.
    pub boot: String,
    /// Its keeper.
    pub keeper: Pinned,
    /// Its first process.
    pub first: Pinned,
    /// Its control groups.
    pub group: Option<cgroup::Group>,
    /// Milliseconds since 1970.
    pub started: u64,
}

/// `exit.json`: how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit code, or 128 and the number of a signal.
    pub code: i32,
    /// Milliseconds since 1970; 0 if nobody saw it.
    pub finished: u64,
    /// Why, where that is not plain.
    pub note: Option<String>,
    /// The most that it used.
    pub peak: cgroup::Peak,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// A command is just starting it.
    Created,
    /// It runs.
    Running(Running),
    /// It has ended.
    Exited(Ended),
}

impl Status {
    /// In one word, with the exit code.
    pub fn word(&self) -> String {
        match self {
            Self::Created => "created".to_owned(),
            Self::Running(_) => "running".to_owned(),
            Self::Exited(ended) => format!("exited ({})", ended.code),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
