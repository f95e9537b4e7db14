//! Groups of containers that share limits, as this state directory has them: names and what all in
//! one may use together. In the kernel they are there as long as a container is in them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cgroup::shared::{self, Level};
use spec::limits::{GroupName, Limits, Size};
use spec::resources::{Limit, Memory, Resources};
use spec::{Error, Name, Result, ResultExt};

use crate::disk::{self, Durable};
use crate::job::Job;
use crate::lock::FileLock;
use crate::{Containers, Home, disk_of};

/// In the state directory.
const FILE: &str = "groups.json";

/// The groups of a state directory.
#[derive(Debug, Clone)]
pub struct Tenants {
    lib: PathBuf,
}

impl Tenants {
    /// Those of `home`.
    pub fn of(home: &Home) -> Self {
        Self { lib: home.lib().to_owned() }
    }

    /// All, by name.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn all(&self) -> Result<BTreeMap<GroupName, Limits>> {
        Ok(disk::read_json(&self.lib.join(FILE))?.unwrap_or_default())
    }

    /// Makes a group, or changes what it says, for those that run in it too; what is not named
    /// stays.
    ///
    /// # Errors
    /// Limits that this host cannot enforce, unless best is enough, and those beyond what a group has
    /// that it is in; nothing is changed then.
    pub fn set(&self, name: &GroupName, limits: Limits) -> Result<()> {
        let _lock = FileLock::take(&self.lib, "groups")?;
        let mut all = self.all()?;
        let before = all.clone();
        if let Some(above) = name.above().filter(|above| !all.contains_key(above)) {
            return Err(unknown(&above));
        }
        within_those_above(name, &limits, &all)?;
        let known = all.get(name).cloned().unwrap_or_default();
        // Version 1 counts memory and swap together: either means something with the other only.
        let memory = limits.memory.or(limits.swap.and(known.memory));
        let limits = Limits { memory, ..limits };
        if limits.best_effort != Some(true) {
            shared::check(&resources(&limits)?).doing(|| format!("limiting the group {name}"))?;
        }
        let whole = all.remove(name).unwrap_or_default().merged(limits.clone());
        enforced(&whole)?;
        // How much swap there is says more than the sum of both only together with the memory.
        let swap = limits.swap.or(limits.memory.and(whole.swap));
        let change = enforced(&Limits { swap, best_effort: whole.best_effort, ..limits })?;
        all.insert(name.clone(), whole);
        disk::write_json(&self.lib.join(FILE), &all, Durable::Yes)?;
        let changed = shared::change(&directories(&self.lib, name), &change)
            .doing(|| format!("limiting the group {name}"));
        if changed.is_err() {
            // The refusal is the one to tell.
            let _ = disk::write_json(&self.lib.join(FILE), &before, Durable::Yes);
        }
        changed
    }

    /// Forgets a group that no container is in.
    ///
    /// # Errors
    /// Not found; conflict while there are containers or groups in it.
    pub fn remove(&self, name: &GroupName, containers: &Containers) -> Result<()> {
        let _lock = FileLock::take(&self.lib, "groups")?;
        let mut all = self.all()?;
        if !all.contains_key(name) {
            return Err(unknown(name));
        }
        if let Some(inner) = all.keys().find(|other| *other != name && other.line().contains(name)) {
            return Err(Error::conflict(format!("the group {inner} is in {name}")).hint("remove that first"));
        }
        let members = members(name, containers)?;
        if !members.is_empty() {
            let list = members.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
            return Err(Error::conflict(format!("there are containers in the group {name}: {list}"))
                .hint("remove them first: tsubo rm"));
        }
        all.remove(name);
        disk::write_json(&self.lib.join(FILE), &all, Durable::Yes)
    }

    /// Refuses a name of which nothing is known.
    ///
    /// # Errors
    /// With how to make it.
    pub(crate) fn must_know(lib: &Path, name: &GroupName) -> Result<()> {
        let all = Self { lib: lib.to_owned() }.all()?;
        if all.contains_key(name) { Ok(()) } else { Err(unknown(name)) }
    }
}

/// The containers that are in a group, or in one in it.
///
/// # Errors
/// When they cannot be listed.
pub fn members(name: &GroupName, containers: &Containers) -> Result<Vec<Name>> {
    let is_in = |group: &GroupName| group.line().contains(name);
    let all = containers.list()?.into_iter();
    let members = all.filter(|one| one.record().spec.group.as_ref().is_some_and(is_in));
    Ok(members.map(|one| one.name().clone()).collect())
}

/// The groups that a container is in, the outermost first, with what is said of them; nobody says
/// anything else as long as the lock is held.
///
/// # Errors
/// A file that cannot be read.
pub fn line(job: &Job, group: &GroupName) -> Result<(Vec<Level>, FileLock)> {
    let lib = job.dir.ancestors().nth(2).unwrap_or(&job.dir).to_owned();
    let lock = FileLock::shared(&lib, "groups")?;
    let all = Tenants { lib: lib.clone() }.all()?;
    let limits = |name: &GroupName| enforced(all.get(name).ok_or_else(|| unknown(name))?);
    let limits = group.line().iter().map(limits).collect::<Result<Vec<_>>>()?;
    Ok((directories(&lib, group).into_iter().zip(limits).collect(), lock))
}

/// The directories of a group, the outermost first. Two state directories may have groups of one
/// name, which have nothing to do with each other.
fn directories(lib: &Path, group: &GroupName) -> Vec<String> {
    let place = std::fs::metadata(lib).map_or(0, |meta| meta.dev().rotate_left(32) ^ meta.ino());
    let mut names: Vec<String> = group.parts().iter().map(|name| name.as_str().to_owned()).collect();
    if let Some(outermost) = names.first_mut() {
        outermost.push_str(&format!(".{place:x}"));
    }
    names
}

fn resources(limits: &Limits) -> Result<Resources> {
    let other = [
        ("group", limits.group.is_some()),
        ("disk", limits.disk.is_some()),
        ("inodes", limits.inodes.is_some()),
        ("logs", limits.logs.is_some()),
    ];
    if let Some((word, _)) = other.iter().find(|(_, said)| *said) {
        return Err(Error::user(format!("{word} is a word for containers, not for groups of them")));
    }
    limits.resources(disk_of::path)
}

/// What is said to the kernel. Whose memory is limited has no swap unless he is given some: what does
/// not fit would only be slow for everybody. That is left out where nothing holds swap, and so is
/// whatever cannot be held where best is enough.
fn enforced(limits: &Limits) -> Result<Resources> {
    let said = resources(limits)?;
    let swap = Memory { swap: said.memory.swap.or(implied_swap(&said.memory)), ..said.memory.clone() };
    let whole = Resources { memory: swap, ..said.clone() };
    let possible = |resources: &Resources| shared::check(resources).is_ok();
    if limits.best_effort != Some(true) {
        return Ok(if possible(&whole) { whole } else { said });
    }
    let mut words = whole.words();
    words.retain(possible);
    Ok(words.iter().fold(Resources::default(), |all, word| all.merged(word)))
}

fn implied_swap(memory: &Memory) -> Option<Limit> {
    memory.max.map(|max| if max == Limit::Max { Limit::Max } else { Limit::At(0) })
}

/// Refuses what would never be had: a group has no more than those that it is in.
fn within_those_above(name: &GroupName, said: &Limits, all: &BTreeMap<GroupName, Limits>) -> Result<()> {
    // Who says nothing about swap has none where memory is limited.
    let none = |limits: &Limits| limits.memory.and_then(|size| size.0.number()).map(|_| Size(Limit::At(0)));
    let words = |limits: &Limits| {
        [
            ("memory", limits.memory.map(|size| (size.0, size.to_string()))),
            ("swap", limits.swap.or(none(limits)).map(|size| (size.0, size.to_string()))),
            ("pids", limits.pids.map(|count| (count.0, count.to_string()))),
            ("cpus", limits.cpus.map(|cpus| (cpus.0, cpus.to_string()))),
        ]
    };
    for above in name.line().iter().filter(|above| *above != name) {
        let Some(limits) = all.get(above) else { continue };
        for ((word, own), (_, most)) in words(said).into_iter().zip(words(limits)) {
            let (Some((own, shown)), Some((most, limit))) = (own, most) else { continue };
            if own > most && own != Limit::Max {
                return Err(Error::user(format!(
                    "the group {name} cannot have {word} = {shown}: it is in {above}, which has {limit}"
                ))
                .hint(format!(
                    "give it less, max for all of that, or {above} more: tsubo group set {above} …"
                )));
            }
        }
    }
    Ok(())
}

fn unknown(name: &GroupName) -> Error {
    Error::not_found(format!("there is no group {name}"))
        .hint(format!("make it: tsubo group set {name} --memory 1g; tsubo group ls lists them"))
}
