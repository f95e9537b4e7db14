//! The group of one container at a path of its own, in every hierarchy.

mod apply;
pub(crate) mod enable;
mod make;
mod tree;

pub(crate) use make::{fill_cpuset, is_gone};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::resources::Resources;
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::group::Group;
use crate::layout::{NEEDED, Version};
use crate::path::{GroupPath, Mounted, hierarchies};
use crate::resources::{Controllers, Now, Write, writes};

/// The directories of a group, as they are also kept on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    version: Version,
    /// On version 1 those of the hierarchy, on version 2 those that reach the group.
    controllers: Vec<String>,
    directory: PathBuf,
    /// Nothing above or at this is ever removed.
    base: PathBuf,
}

/// In how many hierarchies of version 1 a group is made, and how many controllers of version 2 it
/// gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// In all, as engines expect.
    All,
    /// Where there are limits, and where the figures are that people ask for. Each that is spared
    /// makes a start 40 to 80 µs shorter.
    Needed,
}

/// The hierarchies of this host, read once for all that one command does in them.
#[derive(Debug)]
pub struct Hierarchies(Vec<Mounted>);

impl Hierarchies {
    /// Reads them.
    ///
    /// # Errors
    /// What /proc does not tell.
    pub fn read() -> Result<Self> {
        hierarchies().map(Self)
    }

    /// Makes the group and says the resources. Of what could not be finished nothing is left.
    ///
    /// # Errors
    /// Before anything is made: what the host cannot enforce. Later: what the kernel refused, and a
    /// group in which somebody is already.
    pub fn create(&self, path: &GroupPath, resources: &Resources, breadth: Breadth) -> Result<Placed> {
        let Self(hierarchies) = self;
        let planned = writes(&offered(hierarchies), &Now::default(), resources)?;
        let required = required(&planned, resources);
        let mut made = Unfinished(Placed::default());
        let mut fresh = true;
        for place in hierarchies.iter().filter(|place| is_wanted(place, breadth, &required, hierarchies)) {
            let needed = place.hierarchy.controllers.iter().any(|name| required.contains(name));
            match make::make(place, path, breadth, &required) {
                Ok((place, is_fresh)) => {
                    fresh &= is_fresh;
                    made.0.places.push(place);
                }
                // Nobody asked for a group there, nothing needs it, and it is not ours to make.
                Err(error) if error.kind() == ErrorKind::Denied && !path.is_asked_for() && !needed => {}
                Err(error) => return Err(error),
            }
        }
        made.0.check_domain()?;
        let now = if fresh { Now::default() } else { made.0.now() };
        made.0.apply(&now, resources)?;
        Ok(made.finish())
    }

    /// Whether this host can enforce them at all, before anything is made.
    ///
    /// # Errors
    /// What it cannot, with the reason.
    pub fn check(&self, resources: &Resources) -> Result<()> {
        writes(&offered(&self.0), &Now::default(), resources).map(drop)
    }

    /// Where a group would be in every hierarchy, each with those above it up to where the path
    /// begins, lowest first; whether they are there or not.
    pub fn ways(&self, path: &GroupPath) -> Vec<PathBuf> {
        let way = |at: &Mounted| {
            let base = path.base(at);
            let directory = base.join(path.below());
            directory.ancestors().take_while(|above| *above != base).map(Path::to_owned).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(way).collect()
    }
}

impl Placed {
    /// As [`Hierarchies::create`].
    ///
    /// # Errors
    /// The same.
    pub fn create(path: &GroupPath, resources: &Resources, breadth: Breadth) -> Result<Self> {
        Hierarchies::read()?.create(path, resources, breadth)
    }

    /// As [`Hierarchies::check`].
    ///
    /// # Errors
    /// The same.
    pub fn check(resources: &Resources) -> Result<()> {
        Hierarchies::read()?.check(resources)
    }

    /// A group that is there already.
    ///
    /// # Errors
    /// If it is in no hierarchy.
    pub fn find(path: &GroupPath) -> Result<Self> {
        let place = |at: &Mounted| {
            let base = path.base(at);
            let directory = base.join(path.below());
            let controllers = enable::controllers(&at.hierarchy, &directory);
            let exists = directory.is_dir();
            exists.then_some(Place { version: at.hierarchy.version, controllers, directory, base })
        };
        let places: Vec<Place> = hierarchies()?.iter().filter_map(place).collect();
        if places.is_empty() {
            return Err(Error::not_found(format!("there is no control group {}", path.below().display())));
        }
        Ok(Self { places })
    }

    /// The group of a container that `tsubo` made, for its limits and figures.
    pub fn of(group: &Group) -> Result<Self> {
        if group.controllers.len() == group.directories.len() {
            let places = group.directories.iter().zip(&group.controllers);
            let place = |((version, directory), controllers): (&(Version, PathBuf), &Vec<String>)| {
                let base = directory.parent()?.to_owned();
                Some(Place {
                    version: *version,
                    controllers: controllers.clone(),
                    directory: directory.clone(),
                    base,
                })
            };
            return Ok(Self { places: places.filter_map(place).collect() });
        }
        let hierarchies = hierarchies()?;
        let place = |(version, directory): &(Version, PathBuf)| {
            let at = hierarchies.iter().filter(|place| directory.starts_with(&place.point));
            let at = at.max_by_key(|place| place.point.as_os_str().len())?;
            Some(Place {
                version: *version,
                controllers: enable::controllers(&at.hierarchy, directory),
                directory: directory.clone(),
                base: directory.parent()?.to_owned(),
            })
        };
        Ok(Self { places: group.directories.iter().filter_map(place).collect() })
    }

    /// For what both kinds of groups can: the ways in, holding, figures.
    pub fn group(&self) -> Group {
        let directories = self.places.iter().map(|place| (place.version, place.directory.clone()));
        let controllers = self.places.iter().map(|place| place.controllers.clone());
        Group { directories: directories.collect(), controllers: controllers.collect() }
    }

    /// Whether it is in no hierarchy: this host has none, or they are not ours.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Its directory by controller of version 1, by "" that of version 2: what an engine keeps.
    pub fn paths(&self) -> Vec<(String, PathBuf)> {
        let one = |place: &Place| {
            let names = place.controllers.iter().map(|name| (name.clone(), place.directory.clone()));
            names.collect::<Vec<_>>()
        };
        let paths = self.places.iter().flat_map(|place| match place.version {
            Version::One => one(place),
            Version::Two => vec![(String::new(), place.directory.clone())],
        });
        paths.collect()
    }

    /// The controllers that reach it.
    pub fn controllers(&self) -> Controllers {
        let mut has = Controllers::default();
        for place in &self.places {
            let names = place.controllers.iter().cloned();
            match place.version {
                Version::One => has.one.extend(names),
                Version::Two => has.two = Some(names.collect()),
            }
        }
        has
    }

    /// What is set in it.
    pub fn now(&self) -> Now {
        let mut now = Now::default();
        self.places.iter().for_each(|place| now.read(place.version, &place.directory));
        now
    }

    /// Changes the resources of a running group; if the kernel refuses one of them, all are as
    /// they were.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn update(&self, resources: &Resources) -> Result<()> {
        self.apply(&self.now(), resources)
    }

    /// Says as much of the resources as this host can enforce, and tells what that is.
    pub fn wish(&self, now: &Now, resources: &Resources) -> Resources {
        let mut said = Resources::default();
        for word in resources.words() {
            if self.apply(now, &word).is_ok() {
                said = said.merged(&word);
            }
        }
        said
    }

    /// Gives the version 2 group to the root of a container that has a cgroup namespace of its own
    /// and may write to the file system: the directory and the files that the kernel lists for
    /// that.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let Some(directory) = self.directory(Version::Two, "") else { return Ok(()) };
        let owner = Some(rustix::fs::Uid::from_raw(uid));
        let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate")
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
        for file in ["."].into_iter().chain(list.lines()) {
            match rustix::fs::chown(directory.join(file), owner, None) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => {
                    return Err(std::io::Error::from(error))
                        .doing(|| format!("giving {file} of {} away", directory.display()));
                }
            }
        }
        Ok(())
    }

    /// The host's pids of all processes in it and in the groups below.
    pub fn processes(&self) -> Vec<i32> {
        tree::processes(self.directories())
    }

    /// Kills all of them and waits until none is left.
    ///
    /// # Errors
    /// Those that do not die.
    pub fn kill(&self) -> Result<()> {
        tree::kill(self)
    }

    /// Removes it, the groups below it, and those above it that were made for it and are empty.
    /// What was there before stays; whether nothing did. Processes must be gone.
    ///
    /// # Errors
    /// The first that could not be removed, after all were tried.
    pub fn remove(&self) -> Result<bool> {
        let done: Vec<Result<bool>> =
            self.places.iter().map(|place| tree::remove(&place.directory, &place.base)).collect();
        done.into_iter().try_fold(true, |gone, removed| Ok(gone & removed?))
    }

    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| place.directory.as_path())
    }

    /// Where a controller's files are.
    pub(crate) fn directory(&self, version: Version, controller: &str) -> Option<&Path> {
        let is = |place: &&Place| match version {
            Version::One => {
                place.version == version && place.controllers.iter().any(|name| name == controller)
            }
            Version::Two => place.version == version,
        };
        self.places.iter().find(is).map(|place| place.directory.as_path())
    }

    fn check_domain(&self) -> Result<()> {
        let Some(directory) = self.directory(Version::Two, "") else { return Ok(()) };
        let kind = std::fs::read_to_string(directory.join("cgroup.type")).unwrap_or_default();
        match kind.trim() {
            kind @ ("threaded" | "domain invalid") => Err(Error::unsupported(format!(
                "the control group {} is of the kind {kind:?}, which takes no processes",
                directory.display()
            ))
            .hint("a group above it is threaded (cgroup.type): give a path that is not below that one")),
            _ => Ok(()),
        }
    }
}

/// A group on its way: removed again unless it is finished.
struct Unfinished(Placed);

impl Unfinished {
    fn finish(mut self) -> Placed {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

/// What the hierarchies could pass on, from their mount points.
pub(crate) fn offered(hierarchies: &[Mounted]) -> Controllers {
    let mut has = Controllers::default();
    for Mounted { hierarchy, point } in hierarchies {
        match hierarchy.version {
            Version::One => has.one.extend(hierarchy.controllers.iter().cloned()),
            Version::Two => has.two = Some(enable::controllers(hierarchy, point).into_iter().collect()),
        }
    }
    has
}

/// The controllers without which the resources cannot be said.
pub(crate) fn required(writes: &[Write], resources: &Resources) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = writes.iter().map(|write| write.controller.to_owned()).collect();
    names.remove("cgroup");
    if resources.devices.is_some() {
        names.insert("devices".to_owned());
    }
    names
}

fn is_wanted(place: &Mounted, breadth: Breadth, required: &BTreeSet<String>, all: &[Mounted]) -> bool {
    let Mounted { hierarchy, .. } = place;
    let two = all.iter().any(|other| other.hierarchy.version == Version::Two);
    let needed = |name: &String| {
        required.contains(name) || NEEDED.contains(&name.as_str()) || name == "freezer" && !two
    };
    breadth == Breadth::All || hierarchy.version == Version::Two || hierarchy.controllers.iter().any(needed)
}
