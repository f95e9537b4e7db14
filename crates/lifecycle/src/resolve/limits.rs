//! What the container may use of this host.

use cgroup::Room;
use spec::container::{DEFAULT_LIMITS, Spec};
use spec::limits::Limits;
use spec::resources::{Limit, Resources};
use spec::{Error, Result, ResultExt};

use super::Resolving;
use super::reason::Reasons;
use crate::disk_of;

/// CAP_SYS_RESOURCE.
const SYS_RESOURCE: u32 = 24;

/// RLIMIT_NOFILE.
const OPEN_FILES: u32 = 7;

impl Resolving<'_> {
    /// What was said must be enforced, and is refused where it cannot be. What nobody has said is
    /// computed from the host, and enforced where that is possible.
    pub(super) fn limits(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        let said = self.portable.limits.clone().merged(self.options.limits.clone());
        // A package's word for what it says itself is none for what a person says.
        let own = self.options.limits.best_effort == Some(true) || self.options.limits.is_empty();
        let said = Limits { best_effort: said.best_effort.filter(|_| own), ..said };
        // Asked once: it is on the way of every start.
        let host = Room::of_host();
        self.groups(spec, &said, host, reasons)?;
        self.open_files(spec, host, reasons);
        self.room(spec, &said, reasons)
    }

    /// Of a host that has few, each process gets as many as all of the container can have.
    fn open_files(&self, spec: &mut Spec, host: Room, reasons: &mut Reasons) {
        let usual = DEFAULT_LIMITS.iter().find(|(number, ..)| *number == OPEN_FILES);
        let Some(limit) = spec.process.rlimits.iter_mut().find(|limit| Some(&**limit) == usual) else {
            return;
        };
        let Some(Limit::At(tasks)) = spec.resources.pids.or(spec.wishes.pids) else { return };
        let most = host.files_of_each(tasks);
        if most >= limit.2 {
            return;
        }
        let most = most.min(own_files());
        if most >= limit.1 && !self.layers.table(|layer| &layer.rlimits).contains_key("nofile") {
            limit.2 = most;
            let why = format!("default: {tasks} processes leave this host half of its open files");
            reasons.add(
                "open files",
                format!("{most} at most, each process"),
                why,
                "--ulimit nofile=SOFT:HARD",
            );
        }
    }

    fn groups(&self, spec: &mut Spec, said: &Limits, host: Room, reasons: &mut Reasons) -> Result<()> {
        let resources = said.resources(disk_of::path)?;
        let room = host.one();
        spec.promise = self.promise(said, &room);
        let defaults = room.clone().merged(&within(&self.portable.forecast, &room)?);
        if !spec.cgroup {
            self.unlimited(&resources, said)?;
            reasons.add("limits", "none", "it has no control groups", "--isolation cgroup=true");
            return Ok(());
        }
        spec.group.clone_from(&said.group);
        if said.best_effort == Some(true) {
            spec.wishes = defaults.clone().merged(&resources);
        } else {
            // Most containers say nothing, and nothing is to be asked for them.
            if resources != Resources::default() {
                cgroup::Placed::check(&resources)
                    .doing(|| format!("limiting container {}", self.options.name))?;
            }
            spec.wishes = defaults.without(&resources);
            spec.resources = resources;
        }
        self.tell_limits(spec, said, reasons);
        Ok(())
    }

    /// Whether its tests led to this limit.
    fn foreseen(&self, limit: Limit) -> bool {
        let Limits { memory, pids, .. } = &self.portable.forecast;
        memory.is_some_and(|size| size.0 == limit) || pids.is_some_and(|count| count.0 == limit)
    }

    fn unlimited(&self, resources: &Resources, said: &Limits) -> Result<()> {
        if *resources == Resources::default() && said.group.is_none() || said.best_effort == Some(true) {
            return Ok(());
        }
        let error = Error::unsupported(format!(
            "container {} gets no control groups, and without them its {} cannot be limited",
            self.options.name,
            said.said().join(", ")
        ));
        Err(error.hint("tsubo info tells why; --best-effort starts it without these limits"))
    }

    fn tell_limits(&self, spec: &Spec, said: &Limits, reasons: &mut Reasons) {
        let memory = |resources: &Resources| resources.memory.max;
        let pids = |resources: &Resources| resources.pids;
        for (what, limit, flag) in [
            ("memory", memory as fn(&Resources) -> Option<Limit>, "--memory SIZE|max"),
            ("processes", pids, "--pids-limit N|max"),
        ] {
            let (limit, why) = match (limit(&spec.resources), limit(&spec.wishes)) {
                (Some(limit), _) => (limit, "asked for"),
                (None, Some(limit)) if said.best_effort == Some(true) => (limit, "where this host can"),
                (None, Some(limit)) if self.foreseen(limit) => {
                    (limit, "four times what its tests used, where the control groups of this host can")
                }
                (None, Some(limit)) => {
                    (limit, "default, computed from this host, where its control groups can")
                }
                (None, None) => continue,
            };
            let shown = match what {
                "memory" => spec::limits::Size(limit).to_string(),
                _ => limit.to_string(),
            };
            reasons.add(what, format!("{shown} at most"), why, flag);
        }
        let others: Vec<&str> = said
            .said()
            .into_iter()
            .filter(|word| !matches!(*word, "memory" | "pids" | "best_effort"))
            .collect();
        if !others.is_empty() {
            reasons.add("limits", others.join(", "), "asked for", "--limit KEY=VALUE");
        }
    }
}

/// How many files a process that we start may have open: not every root may raise that.
fn own_files() -> u64 {
    let may_raise = sys::capability::permitted().is_ok_and(|held| held & (1 << SYS_RESOURCE) != 0);
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    own.filter(|_| !may_raise).unwrap_or(u64::MAX)
}

/// A forecast as resources; none of its numbers beyond what a container gets at most by itself.
fn within(forecast: &Limits, room: &Resources) -> Result<Resources> {
    let Limits { memory, pids, .. } = forecast;
    let least =
        |one: Option<Limit>, most: Option<Limit>| one.map(|one| most.map_or(one, |most| one.min(most)));
    // A package says nothing else by way of a forecast.
    let forecast = Limits { memory: *memory, pids: *pids, ..Limits::default() };
    let mut resources = forecast.resources(disk_of::path)?;
    resources.memory.max = least(resources.memory.max, room.memory.max);
    resources.pids = least(resources.pids, room.pids);
    Ok(resources)
}
