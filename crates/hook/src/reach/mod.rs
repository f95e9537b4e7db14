//! What a hook may reach beyond its container: each thing only where the definition says so.

mod files;
mod groups;
mod http;
mod metrics;
mod names;
mod net;
mod programs;
pub(crate) use programs::{result, until};
mod sysctl;

use crate::follow_up::Step;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use lifecycle::{Container, Containers, Home, Running, Status};
use script::mlua::{self, Lua, Result, Table, Value};
use script::say::Said;
use script::{Vm, refused, value};
use serde_json::Value as Json;
use spec::hooks::{Allow, Change, Event, Firing, When};

/// Keys of the state that are ours, and that no script sees.
pub(crate) const OURS: &str = "tsubo:";

/// So many changes are told, each of at most so many bytes.
const CHANGES: usize = 200;
const CHANGE: usize = 1 << 10;

/// All that a firing knows and does.
#[derive(Debug, Clone)]
pub(crate) struct Host(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    firing: Firing,
    deadline: Instant,
    said: Said,
    veto: RefCell<Option<String>>,
    changes: RefCell<Vec<Change>>,
    follow_up: RefCell<Vec<Step>>,
    kept: RefCell<BTreeMap<String, Json>>,
    container: OnceCell<Container>,
}

impl Host {
    pub(crate) fn new(firing: Firing, deadline: Instant) -> Self {
        Self(Rc::new(Inner {
            firing,
            deadline,
            said: Said::default(),
            veto: RefCell::default(),
            changes: RefCell::default(),
            follow_up: RefCell::default(),
            kept: RefCell::default(),
            container: OnceCell::new(),
        }))
    }

    pub(crate) fn firing(&self) -> &Firing {
        &self.0.firing
    }

    pub(crate) fn allow(&self) -> &Allow {
        &self.0.firing.allow
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    pub(crate) fn said(&self) -> &Said {
        &self.0.said
    }

    pub(crate) fn is_dry(&self) -> bool {
        self.0.firing.dry
    }

    pub(crate) fn veto(&self) -> Option<String> {
        self.0.veto.borrow().clone()
    }

    pub(crate) fn set_veto(&self, why: String) {
        self.0.veto.borrow_mut().get_or_insert(why);
    }

    /// Notes a change; whether it is to be done too.
    pub(crate) fn changes_to(&self, what: &str, to: Json) -> bool {
        let mut told = self.0.changes.borrow_mut();
        match told.len().cmp(&CHANGES) {
            std::cmp::Ordering::Less => {
                let to =
                    if to.to_string().len() > CHANGE { Json::from("… too long to be told") } else { to };
                told.push(Change { what: what.to_owned(), to });
            }
            std::cmp::Ordering::Equal => {
                told.push(Change { what: "…".to_owned(), to: Json::from("more than are told") });
            }
            std::cmp::Ordering::Greater => {}
        }
        !self.is_dry()
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.0.changes.borrow().clone()
    }

    /// When this hook has ended, these are run.
    pub(crate) fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.0.follow_up.borrow_mut().extend(steps);
    }

    pub(crate) fn follow_up(&self) -> Vec<Step> {
        self.0.follow_up.borrow().clone()
    }

    /// What scripts have kept.
    pub(crate) fn state(&self) -> BTreeMap<String, Json> {
        let own = self.firing().state.iter().filter(|(key, _)| !key.starts_with(OURS));
        own.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// What we keep beside it.
    pub(crate) fn keep(&self, key: &str, value: Json) {
        self.0.kept.borrow_mut().insert(format!("{OURS}{key}"), value);
    }

    /// What we have kept, in this firing or before.
    pub(crate) fn kept_of(&self, key: &str) -> Option<Json> {
        let key = format!("{OURS}{key}");
        self.0.kept.borrow().get(&key).or_else(|| self.firing().state.get(&key)).cloned()
    }

    pub(crate) fn kept(&self) -> BTreeMap<String, Json> {
        self.0.kept.borrow().clone()
    }

    /// The state directory.
    pub(crate) fn home(&self) -> Home {
        Home::at(&self.firing().container.lib, &self.firing().container.run)
    }

    /// The container as it is written down now. Another one that has taken its name meanwhile is not meant.
    pub(crate) fn look(&self) -> spec::Result<Container> {
        let own = &self.firing().container;
        if self.firing().hook.when == When::Before(Event::Create) {
            let what = format!("container {} is not there yet", own.name);
            return Err(spec::Error::conflict(what).hint(
                "a hook before create has ctx.name, ctx.id, ctx.image and ctx.veto; others come later",
            ));
        }
        let all = Containers::of(&self.home());
        // It may have been renamed.
        let found = [&own.name, &own.id]
            .into_iter()
            .find_map(|word| all.find(word).ok().filter(|found| found.id().to_string() == own.id));
        found.ok_or_else(|| {
            spec::Error::not_found(format!("container {} ({}): it has gone", own.name, own.id))
        })
    }

    /// By which it can be called now; what is only tried needs none.
    pub(crate) fn name(&self) -> spec::Result<String> {
        if self.is_dry() {
            return Ok(self.firing().container.name.clone());
        }
        self.look().map(|found| found.name().to_string())
    }

    /// The container, read when it is first needed.
    pub(crate) fn container(&self) -> spec::Result<&Container> {
        if self.0.container.get().is_none() {
            let _ = self.0.container.set(self.look()?);
        }
        self.0.container.get().ok_or_else(|| spec::Error::internal("the container was not found"))
    }

    /// As it runs.
    pub(crate) fn running(&self) -> spec::Result<Running> {
        let (id, name) = (&self.firing().container.id, &self.firing().container.name);
        if let Some(state) = Containers::of(&self.home()).running(id, name)? {
            return Ok(state);
        }
        match self.container()?.status()? {
            Status::Running(state) => Ok(state),
            other => Err(spec::Error::conflict(format!(
                "container {} is not running: {}",
                self.firing().container.name,
                other.word()
            ))),
        }
    }

    /// The environment of programs of ours: those who are no root keep their containers where it says.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let (lib, run) = (&self.firing().container.lib, &self.firing().container.run);
        let mut all = super::processes::plain_environment();
        let names = ["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TSUBO_HOOK"];
        all.extend(names.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))));
        // A container that is made has the variables that its hooks may see from whoever makes it.
        let allowed = self.allow().env.iter().filter(|name| !name.starts_with("LD_"));
        all.extend(allowed.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))));
        if !has_root(lib, run) && lib.as_path() != Path::new("/var/lib/tsubo") {
            let above = [("XDG_DATA_HOME", lib.parent()), ("XDG_RUNTIME_DIR", run.parent())];
            let said = above.into_iter().filter_map(|(name, path)| Some((name, path?.display().to_string())));
            for (name, path) in said {
                all.retain(|(known, _)| known != name);
                all.push((name.to_owned(), path));
            }
        }
        all
    }

    /// The command line of another program of ours, for this state directory.
    pub(crate) fn tsubo(&self, words: &[&str]) -> spec::Result<Vec<String>> {
        let own =
            std::env::current_exe().map_err(|cause| spec::Error::io("looking for our own program", cause))?;
        let mut command = vec![own.with_file_name("tsubo").display().to_string()];
        let (lib, run) = (&self.firing().container.lib, &self.firing().container.run);
        if has_root(lib, run) {
            command.extend(["--root".to_owned(), lib.display().to_string()]);
        }
        command.extend(words.iter().map(|word| (*word).to_owned()));
        Ok(command)
    }
}

/// Whether a state directory was said, as with `--root`.
fn has_root(lib: &Path, run: &Path) -> bool {
    run == lib.join("run")
}

/// The refusal of what the definition does not allow.
pub(crate) fn not_allowed(lua: &Lua, what: impl Display, list: &str, entry: &str) -> mlua::Error {
    refused(lua, format!("{what} is not allowed: add {list} = [\"{entry}\"] to [hooks.allow]"))
}

/// Likewise, where it is yes or no.
pub(crate) fn not_said(lua: &Lua, what: impl Display, word: &str) -> mlua::Error {
    refused(lua, format!("{what} is not allowed: add {word} = true to [hooks.allow]"))
}

/// One of our errors as one of a script's.
pub(crate) fn failed(lua: &Lua, error: &spec::Error) -> mlua::Error {
    let hints: String = error.hints().iter().map(|hint| format!("\nhint: {hint}")).collect();
    refused(lua, format!("{}{hints}", error.chain()))
}

/// Makes one of what may be reached.
type Made = fn(&Lua, &Host) -> Result<Value>;

/// Gives all that may be reached; each is made when it is asked for.
pub(crate) fn give(vm: &Vm, host: &Host) {
    let all: [(&str, Made); 9] = [
        ("env", |lua, host| environment(lua, host).map(Value::Table)),
        ("fs", |lua, host| files::table(lua, host).map(Value::Table)),
        ("run", |lua, host| programs::function(lua, host).map(Value::Function)),
        ("http", |lua, host| http::table(lua, host).map(Value::Table)),
        ("cgroup", |lua, host| groups::table(lua, host).map(Value::Table)),
        ("sysctl", |lua, host| sysctl::table(lua, host).map(Value::Table)),
        ("net", |lua, host| net::table(lua, host).map(Value::Table)),
        ("metrics", |lua, host| metrics::table(lua, host).map(Value::Table)),
        ("store", |lua, host| store(lua, host).map(Value::Table)),
    ];
    for (name, make) in all {
        let own = host.clone();
        vm.give_lazily(name, move |lua| make(lua, &own));
    }
    vm.give_alias("statsd", "metrics");
}

/// In scripts that are no definitions `host` is asked when it is looked into, and as it is now.
pub(crate) fn give_live_host(vm: &Vm, host: &Host) {
    let lib = host.firing().container.lib.clone();
    vm.give_lazily("host", move |lua| live_host(lua, lib.clone()));
}

fn live_host(lua: &Lua, lib: PathBuf) -> Result<Table> {
    let (table, meta, cache) = (lua.create_table()?, lua.create_table()?, lua.create_table()?);
    let look = move |lua: &Lua, (_, key): (Table, String)| {
        if cache.is_empty() {
            for (key, value) in crate::facts::host(&lib) {
                cache.raw_set(key, value::from_json(lua, &value)?)?;
            }
        }
        cache.raw_get::<Value>(key)
    };
    meta.raw_set("__index", lua.create_function(look)?)?;
    table.set_metatable(Some(meta))?;
    Ok(table)
}

fn environment(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let own = host.clone();
    let get = move |lua: &Lua, name: String| {
        if !own.allow().env.contains(&name) {
            return Err(not_allowed(lua, format!("env.get({name:?})"), "env", &name));
        }
        Ok(std::env::var(&name).ok())
    };
    table.raw_set("get", lua.create_function(get)?)?;
    Ok(table)
}

fn store(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let own = host.clone();
    let images = move |lua: &Lua, ()| {
        if !own.allow().store {
            return Err(not_said(lua, "store.images()", "store"));
        }
        let list = || -> spec::Result<Json> {
            let images = store::Store::open(&own.firing().container.lib.join("store"))?.images()?;
            let one = |image: &store::Image| {
                serde_json::json!({ "name": image.name, "digest": image.digest.to_string(), "bytes": image.bytes,
                    "files": image.files, "installed": image.installed })
            };
            Ok(images.iter().map(one).collect())
        };
        value::from_json(lua, &list().map_err(|error| failed(lua, &error))?)
    };
    table.raw_set("images", lua.create_function(images)?)?;
    Ok(table)
}

/// All that may be reached, as a hook that may reach nothing of it has it: for a look at a script.
pub(crate) fn give_played(vm: &Vm, lib: &Path) {
    let host = Host::new(crate::try_out::played(lib), Instant::now() + std::time::Duration::from_secs(10));
    give(vm, &host);
    give_live_host(vm, &host);
}
