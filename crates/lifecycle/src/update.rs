//! Changing what can change about a container, also while it runs.

mod files;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use spec::container::Spec;
use spec::hooks::Event;
use spec::life::Life;
use spec::protocol::Request;
use spec::resources::{self, Resources};
use spec::{Error, Promise, Result, ResultExt};

use crate::Containers;
use crate::container::Container;
use crate::disk::{self, Durable};
use crate::events::What;
use crate::hooks::{self, Detail};
use crate::ledger::{self, Asking, Ledger};
use crate::lock::Lock;
use crate::record::{Record, Running, Status};

use files::Change;
pub use files::Files;

/// A resource limit: its number as in resource.h, soft, hard.
pub type Limit = (u32, u64, u64);

/// What is changed; what it does not name stays.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Resource limits of all its processes.
    pub rlimits: Vec<Limit>,
    /// What it may use of the host.
    pub resources: Resources,
    /// How much its files may be.
    pub files: Files,
    /// What this host cannot enforce of that is left out instead of refused.
    pub best_effort: bool,
    /// Also where that breaks promises made to other containers.
    pub overcommit: bool,
}

impl Container {
    /// Replaces the choices about its life, and sets limits of all its processes. All or nothing of
    /// the limits of its control groups.
    ///
    /// # Errors
    /// When a limit is refused by the kernel or cannot be enforced here, or the record cannot be
    /// written.
    pub fn update(&self, change: impl FnOnce(&mut Life), update: &Update) -> Result<()> {
        let owner = self.owner("running", None);
        hooks::before(&owner, Event::Update, &Detail::new())?;
        self.update_locked(change, update)?;
        hooks::after(&owner, Event::Update, &Detail::new());
        Ok(())
    }

    fn update_locked(&self, change: impl FnOnce(&mut Life), update: &Update) -> Result<()> {
        let _lock = Lock::take(self.dir(), self.name())?;
        // Read under the lock: somebody else may have changed it since it was found.
        let before = self.must_be_current()?;
        let mut record = before.clone();
        change(&mut record.life);
        merge(&mut record.spec, update)?;
        update.files.merge(&mut record.spec)?;
        let durable = if record.remove { Durable::No } else { Durable::Yes };
        let file = self.dir().join("container.json");
        // First: where it cannot be written nothing has changed, and who is killed says it again.
        disk::write_json(&file, &record, durable)?;
        if let Err(error) = self.enforce(&before, &record, update) {
            // The first failure is the one to tell.
            let _ = disk::write_json(&file, &before, durable);
            return Err(error).doing(|| format!("changing a limit of container {}", self.name()));
        }
        self.tell(What::Update);
        Ok(())
    }

    /// Has what is written hold now, all of it or nothing.
    fn enforce(&self, before: &Record, after: &Record, update: &Update) -> Result<()> {
        let status = self.status()?;
        let first = match &status {
            Status::Running(state) if !state.resting => Some(state.first),
            _ => None,
        };
        let files = Change { spec: &before.spec, first };
        let back = files.apply(&update.files, after.spec.room)?;
        let Status::Running(state) = &status else { return Ok(()) };
        self.update_running(state, before, after, update).inspect_err(|_| files.take_back(back))
    }

    fn update_running(
        &self,
        state: &Running,
        before: &Record,
        after: &Record,
        update: &Update,
    ) -> Result<()> {
        self.promise_anew(state, &before.spec, &after.spec, update.overcommit || after.overcommit)?;
        // Its keeper first: it may start it again at any moment.
        let changed =
            self.order_all(after, update).and_then(|()| self.limit(&with_swap(update, &after.spec)));
        changed.inspect_err(|_| {
            // What it had it can have again.
            let _ = self.promise_anew(state, &after.spec, &before.spec, true);
            // What was refused now is not to come with its next start. If it has ended meanwhile
            // there is nobody to tell.
            let _ = self.order_all(before, update);
        })
    }

    fn order_all(&self, record: &Record, update: &Update) -> Result<()> {
        self.order(&order(record, update))?;
        if update.files.is_empty() {
            return Ok(());
        }
        self.order(&Request::UpdateFiles {
            room: record.spec.room,
            logs: record.spec.logs,
            promise: record.spec.promise,
        })
    }

    /// What it is promised changes with what it may use.
    fn promise_anew(&self, state: &Running, before: &Spec, after: &Spec, overcommit: bool) -> Result<()> {
        if after.promised() == before.promised() {
            return Ok(());
        }
        let ledger = Ledger::beside(self.run_dir());
        let asking = Asking { spec: after, keeper: state.keeper, overcommit };
        ledger::admit(&ledger, &Containers::around(self.dir(), self.run_dir()), &asking)
    }

    /// Its processes and groups, as they are by now.
    fn limit(&self, update: &Update) -> Result<()> {
        let Status::Running(state) = self.status()? else { return Ok(()) };
        update.rlimits.iter().try_for_each(|limit| set(&state, *limit))?;
        limit(&state, update)
    }
}

/// Version 1 forgets how much swap there was while memory has no limit.
fn with_swap(update: &Update, spec: &Spec) -> Update {
    let mut whole = update.clone();
    if matches!(whole.resources.memory.max, Some(resources::Limit::At(_))) {
        let said = [whole.resources.memory.swap, spec.resources.memory.swap, spec.wishes.memory.swap];
        whole.resources.memory.swap = said.into_iter().flatten().next();
    }
    whole
}

/// What a start from now on gives it.
fn merge(spec: &mut Spec, update: &Update) -> Result<()> {
    for limit in &update.rlimits {
        spec.process.rlimits.retain(|(resource, ..)| *resource != limit.0);
        spec.process.rlimits.push(*limit);
    }
    if update.resources == Resources::default() {
        return Ok(());
    }
    if !spec.cgroup {
        return Err(Error::unsupported(format!(
            "container {} has no control groups to limit it by",
            spec.name
        ))
        .hint("make it anew without --isolation cgroup=false"));
    }
    let (whole, rest) = match update.best_effort {
        true => (&mut spec.wishes, &mut spec.resources),
        false => (&mut spec.resources, &mut spec.wishes),
    };
    if update.best_effort {
        spec.promise = said(spec.promise, &update.resources);
    }
    *whole = std::mem::take(whole).merged(&update.resources);
    *rest = rest.without(&update.resources);
    whole.check()?;
    if update.best_effort { Ok(()) } else { cgroup::Placed::check(&update.resources) }
}

/// What was said counts also where it is not enforced.
fn said(promise: Promise, resources: &Resources) -> Promise {
    let number = |limit: Option<resources::Limit>| limit.and_then(resources::Limit::number);
    Promise {
        memory: number(resources.memory.max).unwrap_or(promise.memory),
        tasks: number(resources.pids).unwrap_or(promise.tasks),
        ..promise
    }
}

/// The groups it has now.
fn limit(state: &Running, update: &Update) -> Result<()> {
    match &state.group {
        _ if update.resources == Resources::default() => Ok(()),
        Some(group) if update.best_effort => {
            group.wish_now(&update.resources);
            Ok(())
        }
        // Between two lives there is none.
        Some(_) if state.resting => Ok(()),
        Some(group) => group.change(&update.resources),
        None if update.best_effort => Ok(()),
        None => Err(Error::unsupported("it runs without control groups")
            .hint("tsubo info tells why this host gives it none")),
    }
}

/// In the words of the oldest keeper that can know them.
fn order(record: &Record, update: &Update) -> Request {
    let (life, rlimits) = (record.life.clone(), record.spec.process.rlimits.clone());
    if update.resources == Resources::default() {
        return Request::Update { life, rlimits };
    }
    let (resources, wishes) = (Box::new(record.spec.resources.clone()), Box::new(record.spec.wishes.clone()));
    Request::UpdateAll { life, rlimits, resources, wishes }
}

/// Those that are made meanwhile inherit it from one that has it.
fn set(state: &Running, (resource, soft, hard): Limit) -> Result<()> {
    for pid in state.processes() {
        let Some(number) = Pid::from_raw(pid) else { continue };
        // Held while we look again: the number cannot change hands.
        let Ok(_held) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { continue };
        if state.processes().contains(&pid) {
            let set = sys::process::set_limit_of(pid, resource, soft, hard);
            let set = match (set, owner(pid)) {
                (Err(Errno::PERM), Some(owner)) => {
                    sys::process::set_limit_as(owner, pid, resource, soft, hard)
                }
                (set, _) => set,
            };
            match set {
                Err(Errno::SRCH) => {}
                result => result.map_err(std::io::Error::from).doing(|| format!("limiting process {pid}"))?,
            }
        }
    }
    Ok(())
}

/// Its real user and group, as the host counts.
fn owner(pid: i32) -> Option<(u32, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let id = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((id("Uid:")?, id("Gid:")?))
}
