//! Hooks: what is done when something happens to a container, by a program or by a script.
//!
//! A definition lists them, a package carries them with the scripts' text, a spec holds those that this
//! host lets it have, and each firing is a short-lived process that gets a [`Firing`] and answers with an
//! [`Outcome`].

mod allow;
mod firing;
mod table;
mod when;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use allow::Allow;
pub use firing::{Change, Firing, Outcome, Subject, VERSION, Verdict};
pub use table::{HookTable, HooksTable, line};
pub use when::{Event, Resource, When, milliseconds};

/// A hook that is given no other time may take so long.
pub const TIMEOUT: u64 = 10_000;

/// A script that is given no other memory may take so many bytes.
pub const MEMORY: u64 = 32 << 20;

/// Nor longer, in milliseconds.
const LONGEST: u64 = 3_600_000;

/// Bytes of memory that can be given to a script.
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 1 << 30;

/// So many hooks may a container have.
const MOST: usize = 256;

/// And so many bytes of scripts, which go to its keeper in one message.
const FILES: usize = 256 << 10;

/// So many of a package from elsewhere are done, and no oftener, in milliseconds.
const MOST_CONFINED: usize = 16;
const LEAST_CONFINED: u64 = 1000;

/// 1 to 128 characters that can be shown on a line.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 128 && !name.chars().any(char::is_control)
}

/// All hooks of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// In the order in which those of one event are done.
    pub list: Vec<Hook>,
    /// What they may reach.
    #[serde(default)]
    pub allow: Allow,
    /// The texts of their scripts, by file name beside the definition.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// What was computed from, as a definition that computes saw it: the same again when a hook of it
    /// is looked up. JSON.
    #[serde(default)]
    pub facts: String,
    /// The program that does them on this host. (A package says nothing of it.)
    #[serde(default)]
    pub program: PathBuf,
    /// The variables that are allowed, as they were when the container was made. (Likewise.)
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What it is called in events, logs and errors; no two of a container have the same.
    pub name: String,
    /// When it is done.
    pub when: When,
    /// What is done.
    pub act: Act,
    /// In milliseconds: after that it is ended, and has failed.
    pub timeout: u64,
    /// What its failure means.
    pub on_error: OnError,
    /// Bytes that a script may take.
    pub memory: u64,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// A program of the host with its arguments: the state comes to it as JSON, as to hooks of OCI.
    Program(Vec<String>),
    /// A function of a script.
    Script {
        /// One of [`Hooks::files`].
        file: String,
        /// A field of the table that the file returns; of a definition that computes, the hook's name.
        function: String,
        /// The file is a definition that computes.
        definition: bool,
    },
}

/// What the failure of a hook means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// What it was to come before is not done. Of any other hook, and of what can no longer be
    /// prevented, it is only told.
    Abort,
    /// It is told, in the events and the container's log.
    #[default]
    Warn,
}

impl std::str::FromStr for OnError {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "abort" => Ok(Self::Abort),
            "warn" => Ok(Self::Warn),
            _ => Err(Error::user(format!("{text:?} is not what a failure can mean"))
                .hint("use on_error = \"abort\" or \"warn\"")),
        }
    }
}

impl Hook {
    /// Why what it comes before shall not be done, if its verdict means that.
    pub fn refusal<'a>(&self, verdict: &'a Verdict) -> Option<&'a str> {
        match verdict {
            Verdict::Veto(why) => Some(why),
            Verdict::Failed(why) | Verdict::Overdue(why) if self.on_error == OnError::Abort => Some(why),
            _ => None,
        }
    }
}

impl Hooks {
    /// Refuses what no definition could have said: a package may come from anywhere.
    ///
    /// # Errors
    /// Too many, too long, too large, or two of one name.
    pub fn check(&self) -> Result<()> {
        let bytes: usize = self.files.iter().map(|(name, text)| name.len() + text.len()).sum();
        if self.list.len() > MOST || bytes + self.facts.len() > FILES {
            let have = format!("{} hooks with scripts of {bytes} bytes", self.list.len());
            return Err(Error::user(format!("{have} are more than a container may have"))
                .hint(format!("at most {MOST} hooks, and {} KiB of scripts", FILES >> 10)));
        }
        for (number, hook) in self.list.iter().enumerate() {
            let is_taken = self.list[..number].iter().any(|other| other.name == hook.name);
            let is_bounded =
                (1..=LONGEST).contains(&hook.timeout) && (LEAST_MEMORY..=MOST_MEMORY).contains(&hook.memory);
            if is_taken || !is_bounded || !is_name(&hook.name) {
                return Err(Error::user(format!("hook {:?} is not as a definition says it", hook.name))
                    .hint("build the package anew, with tsubo build"));
            }
        }
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those of one moment, in their order.
    pub fn at(&self, when: &When) -> impl Iterator<Item = &Hook> {
        let when = when.clone();
        self.list.iter().filter(move |hook| hook.when == when)
    }

    /// Those that a package from elsewhere may have: a few scripts within the usual bounds, which reach
    /// nothing but their container, and keep nobody from ending or changing it. The names of the others.
    pub fn confine(&mut self) -> Vec<String> {
        let mut others = Vec::new();
        let mut count = 0;
        self.list.retain(|hook| {
            let is_own = matches!(hook.act, Act::Script { .. }) && !hook.when.holds_up_operators();
            count += usize::from(is_own);
            let is_kept = is_own && count <= MOST_CONFINED;
            others.extend((!is_kept).then(|| hook.name.clone()));
            is_kept
        });
        for hook in &mut self.list {
            hook.timeout = hook.timeout.min(TIMEOUT);
            hook.memory = hook.memory.min(MEMORY);
            if let When::Every { interval, .. } = &mut hook.when {
                *interval = (*interval).max(LEAST_CONFINED);
            }
        }
        self.allow = Allow::default();
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_from_elsewhere_keeps_scripts_without_reach() {
        let hook = |name: &str, act| Hook {
            name: name.to_owned(),
            when: "every 1m".parse().expect("a moment"),
            act,
            timeout: TIMEOUT,
            on_error: OnError::Warn,
            memory: MEMORY,
        };
        let script = Act::Script { file: "a.luau".into(), function: "f".into(), definition: false };
        let mut hooks = Hooks {
            list: vec![hook("a", Act::Program(vec!["/bin/true".into()])), hook("b", script)],
            allow: Allow { http: vec!["https://a/".into()], ..Allow::default() },
            ..Hooks::default()
        };
        hooks.list[1].timeout = 3_600_000;
        hooks.list.push(Hook {
            name: "c".into(),
            when: "before stop".parse().expect("a moment"),
            ..hooks.list[1].clone()
        });
        hooks.list.push(Hook {
            name: "d".into(),
            when: "every 100ms".parse().expect("a moment"),
            ..hooks.list[1].clone()
        });
        assert_eq!(hooks.confine(), ["a", "c"]);
        assert!(hooks.list.len() == 2 && hooks.allow == Allow::default());
        assert_eq!((hooks.list[0].timeout, hooks.list[1].when.to_string().as_str()), (TIMEOUT, "every 1s"));
    }

    #[test]
    fn what_goes_to_a_keeper_comes_there() {
        let mut hooks = Hooks { allow: Allow { limits: true, ..Allow::default() }, ..Hooks::default() };
        for ca in [None, Some("/etc/ssl/own.pem".into())] {
            hooks.allow.ca = ca;
            let bytes = postcard::to_stdvec(&hooks).expect("bytes");
            assert_eq!(postcard::from_bytes::<Hooks>(&bytes).expect("hooks"), hooks);
        }
    }
}
