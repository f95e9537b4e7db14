//! Bundles of the OCI runtime-spec (1.x, for Linux): a further source of a spec. Its types stop at
//! this border.
//!
//! Where the specification says what a runtime does with something that it does not know, that is
//! done: unknown *properties* must not be errors ("Extensibility"), nor unknown capabilities, so they
//! become [`Bundle::notes`]. An unknown *value* (a kind of namespace, a mount option, an action) is an
//! error that names its place: it asks for something that would not happen. What the specification
//! leaves open is refused if two readers could take it in two ways: keys that are there twice, NUL
//! characters, paths that are longer than the kernel takes.

mod affinity;
mod devices;
mod example;
mod features;
mod hooks;
mod ids;
mod lint;
mod linux;
mod mounts;
mod namespaces;
mod options;
mod process;
pub mod resources;
mod state;
mod sysctl;
mod words;
mod written;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::container::{self, Namespace, Owner, Place, Root, RootChange, Spec};
use crate::resources::Resources;

use crate::{Error, Id, Name, Result};

pub use example::example;
pub use features::features;
pub use hooks::{Hook, Hooks};
pub use lint::LONGEST;
pub use linux::IntelRdt;
pub use state::{FileDescriptors, State, Status, VERSION};

use written::Config;

/// Everything that a `config.json` says, in our words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// What is started.
    pub spec: Spec,
    /// Programs to be run at turns of its life. Where some are to run before the root changes, its
    /// start waits for them ([`Spec::waits`]).
    pub hooks: Hooks,
    /// What it may use.
    pub resources: Resources,
    /// Where its control groups are; None for wherever the runtime likes.
    pub cgroups_path: Option<String>,
    /// What others have noted about it.
    pub annotations: BTreeMap<String, String>,
    /// The version that the bundle was written for.
    pub version: String,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// Who decides about system calls, if the filter asks somebody.
    pub listener: Option<Listener>,
    /// Network devices of the host that it gets, by their names there, with the names inside.
    pub net_devices: BTreeMap<String, String>,
    /// Its share of caches and memory bandwidth.
    pub intel_rdt: Option<IntelRdt>,
    /// What was skipped, a sentence each.
    pub notes: Vec<String>,
}

/// Who decides about system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// A socket to which the listener is sent, with the container process state.
    pub path: PathBuf,
    /// What is sent along.
    pub metadata: Option<String>,
}

/// What a bundle does not say.
pub struct Facts<'a> {
    /// Names what it leaves in the kernel.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// The host has a resctrl file system mounted.
    pub resctrl: bool,
    /// SELinux is active.
    pub selinux: bool,
    /// Whether a namespace's file is that of the caller's own namespace.
    pub is_ours: &'a dyn Fn(Namespace, &Path) -> bool,
}

/// Reads the `config.json` of the bundle in the directory `bundle`. No file is looked at.
///
/// # Errors
/// What is no bundle of version 1, asks for what there is not, or contradicts itself; with the
/// place.
pub fn read(config: &[u8], bundle: &Path, facts: &Facts<'_>) -> Result<Bundle> {
    let mut notes = Vec::new();
    let written: Config = parse("config.json", config, &mut notes)?;
    let version = version(written.oci_version)?;
    for (name, there) in [
        ("windows", written.windows.is_some()),
        ("solaris", written.solaris.is_some()),
        ("vm", written.vm.is_some()),
        ("zos", written.zos.is_some()),
        ("freebsd", written.free_bsd.is_some()),
    ] {
        notes.extend(there.then(|| format!("{name} is for another platform and has no effect")));
    }
    let linux = written.linux.unwrap_or_default();
    let process = written.process.ok_or_else(|| missing("process"))?;
    let console_size = process::console_size(&process)?;
    if process.affinity.is_some() {
        notes.push("process.execCPUAffinity is for processes that join later".to_owned());
    }
    let mut first = process::process(process, None, &mut notes)?;
    first.affinity = (None, None);
    let mut spec = Spec::new(facts.id, facts.name.clone(), Root::Host, first);
    spec.cgroup = true;
    spec.namespaces = namespaces::namespaces(linux.namespaces.as_deref().unwrap_or_default())?;
    spec.owner = Owner::Container;
    spec.users = ids::users(&spec, linux.uid_mappings.as_deref(), linux.gid_mappings.as_deref())?;
    spec.clocks = namespaces::clocks(&spec, linux.time_offsets.as_ref())?;
    root(&mut spec, written.root, bundle)?;
    names(&mut spec, written.hostname, written.domainname)?;
    let mounts = written.mounts.unwrap_or_default();
    let label = linux::mount_label(linux.mount_label.as_deref(), facts.selinux)?;
    mounts::mounts(&mut spec, mounts, bundle, label.as_deref(), &mut notes)?;
    devices::devices(&mut spec, linux.devices.as_deref().unwrap_or_default())?;
    mounts::covers(&mut spec, linux.masked_paths, linux.readonly_paths, &mut notes)?;
    if let Some(wanted) = &linux.sysctl {
        sysctl::sysctls(&mut spec, wanted, facts.is_ours)?;
    }
    spec.root_propagation = linux.rootfs_propagation.as_deref().and_then(linux::propagation).transpose()?;
    spec.process.personality = linux.personality.as_ref().map(linux::personality).transpose()?;
    spec.process.memory_policy = linux.memory_policy.as_ref().map(linux::memory_policy).transpose()?;
    let (seccomp, listener) = linux::seccomp(linux.seccomp, &mut notes)?;
    spec.process.seccomp = seccomp;
    let hooks = hooks::hooks(written.hooks.unwrap_or_default())?;
    spec.waits = hooks.before_the_root_changes() && spec.owns(Namespace::Mount);
    let annotations = written.annotations.unwrap_or_default();
    if annotations.contains_key("") {
        return Err(bad("annotations", "a key is empty"));
    }
    let resources = linux.resources.as_ref().map(resources::resources).transpose()?.unwrap_or_default();
    Ok(Bundle {
        net_devices: linux::net_devices(&spec, linux.net_devices.unwrap_or_default())?,
        intel_rdt: linux.intel_rdt.map(|wanted| linux::intel_rdt(wanted, facts.resctrl)).transpose()?,
        cgroups_path: linux
            .cgroups_path
            .filter(|path| !path.is_empty())
            .map(linux::groups_path)
            .transpose()?,
        spec,
        hooks,
        resources,
        annotations,
        version,
        console_size,
        listener,
        notes,
    })
}

/// Reads the document of a process that joins a container whose first process is `base`: what it does
/// not say about privileges and limits is as there.
///
/// # Errors
/// As [`read`].
pub fn process(bytes: &[u8], base: &container::Process) -> Result<Joining> {
    let mut notes = Vec::new();
    let written: written::Process = parse("the process", bytes, &mut notes)?;
    let console_size = process::console_size(&written)?;
    Ok(Joining { process: process::process(written, Some(base), &mut notes)?, console_size, notes })
}

/// A process that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// It.
    pub process: container::Process,
    /// Rows and columns of its terminal.
    pub console_size: Option<(u16, u16)>,
    /// What was skipped, a sentence each.
    pub notes: Vec<String>,
}

fn parse<'de, T: serde::Deserialize<'de>>(
    what: &str,
    bytes: &'de [u8],
    notes: &mut Vec<String>,
) -> Result<T> {
    lint::lint(what, bytes)?;
    let mut document = serde_json::Deserializer::from_slice(bytes);
    let unknown = |path: serde_ignored::Path<'_>| {
        // A question mark stands for what may be missing.
        let path = path.to_string();
        let names: Vec<_> = path.split('.').filter(|name| *name != "?").collect();
        notes.push(format!("{} is unknown and has no effect", names.join(".")));
    };
    serde_ignored::deserialize(&mut document, unknown)
        .map_err(|cause: serde_json::Error| Error::user(format!("reading {what}")).because(cause))
}

fn version(written: Option<String>) -> Result<String> {
    let version = written.ok_or_else(|| missing("ociVersion"))?;
    let mut parts = version.split(['.', '-', '+']);
    let numbers: Vec<Option<u32>> = parts.by_ref().take(3).map(|part| part.parse().ok()).collect();
    match numbers[..] {
        [Some(1), Some(_), Some(_)] => Ok(version),
        [Some(_), Some(_), Some(_)] => {
            Err(Error::unsupported(format!("ociVersion: {version:?} is not read"))
                .hint("every 1.x is; other major versions mean something else"))
        }
        _ => Err(bad("ociVersion", &format!("{version:?} is no version such as 1.2.0"))),
    }
}

fn root(spec: &mut Spec, written: Option<written::Root>, bundle: &Path) -> Result<()> {
    let written = written.ok_or_else(|| missing("root"))?;
    if matches!(spec.namespaces.get(&Namespace::Mount), Some(Place::Path(_) | Place::Container(_))) {
        // A mount namespace that exists has a root.
        spec.root_change = RootChange::None;
        return Ok(());
    }
    let path = host_path("root.path", &written.path)?;
    if path.is_relative() && path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(bad("root.path", "`..` leads out of the bundle").hint("name an absolute path"));
    }
    spec.root = Root::Bundle { path: bundle.join(path), read_only: written.readonly == Some(true) };
    if !spec.owns(Namespace::Mount) {
        spec.root_change = RootChange::Chroot;
    }
    Ok(())
}

fn names(spec: &mut Spec, hostname: Option<String>, domainname: Option<String>) -> Result<()> {
    let given = |name: Option<String>, place: &str| match name.filter(|name| !name.is_empty()) {
        Some(name) if name.len() > 64 => Err(bad(place, "it has more than 64 bytes (sethostname(2))")),
        Some(_) if !spec.namespaces.contains_key(&Namespace::Uts) => {
            Err(bad(place, "it needs a uts namespace, and linux.namespaces has none"))
        }
        name => Ok(name),
    };
    (spec.hostname, spec.domainname) = (given(hostname, "hostname")?, given(domainname, "domainname")?);
    Ok(())
}

/// An error about a place in the document.
fn bad(place: &str, why: &str) -> Error {
    Error::user(format!("{place}: {why}"))
}

fn missing(place: &str) -> Error {
    Error::user(format!("{place} is missing"))
}

/// PATH_MAX, which counts the NUL at the end.
const LONGEST_PATH: usize = 4095;

fn host_path(place: &str, path: &str) -> Result<PathBuf> {
    match path {
        "" => Err(bad(place, "it is empty")),
        path if path.len() > LONGEST_PATH => {
            Err(bad(place, &format!("{} bytes are more than the {LONGEST_PATH} of a path", path.len())))
        }
        path => Ok(PathBuf::from(path)),
    }
}

fn absolute(place: &str, path: &str) -> Result<PathBuf> {
    let path = host_path(place, path)?;
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(bad(place, &format!("{} is not absolute", path.display())))
    }
}

/// A path inside, from the root.
fn inside(place: &str, path: &str) -> Result<crate::RootPath> {
    host_path(place, path)?;
    crate::RootPath::normalise(path.as_bytes()).ok_or_else(|| bad(place, "it contains a NUL character"))
}
