//! Hooks: what is done, by a process of its own, when something happens to a container.
//!
//! Whoever does the thing also does the hooks: commands those that come before something and may say no
//! ([`ask`]), keepers those of timers, signals and resources ([`Owner::begin`]), without waiting.

mod ask;
mod diary;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use spec::container::Spec;
use spec::hooks::{Firing, Hook, Subject, VERSION};
use spec::{Error, Result};

pub use ask::{after, before, told};
pub use diary::{Past, log, past, state};
pub use process::{PROGRAM, Running, do_left, in_hook, program};

use crate::events;

/// What happened, as far as its moment does not tell.
pub type Detail = BTreeMap<String, Value>;

/// Whose hooks are done, as far as their processes must know.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The container.
    pub spec: &'a Spec,
    /// Its directory.
    pub dir: &'a Path,
    /// Its run directory.
    pub run: &'a Path,
    /// What it was made from.
    pub image: &'a str,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: &'a str,
    /// Its first process.
    pub pid: Option<i32>,
}

impl Owner<'_> {
    /// All that the process of a hook is told.
    pub(crate) fn firing(&self, hook: &Hook, detail: Detail) -> Firing {
        let hooks = self.spec.hooks.as_deref();
        let above =
            |path: &Path| path.parent().and_then(Path::parent).map_or_else(PathBuf::new, Path::to_owned);
        Firing {
            version: VERSION,
            hook: hook.clone(),
            container: Subject {
                id: self.spec.id.to_string(),
                name: self.spec.name.to_string(),
                image: self.image.to_owned(),
                status: self.status.to_owned(),
                pid: self.pid,
                lib: above(self.dir),
                run: above(self.run),
            },
            detail,
            allow: hooks.map(|hooks| hooks.allow.clone()).unwrap_or_default(),
            files: hooks.map(|hooks| hooks.files.clone()).unwrap_or_default(),
            facts: hooks.map(|hooks| hooks.facts.clone()).unwrap_or_default(),
            // What cannot be read any more begins anew, and is told where it was written.
            state: diary::state(self.dir).unwrap_or_default(),
            dry: false,
        }
    }

    /// Those of one moment, by their places in the list.
    pub fn at(&self, when: &spec::hooks::When) -> Vec<usize> {
        let list = self.spec.hooks.as_deref().map(|hooks| hooks.list.as_slice()).unwrap_or_default();
        (0..list.len()).filter(|number| list[*number].when == *when).collect()
    }

    fn subject(&self) -> events::Subject<'_> {
        events::Subject { run: self.run, id: self.spec.id, name: &self.spec.name, image: self.image }
    }
}

/// Whether a moment is one of those that a container of this host can come to; whether its network is made
/// for it is told.
///
/// # Errors
/// Unsupported, with what there is instead.
pub fn must_come(hook: &Hook, is_wired: bool) -> Result<()> {
    use spec::hooks::{Event, When};
    let (When::Before(event) | When::After(event)) = &hook.when else { return Ok(()) };
    let why = match event {
        Event::Network if is_wired => return Ok(()),
        Event::Network => "its network is the host's, another's, or none: nothing is made for it",
        Event::Snapshot => "no pictures are taken of containers",
        _ => return Ok(()),
    };
    Err(Error::unsupported(format!("hook {:?} would never be done: {why}", hook.name))
        .hint("use \"before start\" or \"after start\", or give it a network of its own: --network NAME"))
}
