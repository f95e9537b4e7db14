//! The control groups of a container: at a path, or a scope of systemd.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroup::systemd::{self, Unit};
use cgroup::{Breadth, Group, GroupPath, Hierarchies, Placed};
use serde::{Deserialize, Serialize};
use spec::container::{Mount, MountKind, Namespace, Source};
use spec::oci::Bundle;
use spec::resources::Resources;
use spec::{ErrorKind, Result, ResultExt};

use crate::record::Claim;

/// MOUNT_ATTR_RDONLY.
const READ_ONLY: u32 = 1;

/// Where they go.
#[derive(Debug)]
pub(crate) enum Spot {
    /// A path in every hierarchy.
    Path(GroupPath, Hierarchies),
    /// A unit.
    Unit(Unit),
}

/// Those that were made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Groups {
    placed: Placed,
    /// `cgroupsPath` of a unit, empty where it said nothing.
    unit: Option<String>,
    /// Where our own process was before it began that unit.
    #[serde(skip)]
    origin: Option<PathBuf>,
    /// Directories that a killed `create` may have made.
    #[serde(skip)]
    unmarked: Vec<PathBuf>,
}

impl Spot {
    /// From `cgroupsPath`.
    ///
    /// # Errors
    /// What is none, before anything is made: also where systemd cannot be asked, and what the host
    /// cannot enforce.
    pub(crate) fn find(
        path: Option<&str>,
        id: &str,
        by_systemd: bool,
        resources: &Resources,
    ) -> Result<Self> {
        let hierarchies = || {
            let hierarchies = Hierarchies::read()?;
            hierarchies.check(resources).map(|()| hierarchies)
        };
        if by_systemd {
            let unit = Unit::parse(path, id)?;
            systemd::available()?;
            return hierarchies().map(|_| Self::Unit(unit));
        }
        let path = GroupPath::parse(path, id)?;
        Ok(Self::Path(path, hierarchies()?))
    }
}

impl Spot {
    /// What of a path that was named is not there yet.
    pub(crate) fn missing(&self) -> Vec<PathBuf> {
        match self {
            Self::Path(at, hierarchies) if at.is_asked_for() => {
                hierarchies.ways(at).into_iter().filter(|directory| !directory.exists()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Groups {
    /// Makes them, with these limits.
    ///
    /// # Errors
    /// What the kernel or systemd refuses; then nothing of them is left.
    pub(crate) fn make(spot: &Spot, path: Option<&str>, resources: &Resources) -> Result<Self> {
        match spot {
            // Engines look for figures in every hierarchy of a path that they name.
            Spot::Path(at, hierarchies) => {
                let breadth = if at.is_asked_for() { Breadth::All } else { Breadth::Needed };
                Ok(Self { placed: hierarchies.create(at, resources, breadth)?, ..Self::default() })
            }
            Spot::Unit(unit) => {
                // A scope begins with a process. The container's, born in it, keeps it when ours leaves.
                let origin = Some(origin()?);
                let placed = unit.start(std::process::id(), resources)?;
                Ok(Self {
                    placed,
                    unit: Some(path.unwrap_or_default().to_owned()),
                    origin,
                    ..Self::default()
                })
            }
        }
    }

    /// Leaves a scope that was made with our own process, once somebody else is in it.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn leave(&self) -> Result<()> {
        match &self.origin {
            Some(file) => std::fs::write(file, "0").doing(|| format!("going back to {}", file.display())),
            None => Ok(()),
        }
    }

    /// Adds the ways in to those of a new process.
    ///
    /// # Errors
    /// Groups that are gone.
    pub(crate) fn admit(&self, tasks: &mut Vec<OwnedFd>, born_in: &mut Option<OwnedFd>) -> Result<()> {
        self.placed.group().admit(tasks, born_in)
    }

    /// The same for a group below them, in the hierarchy of one controller or in all.
    ///
    /// # Errors
    /// Groups that there are not.
    pub(crate) fn admit_below(
        &self,
        controller: Option<&str>,
        below: &Path,
        tasks: &mut Vec<OwnedFd>,
        born_in: &mut Option<OwnedFd>,
    ) -> Result<()> {
        for (name, directory) in self.placed.paths() {
            let chosen = controller.is_none_or(|wanted| wanted == name);
            let directory = if chosen { directory.join(below) } else { directory };
            let doing = || format!("opening the control group {}", directory.display());
            if name.is_empty() {
                *born_in = Some(std::fs::File::open(&directory).doing(doing)?.into());
            } else {
                let file = std::fs::File::options().write(true).open(directory.join("tasks"));
                tasks.push(file.doing(doing)?.into());
            }
        }
        Ok(())
    }

    /// Gives them to the root of a container that has namespaces of its own and may write there.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn delegate(&self, bundle: &Bundle) -> Result<()> {
        let writable = |mount: &Mount| match &mount.what {
            MountKind::Exact(exact) => {
                exact.source == Source::Groups && exact.attributes.set & READ_ONLY == 0
            }
            _ => false,
        };
        let spec = &bundle.spec;
        let root = spec
            .users
            .as_ref()
            .and_then(|users| users.uids.iter().find(|range| range.inside == 0).map(|range| range.host));
        match root.filter(|_| spec.owns(Namespace::Cgroup) && spec.mounts.iter().any(writable)) {
            Some(root) => self.placed.delegate(root),
            None => Ok(()),
        }
    }

    /// For what groups can: holding, figures.
    pub(crate) fn group(&self) -> Group {
        self.placed.group()
    }

    /// Changes limits: all or none.
    ///
    /// # Errors
    /// What the host cannot enforce, or systemd refuses.
    pub(crate) fn update(&self, id: &str, resources: &Resources) -> Result<()> {
        if let Some(path) = &self.unit {
            Placed::check(resources)?;
            Unit::parse(Some(path.as_str()), id)?.update(resources)?;
        }
        // The kernel has the last word: systemd rounds.
        self.placed.update(resources)
    }

    /// The directory in the hierarchy of version 2.
    pub(crate) fn unified(&self) -> Option<PathBuf> {
        self.placed.paths().into_iter().find_map(|(name, directory)| name.is_empty().then_some(directory))
    }

    /// The directory that holds their processes.
    pub(crate) fn freezer(&self) -> Option<PathBuf> {
        let paths = self.placed.paths();
        let freezer =
            paths.into_iter().find_map(|(name, directory)| (name == "freezer").then_some(directory));
        freezer.or_else(|| self.unified())
    }

    /// Whether their processes are held.
    pub(crate) fn is_frozen(&self) -> bool {
        !self.placed.is_empty() && self.group().is_frozen()
    }

    /// Whether this host has none for us.
    pub(crate) fn is_empty(&self) -> bool {
        self.placed.is_empty()
    }

    /// The host's pids of all processes in them.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.placed.processes()
    }

    /// Kills whoever is in them, and removes them.
    ///
    /// # Errors
    /// Processes that do not die, groups that do not go.
    pub(crate) fn end(&self, id: &str) -> Result<()> {
        // Mostly nobody is there any more: asking first takes longer than the removal.
        if self.unit.is_none() && self.unmarked.is_empty() && matches!(self.placed.remove(), Ok(true)) {
            return Ok(());
        }
        self.placed.kill()?;
        if let Some(path) = &self.unit {
            Unit::parse(Some(path.as_str()), id)?.stop()?;
        }
        self.placed.remove()?;
        // Only an empty one goes, and one that was never made is not there.
        self.unmarked.iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
        Ok(())
    }

    /// What a killed `create` may have made.
    ///
    /// # Errors
    /// What is no path.
    pub(crate) fn of(claim: &Claim, id: &str) -> Result<Self> {
        let path = claim.cgroups_path.as_deref();
        let at = match claim.systemd {
            true => Unit::parse(path, id)?.path()?,
            false => GroupPath::parse(path, id)?,
        };
        let unmarked = match claim.systemd {
            false if !at.is_asked_for() => Hierarchies::read()?.ways(&at),
            _ => claim.missing.clone(),
        };
        let unit = claim.systemd.then(|| path.unwrap_or_default().to_owned());
        match Placed::find(&at) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Self { unit, unmarked, ..Self::default() })
            }
            found => Ok(Self { placed: found?, unit, unmarked, origin: None }),
        }
    }
}

/// Where this process enters the version 2 group that it is in.
fn origin() -> Result<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").doing(|| "reading /proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    Ok(PathBuf::from(format!("/sys/fs/cgroup{path}/cgroup.procs")))
}
