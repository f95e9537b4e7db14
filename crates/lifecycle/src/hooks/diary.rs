//! What hooks leave: the table that lasts between firings, how each went last, and lines for people.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spec::Result;
use spec::hooks::{Hook, Outcome, Verdict};

use super::Owner;
use crate::disk::{self, Durable};
use crate::events::What;
use crate::record::now;

/// Beside the container's record.
const FILE: &str = "hooks.json";
/// What they said, for people.
const LOG: &str = "hooks.log";
/// A log that has grown beyond this becomes the older one, and the older one goes.
const LOG_BYTES: u64 = 128 << 10;
/// The table that lasts may be no larger, as JSON.
const STATE_BYTES: usize = 64 << 10;

/// How a hook went so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How often it was done.
    pub times: u64,
    /// And how often that did not go well.
    pub failures: u64,
    /// When the last one ended, in milliseconds since 1970.
    pub last: u64,
    /// In one word.
    pub outcome: String,
    /// Why, where it did not go well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Diary {
    #[serde(default)]
    state: BTreeMap<String, Value>,
    #[serde(default)]
    hooks: BTreeMap<String, Past>,
}

/// What the hooks of the container in `dir` have kept in `ctx.state`.
///
/// # Errors
/// When it cannot be read.
pub fn state(dir: &Path) -> Result<BTreeMap<String, Value>> {
    Ok(disk::read_json::<Diary>(&dir.join(FILE))?.unwrap_or_default().state)
}

/// How the hooks of the container in `dir` went, by their names.
///
/// # Errors
/// When it cannot be read.
pub fn past(dir: &Path) -> Result<BTreeMap<String, Past>> {
    Ok(disk::read_json::<Diary>(&dir.join(FILE))?.unwrap_or_default().hooks)
}

/// What the hooks of the container in `dir` have said, from the oldest line that is kept: each with the
/// time before it, in milliseconds since 1970.
pub fn log(dir: &Path) -> String {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    read(dir.join(LOG).with_extension("log.1")) + &read(dir.join(LOG))
}

pub(super) fn settle(owner: &Owner<'_>, hook: &Hook, outcome: &Outcome, took: Duration) -> Vec<String> {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let verdict = &outcome.verdict;
    let said = outcome.log.iter().map(|line| format!("hook {:?}: {line}", hook.name));
    let mut bad: Vec<String> = verdict
        .why()
        .map(|why| format!("hook {:?}: {}: {why}", hook.name, verdict.word()))
        .into_iter()
        .collect();
    if owner.dir.is_dir()
        && let Err(error) = note(owner.dir, hook, outcome, milliseconds)
    {
        bad.push(format!("hook {:?}: {}", hook.name, error.chain()));
    }
    // Nobody is left to be told where not even this can be written.
    let _ = append(owner.dir, &said.chain(bad.iter().cloned()).collect::<Vec<_>>());
    owner.subject().tell(What::Hook {
        hook: hook.name.clone(),
        outcome: verdict.word().to_owned(),
        why: verdict.why().map(str::to_owned),
        changed: outcome.changes.iter().map(|change| change.what.clone()).collect(),
        milliseconds,
    });
    bad
}

fn note(dir: &Path, hook: &Hook, outcome: &Outcome, milliseconds: u64) -> Result<()> {
    let _lock = locked(dir);
    let path = dir.join(FILE);
    // One that was cut off by a loss of power begins anew.
    let mut diary = disk::read_json::<Diary>(&path).ok().flatten().unwrap_or_default();
    let before = diary.state.clone();
    for (key, value) in &outcome.state {
        match value {
            Value::Null => diary.state.remove(key),
            value => diary.state.insert(key.clone(), value.clone()),
        };
    }
    let size = serde_json::to_vec(&diary.state).map_or(usize::MAX, |text| text.len());
    if size > STATE_BYTES {
        diary.state = before;
    }
    let past = diary.hooks.entry(hook.name.clone()).or_default();
    *past = Past {
        times: past.times + 1,
        failures: past.failures + u64::from(outcome.verdict != Verdict::Done),
        last: now(),
        outcome: outcome.verdict.word().to_owned(),
        why: outcome.verdict.why().map(str::to_owned),
        milliseconds,
    };
    disk::write_json(&path, &diary, Durable::No)?;
    if size > STATE_BYTES {
        return Err(spec::Error::user(format!(
            "ctx.state would be {size} bytes, and may be {STATE_BYTES}: nothing of it was kept"
        )));
    }
    Ok(())
}

/// Several hooks of a container may end at once, those of commands and those of its keeper.
fn locked(dir: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("hooks.lock"))
        .ok()?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).ok().map(|()| file)
}

fn append(dir: &Path, lines: &[String]) -> std::io::Result<()> {
    if lines.is_empty() || !dir.is_dir() {
        return Ok(());
    }
    let path = dir.join(LOG);
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES) {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    let time = now();
    let text: String = lines.iter().map(|line| format!("{time} {}\n", line.replace('\n', " "))).collect();
    file.write_all(text.as_bytes())
}
