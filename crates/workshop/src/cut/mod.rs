//! The cut: which paths of the development container go into the package, and why each of them.
//!
//! Three levels, each holds the one before:
//!
//! * [`Level::Exact`]: what was seen and what that cannot work without. A file that was opened,
//!   executed or looked at (a stat that succeeded must succeed again, with the same size); every
//!   symlink on the way and what it leads to; every directory above; the libraries and the
//!   interpreter of what was executed. A directory that was *listed* is kept, of its entries only
//!   those that were used themselves: at `exact` a listing shows fewer names than it did.
//! * [`Level::Directory`]: and the neighbours of what was seen, where a neighbour would have
//!   served as well: document roots, configuration and plug-in directories, and the system
//!   facilities that were touched (name service, time zones, locales, certificates, …).
//! * [`Level::Package`], the default: and the rest of the application: its distribution packages,
//!   the standard library of its language, the modules it is written in.
//!
//! One rule per file. A rule looks at the [`scene`] and adds paths to the [`selection`], which
//! follows links, adds ancestors and finds libraries until nothing is left to add. `--drop` keeps
//! a path from being added by any rule, `--keep` is stronger than `--drop`. The result depends on
//! nothing but the base and the request.

mod application;
mod boundaries;
mod configuration;
mod elf;
mod facility;
mod globs;
mod language;
mod loader;
mod mount_points;
mod plugins;
mod scene;
mod script;
mod secrets;
mod seen;
mod selection;
mod served;
mod stamps;
mod summary;
mod written;

#[cfg(test)]
pub(crate) mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use spec::observation::Observation;
use spec::report::{Reason, Report};
use spec::{Error, Result, RootPath};

use scene::Scene;
use selection::Selection;

/// How far the cut goes beyond what was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was seen and what that cannot work without.
    Exact,
    /// And the neighbours of what was seen.
    Directory,
    /// And the rest of the application.
    #[default]
    Package,
}

/// What to cut, from what, by what.
pub struct CutRequest<'a> {
    /// The root of the development container on the host, as it was before the test.
    pub base: &'a Path,
    /// What the service and its exercises used.
    pub observation: &'a Observation,
    /// The service's command line.
    pub command: &'a [String],
    /// Its environment.
    pub env: &'a BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: &'a RootPath,
    /// How far to go.
    pub level: Level,
    /// Globs of paths to keep; a directory that matches keeps all that is below it.
    pub keep: &'a [String],
    /// Globs of paths to leave out whatever rule wants them, but for `keep`.
    pub drop: &'a [String],
    /// Paths that a replay asked for and missed.
    pub repaired: &'a BTreeSet<RootPath>,
}

/// What goes into the package.
#[derive(Debug)]
pub struct Cut {
    /// Every path of the base that is packed: files, symlinks and directories with all ancestors.
    pub paths: BTreeSet<RootPath>,
    /// What the runtime mounts something on and the base does not have; true for directories.
    pub mount_points: BTreeMap<RootPath, bool>,
    /// What is in, what is out, and why.
    pub report: Report,
    /// Directories that were seen to be written.
    pub writable: BTreeSet<RootPath>,
    /// Names came and went in the root directory itself.
    pub writable_root: bool,
    /// Files that are shown from the host.
    pub host_files: BTreeSet<RootPath>,
    /// What whoever packs should know.
    pub warnings: Vec<String>,
    /// Written directories that look as if they should outlive the container, and their bytes.
    pub volumes_to_declare: Vec<(RootPath, u64)>,
}

/// A rule: looks at the scene, adds to the selection.
type Rule = fn(&Scene<'_>, &mut Selection<'_>);

/// The rules of each level, in the order in which they give their reasons.
const RULES: [(Level, Rule); 6] = [
    (Level::Directory, configuration::apply),
    (Level::Directory, facility::apply),
    (Level::Directory, plugins::apply),
    (Level::Directory, served::apply),
    (Level::Package, language::apply),
    (Level::Package, application::apply),
];

/// Decides what goes into the package.
pub fn cut(request: &CutRequest<'_>) -> Result<Cut> {
    let scene = Scene::new(request)?;
    stamps::check(&scene)?;
    let mut selection = Selection::new(&scene)?;
    seen::apply(&scene, &mut selection);
    selection.keep_asked();
    request.repaired.iter().for_each(|path| selection.keep(path, Reason::Repaired, None));
    for (_, rule) in RULES.iter().filter(|(level, _)| *level <= request.level) {
        rule(&scene, &mut selection);
    }
    selection.settle();
    let written = written::derive(&scene);
    let mounts = mount_points::derive(&scene, &written, &mut selection);
    let (kept, mut warnings) = selection.finish();
    warnings.extend(stamps::appeared(&scene));
    Ok(Cut {
        paths: kept.keys().cloned().collect(),
        mount_points: mounts.missing,
        host_files: mounts.host_files,
        writable: written.directories,
        writable_root: written.root,
        volumes_to_declare: written.volumes,
        report: summary::report(&scene, kept),
        warnings,
    })
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::Directory => "directory",
            Self::Package => "package",
        })
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Exact, Self::Directory, Self::Package]
            .into_iter()
            .find(|level| level.to_string() == text)
            .ok_or_else(|| {
                Error::user(format!("unknown closure {text:?}")).hint("exact, directory or package")
            })
    }
}
