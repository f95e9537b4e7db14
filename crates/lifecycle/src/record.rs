//! What the state directory holds of a container.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use spec::container::Spec;
use spec::life::{Life, Wellness};
use spec::observation::Port;

use crate::networks::Connected;
use crate::pinned::Pinned;

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// `container.json`: written when the container is created, changed by `rename` and `update` only.
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
    /// How it lives.
    #[serde(default)]
    pub life: Life,
    /// Ports that its package was seen to listen on.
    #[serde(default)]
    pub ports: BTreeSet<Port>,
    /// It is started also where that breaks promises made to others.
    #[serde(default)]
    pub overcommit: bool,
    /// What was said when it was made, where its hooks may make others like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Whose instance it is: a gateway makes, starts, stops and removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

/// A service of a gateway, which a container is an instance of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Tells what the container was made from: another one is replaced.
    pub version: String,
}

/// What was said to `tsubo run` or `tsubo create`, but for the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its options.
    pub options: Vec<String>,
    /// A command line in place of the package's.
    pub args: Vec<String>,
    /// Where relative paths of them begin.
    pub folder: PathBuf,
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
    /// How often its keeper has started it again.
    #[serde(default)]
    pub restarts: u32,
    /// It has ended and waits to be started again.
    #[serde(default)]
    pub resting: bool,
    /// What its health checks have told, if it has any.
    #[serde(default)]
    pub health: Option<HealthState>,
    /// How it is connected, if it has a network that is made for it.
    #[serde(default)]
    pub network: Option<Connected>,
}

/// What the health checks of a running container have told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthState {
    /// In one word.
    pub status: Wellness,
    /// How many have failed in a row.
    pub failing: u32,
    /// The last check.
    pub last: Option<Probe>,
}

/// One health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it ended, in milliseconds since 1970.
    pub ended: u64,
    /// Its exit code; None where it took too long.
    pub code: Option<i32>,
    /// The first of what it said.
    pub output: String,
}

/// `exit.json`: how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit code, or 128 and the number of a signal.
    pub code: i32,
    /// Milliseconds since 1970; 0 if nobody saw it.
    pub finished: u64,
    /// Why, where that is not plain.
    pub note: Option<String>,
    /// The most that it used.
    pub peak: cgroup::Peak,
    /// It was stopped by hand.
    #[serde(default)]
    pub stopped: bool,
    /// The kernel had to kill for lack of memory.
    #[serde(default)]
    pub oom: bool,
    /// How often it had been started again.
    #[serde(default)]
    pub restarts: u32,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It was never started, or a command is just about to.
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
            Self::Running(running) => running.word(),
            Self::Exited(ended) => format!("exited ({})", ended.code),
        }
    }
}

impl Running {
    /// How it does, in one word or two.
    fn word(&self) -> String {
        match (&self.health, self.resting, self.is_paused()) {
            (_, true, _) => format!("restarting ({})", self.restarts + 1),
            (_, _, true) => "paused".to_owned(),
            (Some(health), ..) => format!("running ({})", health.status),
            (None, ..) => "running".to_owned(),
        }
    }

    /// Whether its processes are held.
    pub fn is_paused(&self) -> bool {
        self.group.as_ref().is_some_and(cgroup::Group::is_frozen)
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
