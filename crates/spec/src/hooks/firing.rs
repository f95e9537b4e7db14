//! What the process of a hook is told, and what it answers. JSON, as programs that are hooks get it too.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Allow, Hook};

/// The version of these two forms.
pub const VERSION: u32 = 1;

/// One firing of a hook: all that its process knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// [`VERSION`].
    pub version: u32,
    /// Which one.
    pub hook: Hook,
    /// Whose.
    pub container: Subject,
    /// What happened, as far as its moment does not tell: the exit code after a failure, the signal's
    /// number, the percentage that was reached.
    #[serde(default)]
    pub detail: BTreeMap<String, Value>,
    /// What it may reach.
    #[serde(default)]
    pub allow: Allow,
    /// The texts of the scripts.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The facts that its definition was computed from.
    #[serde(default)]
    pub facts: String,
    /// What earlier firings have left in `ctx.state`.
    #[serde(default)]
    pub state: BTreeMap<String, Value>,
    /// Nothing is changed: what would be is only told.
    #[serde(default)]
    pub dry: bool,
}

/// The container that a hook belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it was made from.
    pub image: String,
    /// `created`, `running`, `stopped`.
    pub status: String,
    /// Its first process, if it runs.
    #[serde(default)]
    pub pid: Option<i32>,
    /// The state directory that it is of.
    pub lib: PathBuf,
    /// And the run directory.
    pub run: PathBuf,
}

/// How it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Lines that it wrote.
    #[serde(default)]
    pub log: Vec<String>,
    /// Keys of `ctx.state` that it set (null removes one).
    #[serde(default)]
    pub state: BTreeMap<String, Value>,
    /// What it changed, or would have where nothing is to be changed.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// What comes of a firing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum Verdict {
    /// It is done.
    #[default]
    Done,
    /// What it came before shall not be done: the reason that it gives.
    Veto(String),
    /// It failed: file, line and reason.
    Failed(String),
    /// It took longer than it may.
    Overdue(String),
}

/// Something that a hook changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What, as in `limits.memory`, `stop`, `exec`.
    pub what: String,
    /// To what.
    pub to: Value,
}

impl Verdict {
    /// In one word, for events.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Veto(_) => "veto",
            Self::Failed(_) => "failed",
            Self::Overdue(_) => "overdue",
        }
    }

    /// Why, where it did not go well.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Veto(why) | Self::Failed(why) | Self::Overdue(why) => Some(why),
        }
    }
}
