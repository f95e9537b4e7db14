//! From a portable spec to a spec: every default of a production container, for this host.

mod carried;
mod facts;
mod files;
mod hooks;
mod kernel;
mod layers;
mod limits;
mod lxcfs;
mod namespaces;
mod network;
mod privilege;
mod promise;
mod reason;
mod room;
#[cfg(test)]
mod tests;
mod trust;

use std::path::{Path, PathBuf};

use spec::container::{Clocks, Namespace, Process, Root, RootChange, Spec};
use spec::isolation::{self, Isolation, Origin};
use spec::life::Life;
use spec::limits::Limits;
use spec::network::NetworkTable;
use spec::portable::{Ids, Portable};
use spec::{Error, Id, Name, Result, ResultExt, RootPath};

use facts::Facts;
pub use kernel::{MASKED, READ_ONLY};
use layers::Layers;
pub use lxcfs::mounted_lxcfs;
pub use promise::promised;
pub use reason::Reason;
use reason::Reasons;
pub(crate) use room::{must_hold_something, must_log, usual_layer, with_ours};

/// A directory or file of the host that is shown in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Its path on the host.
    pub source: PathBuf,
    /// Where, inside.
    pub at: RootPath,
    /// Shown read-only.
    pub read_only: bool,
    /// Owners are shown as the container's, where that has users of its own.
    pub idmapped: bool,
}

/// What the command line says beyond the package.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The container's name.
    pub name: Name,
    /// Its id, where that is known beforehand.
    pub id: Option<Id>,
    /// A command line in place of the package's; empty for the package's.
    pub args: Vec<String>,
    /// Environment on top of the package's.
    pub env: Vec<(String, String)>,
    /// Parts of the host that are shown.
    pub binds: Vec<Bind>,
    /// A pseudo-terminal.
    pub terminal: bool,
    /// A writable root in memory.
    pub writable_root: bool,
    /// Somebody else than the package says.
    pub user: Option<Ids>,
    /// A reaping init of ours is process 1.
    pub init: bool,
    /// Where declared volumes that are not given with `binds` are kept on the host; None makes
    /// them fresh at each start.
    pub volumes: Option<PathBuf>,
    /// How it lives.
    pub life: Life,
    /// What was asked for of its isolation.
    pub isolation: Isolation,
    /// What was asked for of its limits.
    pub limits: Limits,
    /// What was asked for of its network.
    pub network: NetworkTable,
    /// The package gets what it asks for, even of the host.
    pub as_packaged: bool,
    /// It is started also where that breaks promises made to others.
    pub overcommit: bool,
    /// Where presets of one's own are.
    pub presets: Vec<PathBuf>,
    /// What was said, for others like it.
    pub asked: Option<crate::Asked>,
    /// Whose instance it is, if a gateway makes it.
    pub service: Option<crate::Service>,
}

impl RunOptions {
    /// Nothing but a name.
    pub fn named(name: Name) -> Self {
        Self {
            name,
            id: None,
            args: Vec::new(),
            env: Vec::new(),
            binds: Vec::new(),
            terminal: false,
            writable_root: false,
            user: None,
            init: false,
            volumes: None,
            life: Life::default(),
            isolation: Isolation::default(),
            limits: Limits::default(),
            network: NetworkTable::default(),
            as_packaged: false,
            overcommit: false,
            presets: Vec::new(),
            asked: None,
            service: None,
        }
    }
}

/// Fills in every default. `tree` is the image's root on this host.
///
/// # Errors
/// What [`Portable::check`] refuses; a package that asks for more than a container has; a bind whose
/// source does not exist or that would lie over the kernel's own files; a command that is empty; a
/// combination that cannot work.
pub fn resolve(portable: &Portable, tree: &Path, options: &RunOptions) -> Result<Spec> {
    explained(portable, tree, options).map(|(spec, _)| spec)
}

/// As [`resolve`], with the reason of every decision.
///
/// # Errors
/// As [`resolve`].
pub fn explained(portable: &Portable, tree: &Path, options: &RunOptions) -> Result<(Spec, Vec<Reason>)> {
    portable.check()?;
    if !options.as_packaged {
        trust::check(portable)?;
    }
    let layers = Layers::of(&portable.isolation, &options.isolation, &options.presets)?;
    let facts = Facts::probe(tree);
    let resolving = Resolving { portable, tree, options, layers: &layers, facts: &facts };
    let mut reasons = Reasons::default();
    let spec = resolving.spec(&mut reasons)?;
    spec::container::check(&spec).doing(|| format!("container {} cannot be isolated so", options.name))?;
    Ok((spec, reasons.into_vec()))
}

/// Everything that decisions are made from.
struct Resolving<'a> {
    portable: &'a Portable,
    tree: &'a Path,
    options: &'a RunOptions,
    layers: &'a Layers,
    facts: &'a Facts,
}

impl Resolving<'_> {
    fn spec(&self, reasons: &mut Reasons) -> Result<Spec> {
        let process = self.process()?;
        let mut spec = Spec::new(
            self.options.id.map_or_else(crate::new_id, Ok)?,
            self.options.name.clone(),
            self.root(),
            process,
        );
        spec.root_change = self.layers.value(|layer| layer.root).unwrap_or_default();
        self.namespaces(&mut spec, reasons)?;
        self.names(&mut spec);
        self.privileges(&mut spec, reasons)?;
        self.files(&mut spec, reasons)?;
        spec.sysctls = self.layers.table(|layer| &layer.sysctls);
        self.usual_parameters(&mut spec);
        spec.init = self.options.init || self.layers.value(|layer| layer.init).unwrap_or(false);
        spec.controllers = self.layers.value(|layer| layer.controllers.clone());
        self.limits(&mut spec, reasons)?;
        self.hooks(&mut spec, reasons)?;
        spec.stop_signal = self.layers.value(|layer| layer.stop_signal).unwrap_or(self.portable.stop_signal);
        Ok(spec)
    }

    /// The host's root, where nothing is changed; else the image's tree, read-only unless it was
    /// asked for.
    fn root(&self) -> Root {
        let path = self.tree.to_owned();
        match self.layers.value(|layer| layer.root) {
            Some(RootChange::None) => Root::Host,
            _ if self.writable_root() => Root::Scratch { path },
            _ => Root::Tree { path },
        }
    }

    /// What a package was merely seen to write does not matter where nothing can be mounted for it.
    fn writable_root(&self) -> bool {
        let said = self.layers.value(|layer| layer.writable_root);
        let mount = self.layers.value(|layer| layer.namespaces.get(&Namespace::Mount).cloned());
        let mounts = mount.is_none_or(|origin| origin == Origin::Own);
        self.options.writable_root || said.unwrap_or(self.portable.writable_root && mounts)
    }

    fn names(&self, spec: &mut Spec) {
        let own = spec.owns(Namespace::Uts);
        let name = || own.then(|| self.options.name.as_str().to_owned());
        spec.hostname = self.layers.value(|layer| layer.hostname.clone()).or_else(name);
        spec.domainname = self.layers.value(|layer| layer.domainname.clone());
        spec.clocks = Clocks {
            monotonic: self.layers.value(|layer| layer.monotonic_offset).unwrap_or(0),
            boot: self.layers.value(|layer| layer.boottime_offset).unwrap_or(0),
            ..Clocks::default()
        };
    }

    fn process(&self) -> Result<Process> {
        let (portable, options) = (self.portable, self.options);
        let argv = if options.args.is_empty() { portable.command.clone() } else { options.args.clone() };
        if argv.first().is_none_or(String::is_empty) {
            return Err(Error::user(format!("{} has no command to run", portable.name))
                .hint("give one: tsubo run IMAGE COMMAND"));
        }
        let mut env = portable.env.clone();
        if options.terminal {
            env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
        }
        env.extend(options.env.iter().cloned());
        let said = |word: fn(&Isolation) -> Option<String>| self.layers.value(word);
        Ok(Process {
            env: env.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
            cwd: portable.cwd.clone(),
            user: options.user.clone().unwrap_or_else(|| portable.user.clone()),
            terminal: options.terminal,
            rlimits: self.rlimits()?,
            oom_score_adj: self.layers.value(|layer| layer.oom_score_adj),
            nice: self.layers.value(|layer| layer.nice),
            scheduler: said(|layer| layer.scheduler.clone())
                .as_deref()
                .map(isolation::scheduler)
                .transpose()?,
            io_priority: said(|layer| layer.io_priority.clone())
                .as_deref()
                .map(isolation::io_priority)
                .transpose()?,
            personality: said(|layer| layer.personality.clone())
                .as_deref()
                .map(isolation::personality)
                .transpose()?,
            ..Process::new(argv)
        })
    }

    /// The usual ones, and what was said in their place.
    fn rlimits(&self) -> Result<Vec<(u32, u64, u64)>> {
        let mut limits = default_limits();
        for (name, value) in self.layers.table(|layer| &layer.rlimits) {
            let number = isolation::rlimit_number(&name)?;
            limits.retain(|(other, ..)| *other != number);
            if value != "host" {
                limits.push(isolation::rlimit(&name, &value)?);
            }
        }
        Ok(limits)
    }
}

/// The resource limits of every container, whatever the shell that starts it has: number as in
/// resource.h, soft, hard. Where the host allows less, that is what it gets.
pub fn default_limits() -> Vec<(u32, u64, u64)> {
    spec::container::DEFAULT_LIMITS.to_vec()
}
