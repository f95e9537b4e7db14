//! What a container's group is given: what was asked for, or nothing at all; and of what was only
//! wished for as much as there is.

use std::path::Path;

use spec::resources::Resources;
use spec::{Error, Id, Result, ResultExt};

use crate::group::{self, Group, PARENT};
use crate::layout::Version;
use crate::path::hierarchies;
use crate::place::{Placed, enable, fill_cpuset, offered, required};
use crate::resources::{Now, writes};
use crate::systemd::house;

impl Group {
    /// Says what was asked for to a group that nobody is in yet, and makes it in hierarchies that
    /// it takes more for that. Whether it has more of them now: ways in that were opened before are
    /// not all then.
    ///
    /// # Errors
    /// What this host cannot enforce, with the reason and the way out.
    pub fn grant(&mut self, id: Id, resources: &Resources) -> Result<bool> {
        if *resources == Resources::default() {
            return Ok(false);
        }
        let more = self.extend(id, resources)?;
        let placed = Placed::of(self)?;
        placed.update(resources).map(|()| more)
    }

    /// Makes it, as far as possible, in hierarchies that these wishes take more. Whether it is in
    /// more of them now.
    pub fn reach(&mut self, id: Id, wishes: &Resources) -> bool {
        let words = wishes.words();
        words.iter().filter(|word| self.extend(id, word).unwrap_or(false)).count() > 0
    }

    /// As much as there is of what was wished for, in a group that was just made and to which only
    /// `said` was said.
    pub fn wish(&self, resources: &Resources, said: &Resources) -> Resources {
        let now = Now::after(&said.memory);
        Placed::of(self).map_or_else(|_| Resources::default(), |placed| placed.wish(&now, resources))
    }

    /// The same while somebody is in it.
    pub fn wish_now(&self, resources: &Resources) -> Resources {
        Placed::of(self).map_or_else(|_| Resources::default(), |placed| placed.wish(&placed.now(), resources))
    }

    /// Changes what it has been given, while somebody is in it: all or nothing.
    ///
    /// # Errors
    /// What this host cannot enforce, and what the kernel refuses.
    pub fn change(&self, resources: &Resources) -> Result<()> {
        let mut reached = self.clone();
        let (has, host) = (Placed::of(self)?.controllers(), offered(&hierarchies()?));
        let planned = writes(&host, &Now::default(), resources)?;
        let elsewhere = |name: &String| host.one.contains(name) && !has.one.contains(name);
        if let Some(name) = required(&planned, resources).into_iter().find(elsewhere) {
            return Err(Error::unsupported(format!("it was started without a control group of {name}"))
                .hint("such a limit is given when it is made: tsubo rm, then tsubo run"));
        }
        // On version 2 that is possible while somebody is in it; on version 1 not.
        if reached.directories.iter().all(|(version, _)| *version == Version::Two) {
            reached.extend(Id::from_bytes([0; 6]), resources)?;
        }
        Placed::of(&reached)?.update(resources)
    }

    /// Whether one more process has room in it. A process that goes into a group of version 1 is not
    /// counted by the kernel until it is there.
    pub fn has_room(&self) -> bool {
        let number = |directory: &Path, file: &str| {
            std::fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok()
        };
        self.directories.iter().all(|(_, directory)| {
            match (number(directory, "pids.current"), number(directory, "pids.max")) {
                (Some(current), Some(most)) => current < most,
                _ => true,
            }
        })
    }

    fn extend(&mut self, id: Id, resources: &Resources) -> Result<bool> {
        let has = |group: &Self, name: &String| group.controllers.iter().any(|all| all.contains(name));
        let hierarchies = hierarchies()?;
        let planned = writes(&offered(&hierarchies), &Now::default(), resources)?;
        let mut missing = required(&planned, resources);
        missing.retain(|name| !has(self, name));
        if missing.is_empty() {
            return Ok(false);
        }
        let mut more = false;
        for place in &hierarchies {
            let hierarchy = &place.hierarchy;
            match hierarchy.version {
                Version::One if hierarchy.controllers.iter().any(|name| missing.contains(name)) => {
                    let directory = group::make(&hierarchy.own, Path::new(PARENT), id, Version::One)?;
                    if hierarchy.controllers.iter().any(|name| name == "cpuset") {
                        let filled = fill_cpuset(&directory, &hierarchy.own);
                        filled.doing(|| format!("filling {}", directory.display()))?;
                    }
                    self.add(hierarchy, directory);
                    more = true;
                }
                Version::One => {}
                Version::Two => self.pass_on(&hierarchy.own, &missing)?,
            }
        }
        match missing.iter().find(|name| !has(self, name)) {
            None => Ok(more),
            Some(name) => Err(Error::unsupported(format!(
                "the container's control group does not get the controller {name}"
            ))
            .hint("tsubo info tells what control groups of this host pass on, and how to get more")),
        }
    }

    /// Lets controllers of version 2 reach the group.
    fn pass_on(&mut self, own: &Path, missing: &std::collections::BTreeSet<String>) -> Result<()> {
        let Some(index) = self.directories.iter().position(|(version, _)| *version == Version::Two) else {
            return Ok(());
        };
        let directory = &self.directories[index].1;
        // From what is ours on: the caller's own group, or what systemd has given us.
        let home = house::home().unwrap_or_else(|| own.to_owned());
        let above: Vec<&Path> =
            directory.ancestors().skip(1).take_while(|at| at.starts_with(&home)).collect();
        for directory in above.into_iter().rev() {
            enable::enable(directory, Some(&[]), missing)?;
        }
        if let Some(controllers) = self.controllers.get_mut(index) {
            *controllers = enable::words(&directory.join("cgroup.controllers"));
        }
        Ok(())
    }
}
