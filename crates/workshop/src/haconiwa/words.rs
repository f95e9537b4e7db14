//! From Haconiwa's words to ours: pure.
//!
//! What has no counterpart, or means something else here, becomes a note; nothing is dropped in silence.

mod base;
mod files;
mod hooks;
mod kernel;
mod limits;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use spec::definition::Definition;
use spec::{Error, Name, Result};

use super::record::{Container, Record, Tried, Values, said, shown};
use super::text;
pub(super) use hooks::Skeleton as HookSkeleton;

/// Something to know about what was imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Note {
    /// Where, if it is of one place.
    pub line: Option<u64>,
    /// What.
    pub text: String,
}

/// One container in our words.
#[derive(Debug)]
pub struct Imported {
    /// Its name.
    pub name: Name,
    /// The text of `tsubo.toml`.
    pub definition: String,
    /// The text of `hooks.luau`, where there are hooks.
    pub hooks: Option<String>,
    /// What is not the same.
    pub notes: Vec<Note>,
}

/// Where it comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file's name.
    pub name: String,
    /// The folder that it is in, which relative paths are from.
    pub folder: PathBuf,
}

/// What is gathered while the words are gone through.
pub(super) struct Mapping<'a> {
    pub(super) origin: &'a Origin,
    pub(super) from: &'a Container,
    pub(super) to: Definition,
    pub(super) notes: Vec<Note>,
}

impl Mapping<'_> {
    /// Notes something that is of no one line.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.note_at(None, text);
    }

    pub(super) fn note_at(&mut self, line: Option<u64>, text: impl Into<String>) {
        let note = Note { line, text: text.into() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Notes every value of a table under its word.
    pub(super) fn note_all(&mut self, word: &str, values: &Values, why: &str) {
        for (key, value) in values {
            if key != "others" {
                self.note(format!("{word}.{key} = {}: {why}", shown(value)));
            }
        }
    }
}

/// All containers of a record, in our words.
///
/// # Errors
/// Two containers of one name; a defect of ours: a definition that we do not read ourselves.
pub fn imported(record: &Record, origin: &Origin) -> Result<Vec<Imported>> {
    let all = record.containers.iter().map(|container| one(container, record, origin));
    let all = all.collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    match all.iter().find(|one| !names.insert(one.name.clone())) {
        Some(twice) => {
            Err(Error::user(format!("{} defines two containers called {}", origin.name, twice.name)))
        }
        None => Ok(all),
    }
}

fn one(container: &Container, record: &Record, origin: &Origin) -> Result<Imported> {
    let to = empty()?;
    let mut mapping = Mapping { origin, from: container, to, notes: Vec::new() };
    mapping.name();
    mapping.process();
    mapping.base();
    mapping.files();
    mapping.kernel();
    mapping.limits();
    let hooks = mapping.hooks();
    mapping.rest();
    record.notes.iter().for_each(|tried| mapping.note_at(tried.line, tried_in_words(tried)));
    let Mapping { to, notes, .. } = mapping;
    let definition = text::definition(&to, &notes, origin)?;
    // What we write we must be able to read.
    Definition::parse(&definition, "tsubo.toml")
        .and_then(|read| read.hooks.hooks(None, &definition))
        .map_err(|error| {
            Error::internal(format!("what becomes of {} is no definition", origin.name)).because(error)
        })?;
    let hooks = (!hooks.is_empty()).then(|| text::hooks(&hooks, &to, origin));
    Ok(Imported { name: to.name, definition, hooks, notes })
}

/// The least definition.
fn empty() -> Result<Definition> {
    Definition::parse("name = \"haconiwa\"\ncommand = [\"/bin/bash\"]\n", "tsubo.toml")
}

fn tried_in_words(tried: &Tried) -> String {
    let text = &tried.text;
    match tried.kind.as_str() {
        "command" => format!(
            "the definition runs `{text}` while it is read: it was not run, and its output is taken as empty"
        ),
        "env" => format!(
            "the definition reads ENV[{text:?}], which was nil: import it again with --env {text}=VALUE if it matters"
        ),
        "constant" => format!("{text} is not known here: what is computed from it is shown as <{text}…>"),
        "value" => {
            format!("{text} gives something else with Haconiwa; here it is fixed: look where it is used")
        }
        _ => format!("the definition calls {text} while it is read: it was not done"),
    }
}

impl Mapping<'_> {
    fn name(&mut self) {
        let said = said(&self.from.name).or_else(|| said(&self.from.inherited_name));
        let stem = Path::new(&self.origin.name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let wanted = said.clone().or(stem).unwrap_or_default();
        match wanted.parse::<Name>() {
            Ok(name) => self.to.name = name,
            Err(_) => {
                let name = usable(&wanted).unwrap_or_else(|| self.to.name.clone());
                self.note(format!("config.name = {wanted:?} cannot be a name here: it is {name}"));
                self.to.name = name;
            }
        }
        if said.is_none() {
            self.note(format!(
                "config.name is not said (Haconiwa makes one of the time): it is {}",
                self.to.name
            ));
        }
        let hostname = said_text(&self.from.hostname).filter(|host| *host != wanted);
        self.to.isolation.hostname = hostname;
    }

    fn process(&mut self) {
        let command: Vec<String> = self.from.init_command.iter().map(shown).collect();
        match command.is_empty() {
            false => self.to.command = command,
            true => self.note("config.init_command is not said: Haconiwa's usual, /bin/bash, is kept"),
        }
        if !self.from.daemon {
            self.note("without config.daemonize! it stays in front: tsubo run -it");
        }
        self.environment();
        if let Some(workdir) = said_text(&self.from.workdir) {
            match workdir.parse() {
                Ok(path) => self.to.workdir = Some(path),
                Err(error) => self.note(format!("config.workdir = {workdir:?}: {error}")),
            }
        }
        self.user();
    }

    fn environment(&mut self) {
        match &self.from.environ {
            Value::Null => {}
            Value::Object(table) => {
                self.to.environment = table.iter().map(|(key, value)| (key.clone(), shown(value))).collect();
            }
            other => self.note(format!("config.environ = {} is no hash", shown(other))),
        }
    }

    fn user(&mut self) {
        let (uid, gid) = (said_text(&self.from.uid), said_text(&self.from.gid));
        self.to.user = match (uid, gid) {
            (None, None) => None,
            (Some(uid), None) => Some(uid),
            (uid, Some(gid)) => Some(format!("{}:{gid}", uid.unwrap_or_else(|| "0".to_owned()))),
        };
        if let Some(user) = self.to.user.as_ref().filter(|user| user.starts_with(|c: char| c.is_alphabetic()))
        {
            self.note(format!(
                "user {user}: Haconiwa looks it up on the host, tsubo in the container's /etc/passwd"
            ));
        }
        if self.from.groups != Value::Null {
            self.note(format!("config.groups = {}: supplementary groups are those of the user in /etc/group of the container", shown(&self.from.groups)));
        }
    }

    /// Words that mean how Haconiwa itself is run.
    fn rest(&mut self) {
        let streams: Vec<_> = self.from.command.iter().filter(|(key, _)| key.starts_with("std")).collect();
        for (stream, options) in streams {
            self.note(format!(
                "config.command.set_{stream}({}): the keeper keeps what it says; tsubo logs {} shows it",
                shown(options),
                self.to.name
            ));
        }
        if !self.from.reload.is_empty() {
            self.note("config.support_reload: limits are changed with tsubo update, while it runs");
        }
        if self.from.cgroup_name != Value::Null {
            self.note(format!(
                "config.cgroup_name = {}: groups are named by the container's id",
                shown(&self.from.cgroup_name)
            ));
        }
        self.note_all(
            "config.checkpoint",
            &self.from.checkpoint,
            "containers are not saved and restored with CRIU",
        );
        for (word, value) in &self.from.rest {
            self.note(format!("config.{word} = {}: {}", shown(value), why_not(word)));
        }
        for other in &self.from.others {
            let text = match other.word.as_str() {
                "validate_real_id" => "config.validate_real_id: nothing here is set-user-ID root; who may run tsubo is decided by the system".to_owned(),
                word => format!("config.{word} {}: not known here", other.value),
            };
            self.note_at(other.line, text);
        }
    }
}

/// Why a word has no counterpart.
fn why_not(word: &str) -> &'static str {
    match word {
        "wait_interval" | "use_legacy_watchdog" => "nothing waits by looking: the kernel tells the keeper",
        "metadata" => "containers have no tags",
        "container_pid_file" => "the keeper knows the pid; tsubo inspect shows it",
        "log_level" => "tsubo says what goes wrong, and nothing else",
        "run_as_restore" => "containers are not saved and restored with CRIU",
        "project_name" => "containers that belong together share a group: limits.group",
        _ => "not known here",
    }
}

/// The text of a value that is said and not empty.
fn said_text(value: &Value) -> Option<String> {
    said(value).filter(|text| !text.is_empty())
}

/// The nearest name that can be one.
fn usable(wanted: &str) -> Option<Name> {
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' };
    let name: String = wanted.chars().map(clean).collect();
    let name: String =
        name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).chars().take(63).collect();
    name.trim_end_matches('-').parse().ok()
}

#[cfg(test)]
mod tests;
