//! Interfaces that plugins of CNI make: the configuration of a name is found, its plugins are executed one after
//! the other with what those before have done, and in the reverse order when the interface is taken back.

mod config;
mod request;
mod result;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spec::network::{Asked, Networking, Publish};
use spec::{Error, Id, Name, Result};

use super::Given;
use super::foreign::{Call, Files, LIMIT, Said, absolute, found};
use config::List;

pub(super) use config::text;

/// Where plugins usually are.
const PLUGINS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

const INSTALL: &str = "install it (the package containernetworking-plugins has the usual ones), or name its directory in CNI_PATH";

/// One interface, as it is made and taken back; all that it takes to do that without the configuration, which
/// may have been changed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    list: List,
    dirs: Vec<PathBuf>,
    interface: String,
    args: String,
    runtime: Map<String, Value>,
    /// So many plugins were executed, or are being executed.
    begun: usize,
    /// What the last of them has said that has ended.
    result: Option<Value>,
    /// All have.
    whole: bool,
    /// Those that have taken back what they did, or have nothing to take back.
    #[serde(default)]
    gone: Vec<usize>,
    /// What the last that was begun has said, if it did nothing.
    #[serde(default)]
    refusal: Option<String>,
}

/// For which container, and where.
pub(super) struct Whose<'a> {
    pub(super) id: Id,
    /// Where the network namespace can be opened; empty when it is gone.
    pub(super) namespace: &'a str,
    /// What a plugin is told, and says.
    pub(super) files: &'a Files,
}

/// What a container asks of one of its interfaces.
pub(super) struct Wanted<'a> {
    /// The configuration.
    pub(super) name: &'a str,
    pub(super) interface: &'a str,
    pub(super) asked: &'a Asked,
    /// The container.
    pub(super) container: &'a Name,
    pub(super) networking: &'a Networking,
    /// The ports that this one publishes.
    pub(super) ports: &'a [Publish],
}

/// Where configurations and plugins are that are not at their usual places: the words that other programs know.
///
/// # Errors
/// For one that is not absolute.
pub(crate) fn by_environment(asked: Asked) -> Result<Asked> {
    by_variables(asked, &|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn by_variables(asked: Asked, var: &dyn Fn(&str) -> Option<OsString>) -> Result<Asked> {
    let path = var("CNI_PATH").unwrap_or_default();
    let programs = std::env::split_paths(&path).filter(|dir| !dir.as_os_str().is_empty());
    let programs = programs.map(|dir| absolute("CNI_PATH", dir)).collect::<Result<_>>()?;
    let named = ["CNI_CONFIG_DIR", "NETCONFPATH"].into_iter().find_map(|name| Some((name, var(name)?)));
    let configurations = named.map(|(name, dir)| absolute(name, dir.into())).transpose()?;
    Ok(Asked { configurations, programs, ..asked })
}

impl Chain {
    /// What would be made.
    ///
    /// # Errors
    /// Not found for a configuration or plugin that is not there; unsupported for what none of its plugins can do.
    pub(super) fn of(wanted: &Wanted<'_>) -> Result<Self> {
        let Wanted { name, interface, asked, container, networking, ports } = *wanted;
        let usual = Path::new(config::USUAL);
        let list = config::find(asked.configurations.as_deref().unwrap_or(usual), name)?;
        request::must_fit(&list, asked, networking, ports)?;
        let dirs = match &asked.programs[..] {
            [] => PLUGINS.iter().map(PathBuf::from).collect(),
            given => given.to_vec(),
        };
        let runtime = request::runtime(&list, container, asked, networking, ports);
        let (args, interface) = (request::args(&list, container, asked), interface.to_owned());
        let chain = Self {
            list,
            dirs,
            interface,
            args,
            runtime,
            begun: 0,
            result: None,
            whole: false,
            gone: Vec::new(),
            refusal: None,
        };
        for kind in chain.list.kinds().chain(chain.list.givers()) {
            chain.program(kind)?;
        }
        Ok(chain)
    }

    fn program(&self, kind: &str) -> Result<PathBuf> {
        found(
            kind,
            &self.dirs,
            &format!("the plugin {kind} of the CNI configuration {}", self.list.name),
            INSTALL,
        )
    }

    /// Whether it was begun, and not made whole.
    pub(super) fn is_half(&self) -> bool {
        self.begun > 0 && !self.whole
    }

    /// What the interface was as far as is known, once it was begun; `said` is what the last plugin has said of whom
    /// nothing is noted.
    pub(super) fn shape(&self, said: &[u8]) -> Option<Given> {
        let known = |result: &Value| {
            let (given, _) = result::given(result, &self.interface).ok()?;
            Some(given).filter(|given| !given.addresses.is_empty())
        };
        let last = || serde_json::from_slice(said).ok().filter(|_| self.is_half()).as_ref().and_then(known);
        let bare = || Given { interface: self.interface.clone(), ..Given::default() };
        (self.begun > 0).then(|| last().or_else(|| self.result.as_ref().and_then(known)).unwrap_or_else(bare))
    }

    /// Makes it. `note` is told before each step.
    ///
    /// # Errors
    /// What a plugin says; what is no result; where others give what was not asked for. Then what was begun is to be
    /// [taken back](Self::del).
    pub(super) fn add(
        &mut self,
        whose: &Whose<'_>,
        asked: &Asked,
        note: &mut dyn FnMut(&Self) -> Result<()>,
    ) -> Result<Given> {
        for index in 0..self.list.plugins.len() {
            self.begun = index + 1;
            note(self)?;
            self.result = Some(self.add_one(index, whose).inspect_err(|_| {
                // What was noted before it was begun is enough to take it back.
                let _ = note(self);
            })?);
        }
        self.whole = true;
        let told = result::given(self.result.as_ref().unwrap_or(&Value::Null), &self.interface);
        let (given, mac) = told.map_err(|why| self.no_result(&why))?;
        note(self)?;
        if let Some(missing) = request::missing(&asked.addresses, &given.addresses) {
            return Err(self.not_given(&missing.to_string()));
        }
        match (asked.mac.map(|mac| mac.to_string()), mac) {
            (Some(wanted), Some(has)) if wanted != has => Err(self.not_given(&wanted)),
            _ => Ok(given),
        }
    }

    fn add_one(&mut self, index: usize, whose: &Whose<'_>) -> Result<Value> {
        let said = self.call("ADD", index, whose, self.result.as_ref())?;
        if !said.status.success() {
            self.refusal = Some(why(&said));
            return Err(self.refused("ADD", index, &said));
        }
        serde_json::from_slice(&said.out)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| self.no_result(&format!("{} says {:?}", self.kind(index), said.complaint())))
    }

    fn kind(&self, index: usize) -> &str {
        self.list.plugins.get(index).map(config::kind).unwrap_or_default()
    }

    fn no_result(&self, why: &str) -> Error {
        Error::unsupported(format!(
            "the CNI configuration {} comes to no result that can be understood: {why}",
            self.list.name
        ))
    }

    /// What is wrong with a result of an interface that is not there.
    pub(super) fn not_there(&self, given: &Given) -> Error {
        let (kinds, addresses): (Vec<_>, Vec<_>) =
            (self.list.kinds().collect(), given.addresses.iter().map(ToString::to_string).collect());
        Error::unsupported(format!(
            "the CNI configuration {} (plugin {}) says that {} has {}, but the container has no such interface",
            self.list.name,
            kinds.join(", then "),
            given.interface,
            addresses.join(" and ")
        ))
        .hint("the first plugin is to make it, by the name that CNI_IFNAME says")
    }

    fn not_given(&self, what: &str) -> Error {
        Error::unsupported(format!(
            "the CNI configuration {} has not given {what}, which was asked for",
            self.list.name
        ))
        .hint("its plugins must know the argument (IP, MAC) or have the capability (\"ips\", \"mac\")")
    }

    /// Takes back what was begun, in the reverse order; goes on after a failure, and leaves out those that are done.
    ///
    /// # Errors
    /// The first failure; what comes of it is nothing that is left where all are [gone](Self::is_gone).
    pub(super) fn del(&mut self, whose: &Whose<'_>) -> Result<()> {
        let before = self.result.clone().filter(|_| self.whole && self.list.remembers());
        let mut first = Ok(());
        for index in self.begun() {
            if self.gone.contains(&index) {
                continue;
            }
            let said = self.call("DEL", index, whose, before.as_ref());
            if said.as_ref().is_ok_and(|said| said.status.success() || self.never_made(index, said)) {
                self.gone.push(index);
            }
            let done = said.and_then(|said| match said.status.success() {
                true => Ok(()),
                false => Err(self.refused("DEL", index, &said)),
            });
            first = first.and(done);
        }
        first
    }

    fn begun(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        (0..self.begun.min(self.list.plugins.len())).rev()
    }

    /// Whether nothing is left of it.
    pub(super) fn is_gone(&self) -> bool {
        self.begun().all(|index| self.gone.contains(&index))
    }

    /// Whether a plugin that cannot take anything back has not made anything either: it could not even begin.
    fn never_made(&self, index: usize, said: &Said) -> bool {
        let why = why(said);
        let others = self.refusal.as_ref().is_some_and(|refusal| *refusal != why);
        let failed = !self.whole && index + 1 == self.begun;
        failed && !others && result::refuses(&said.out, self.refusal.is_some())
    }

    fn refused(&self, command: &str, index: usize, said: &Said) -> Error {
        Error::unsupported(format!("{}: {}", self.doing(command, index), why(said)))
    }

    fn doing(&self, command: &str, index: usize) -> String {
        let kind = self.kind(index);
        format!("{command} by the plugin {kind} of the CNI configuration {}", self.list.name)
    }

    /// What it says, whether it has done it or not.
    fn call(&self, command: &str, index: usize, whose: &Whose<'_>, before: Option<&Value>) -> Result<Said> {
        let input = serde_json::to_vec(&self.input(index, before))
            .map_err(|cause| Error::internal("encoding a configuration").because(cause))?;
        let path = std::env::join_paths(&self.dirs).unwrap_or_default();
        let environment = [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", whose.id.to_string()),
            ("CNI_NETNS", whose.namespace.to_owned()),
            ("CNI_IFNAME", self.interface.clone()),
            ("CNI_ARGS", self.args.clone()),
            ("CNI_PATH", path.to_string_lossy().into_owned()),
        ];
        let program = self.program(self.kind(index))?;
        let (input, files) = (&input[..], whose.files);
        let call =
            Call { program: &program, words: &[], environment: &environment, input, files, limit: LIMIT };
        call.run().map_err(|error| error.context(self.doing(command, index)))
    }

    /// The configuration of one plugin, with what all have in common and what is only true now.
    fn input(&self, index: usize, before: Option<&Value>) -> Value {
        let mut input = self.list.plugins.get(index).cloned().unwrap_or_default();
        let runtime = request::of_plugin(&input, &self.runtime);
        input.insert("name".into(), self.list.name.as_str().into());
        input.insert("cniVersion".into(), self.list.version.as_str().into());
        if !runtime.is_empty() {
            input.insert("runtimeConfig".into(), Value::Object(runtime));
        }
        if let Some(before) = before {
            input.insert("prevResult".into(), before.clone());
        }
        Value::Object(input)
    }
}

/// What a plugin that fails says.
fn why(said: &Said) -> String {
    result::failure(&said.out).unwrap_or_else(|| match said.complaint() {
        nothing if nothing.is_empty() => said.status.to_string(),
        complaint => format!("{} ({complaint})", said.status),
    })
}

#[cfg(test)]
mod tests;
