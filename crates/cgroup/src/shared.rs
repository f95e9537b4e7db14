//! Groups of containers that share limits: directories between that of all containers and each one's.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use spec::resources::Resources;
use spec::{Error, Id, Result, ResultExt};

use crate::group::{self, Group, PARENT};
use crate::layout::{Hierarchy, Layout, NEEDED, Version};
use crate::place::{Placed, enable};

/// Behind a name, so that it is none of a container (an id), and no file of the kernel's.
const SUFFIX: &str = ".group";

/// Others may remove an empty one just when we go into it.
const TRIES: usize = 10;

/// One group: its name in the one above (without a slash), and what all in it may have together.
pub type Level = (String, Resources);

impl Group {
    /// Makes the group of a container in this line of groups, the outermost first; those that are
    /// not there yet are made with their limits.
    ///
    /// # Errors
    /// Limits that this host cannot enforce.
    pub fn create_shared(id: Id, line: &[Level]) -> Result<Option<Self>> {
        let mut made = create(id, line);
        for _ in 1..TRIES {
            match &made {
                Err(error) if error.kind() == spec::ErrorKind::NotFound => made = create(id, line),
                _ => break,
            }
        }
        made
    }
}

/// Changes the limits of a group that is there: all or none. One that is not there needs nothing.
///
/// # Errors
/// What this host cannot enforce, and what the kernel refuses.
pub fn change(line: &[String], resources: &Resources) -> Result<()> {
    let below = line.iter().fold(PathBuf::from(PARENT), |path, name| path.join(directory_name(name)));
    let layout = Layout::detect()?;
    let mut shared = Group::default();
    for hierarchy in layout.needed() {
        let directory = hierarchy.own.join(&below);
        if directory.is_dir() {
            shared.add(hierarchy, directory);
        }
    }
    if shared.directories.is_empty() { Ok(()) } else { Placed::of(&shared)?.update(resources) }
}

fn create(id: Id, line: &[Level]) -> Result<Option<Group>> {
    let layout = Layout::detect()?;
    let hierarchies: Vec<&Hierarchy> = layout.needed().collect();
    let mut below = PathBuf::from(PARENT);
    hierarchies.iter().try_for_each(|place| group::make_parent(&place.own, place.version).map(drop))?;
    for (name, resources) in line {
        below.push(directory_name(name));
        level(&hierarchies, &below, resources).doing(|| format!("making the group {name}"))?;
    }
    Group::create_at(id, hierarchies.into_iter(), &below)
}

fn directory_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

/// A group with its limits, unless it is there.
fn level(hierarchies: &[&Hierarchy], below: &Path, resources: &Resources) -> Result<()> {
    let mut shared = Group::default();
    let mut fresh = false;
    for hierarchy in hierarchies {
        let directory = hierarchy.own.join(below);
        match fs::create_dir(&directory) {
            Ok(()) => fresh = true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).doing(|| format!("making the control group {}", directory.display()));
            }
        }
        if hierarchy.version == Version::Two {
            // What cannot be passed on is missed when a limit needs it.
            let _ = enable::enable(&directory, Some(&NEEDED), &std::collections::BTreeSet::new());
        }
        shared.add(hierarchy, directory);
    }
    if *resources == Resources::default() {
        return Ok(());
    }
    // Also to one that is there: whoever made it may have been killed before that.
    let limited = Placed::of(&shared).and_then(|placed| placed.update(resources));
    if limited.is_err() && fresh {
        shared.directories.iter().for_each(|(_, directory)| drop(fs::remove_dir(directory)));
    }
    limited.map_err(|error| error.hint("groups limit memory, processors, processes and disks"))
}

/// Removes the groups that `directory` was in, as far as they are empty now.
pub(crate) fn remove_above(directory: &Path) {
    let shared = directory.ancestors().skip(1).take_while(|above| is_shared(above));
    for above in shared {
        if fs::remove_dir(above).is_err() {
            return;
        }
    }
}

/// All groups of containers below `directory`, itself first.
pub(crate) fn all(directory: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let below: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_shared(path)).collect();
    std::iter::once(directory).chain(below.into_iter().flat_map(all)).collect()
}

fn is_shared(directory: &Path) -> bool {
    directory.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX))
}

/// Refuses what groups of containers cannot be limited in.
///
/// # Errors
/// Words for which there would have to be more of them than those in [`NEEDED`].
pub fn check(resources: &Resources) -> Result<()> {
    let more = resources.cpu.cpus.is_some()
        || resources.cpu.mems.is_some()
        || !resources.hugepages.is_empty()
        || !resources.rdma.is_empty()
        || !resources.misc.is_empty()
        || resources.devices.is_some();
    if more {
        return Err(Error::unsupported(
            "groups of containers are limited in memory, processors' time, processes and disks",
        )
        .hint("give cpusets, huge pages and the like to each container"));
    }
    Placed::check(resources)
}
