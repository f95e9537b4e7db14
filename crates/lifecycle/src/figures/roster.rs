//! Who is there: read once, then kept by the events. To read the state of a thousand containers again
//! and again would take more time than their figures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cgroup::figures::Meter;
use spec::container::{MountKind, Spec};
use spec::{Id, Name, Result, RootPath};

use crate::events::{Event, Events, What};
use crate::pinned::Pinned;
use crate::record::Status;
use crate::{Container, Containers};

/// A keeper that was lost tells of no end.
const EVERYTHING: Duration = Duration::from_secs(600);

/// Events can be missed: so often is looked who is there.
const NAMES: Duration = Duration::from_secs(60);

/// A container, as far as its figures are concerned.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Name,
    pub(crate) image: String,
    pub(crate) dir: PathBuf,
    /// Where its volumes are, on the host and the first of them inside, if something holds their room.
    pub(crate) kept: Option<(PathBuf, RootPath)>,
    pub(crate) status: Status,
    /// In a word or two, at the time of the last event.
    pub(crate) word: String,
    /// Of one that runs and has control groups.
    pub(crate) meter: Option<Meter>,
}

impl Member {
    fn of(container: &Container) -> Result<Self> {
        let status = container.status()?;
        let meter = match &status {
            Status::Running(running) => running.group.as_ref().map(Meter::of),
            _ => None,
        };
        Ok(Self {
            name: container.name().clone(),
            image: container.record().image.clone(),
            dir: container.dir().to_owned(),
            kept: kept(&container.record().spec),
            word: status.word(),
            status,
            meter,
        })
    }

    /// The first process, unless it is about to be started again.
    pub(crate) fn first(&self) -> Option<i32> {
        self.pinned().map(|first| first.pid)
    }

    pub(crate) fn pinned(&self) -> Option<Pinned> {
        match &self.status {
            Status::Running(running) => (!running.resting).then_some(running.first),
            _ => None,
        }
    }

    pub(crate) fn restarts(&self) -> u32 {
        match &self.status {
            Status::Running(running) => running.restarts,
            Status::Exited(ended) => ended.restarts,
            Status::Created => 0,
        }
    }
}

pub(super) fn kept(spec: &Spec) -> Option<(PathBuf, RootPath)> {
    let first = spec.mounts.iter().find(|mount| matches!(mount.what, MountKind::Kept { .. }))?;
    Some((spec.kept.clone()?, first.at.clone()))
}

/// All containers of a state directory.
#[derive(Debug)]
pub(crate) struct Roster {
    containers: Containers,
    events: Events,
    members: BTreeMap<Id, Member>,
    /// When everything was last read.
    read: Option<Instant>,
    /// When the names were.
    named: Instant,
}

impl Roster {
    pub(crate) fn of(containers: Containers) -> Self {
        let events = containers.events();
        Self { containers, events, members: BTreeMap::new(), read: None, named: Instant::now() }
    }

    pub(crate) fn members(&self) -> &BTreeMap<Id, Member> {
        &self.members
    }

    /// Brings it up to now; returns what has happened since the last time.
    pub(crate) fn refresh(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(event) = self.events.next_event()? {
            events.push(event);
        }
        if self.read.is_none_or(|read| read.elapsed() > EVERYTHING) {
            self.read_all()?;
            return Ok(events);
        }
        // The last name of each is the one to look for.
        let changed = events.iter().filter(|event| changes(&event.what));
        let changed: BTreeMap<Id, &Name> = changed.map(|event| (event.id, &event.name)).collect();
        changed.into_iter().for_each(|(id, name)| self.read_one(id, name));
        if self.named.elapsed() > NAMES {
            self.read_names()?;
        }
        Ok(events)
    }

    /// Reads those that there are without our knowing, and forgets those that there are not.
    fn read_names(&mut self) -> Result<()> {
        let names: BTreeSet<Name> = self.containers.names()?.into_iter().collect();
        self.named = Instant::now();
        self.members.retain(|_, member| names.contains(&member.name));
        let known: BTreeSet<Name> = self.members.values().map(|member| member.name.clone()).collect();
        for name in names.difference(&known) {
            // One that is just being made is there the next time.
            if let Ok(Some(container)) = self.containers.named(name) {
                self.read_one(container.id(), name);
            }
        }
        Ok(())
    }

    /// Reads one again whose figures are not to be had any more.
    pub(crate) fn read_again(&mut self, id: Id) {
        let name = self.members.get(&id).map(|member| member.name.clone());
        name.into_iter().for_each(|name| self.read_one(id, &name));
    }

    fn read_all(&mut self) -> Result<()> {
        let all = self.containers.list()?;
        let now = all.iter().filter_map(|container| Some((container.id(), Member::of(container).ok()?)));
        self.members = now.collect();
        self.named = Instant::now();
        self.read = Some(self.named);
        Ok(())
    }

    /// One that cannot be read is not there: the others are.
    fn read_one(&mut self, id: Id, name: &Name) {
        let found = self.containers.named(name).ok().flatten().filter(|container| container.id() == id);
        match found.map(|container| Member::of(&container)) {
            Some(Ok(member)) => self.members.insert(id, member),
            _ => self.members.remove(&id),
        };
    }
}

/// Whether it changes how a container is shown.
fn changes(what: &What) -> bool {
    !matches!(what, What::Exec { .. } | What::Kill { .. } | What::Oom)
}
