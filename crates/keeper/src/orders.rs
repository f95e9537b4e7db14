//! What commands ask for besides looking on and executing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lifecycle::events::What;
use lifecycle::{Ended, living, rename};
use spec::container::{Namespace, Process};
use spec::life::Life;
use spec::plan::Plan;
use spec::protocol::{Reply, Request};
use spec::{Error, ErrorKind, Name, Result};

use crate::connection::{Connection, Role};
use crate::keep::Keeper;
use crate::task::{Setup, Task};

/// How long a container that is being killed may take to be seen to have ended.
const MOMENT: Duration = Duration::from_millis(200);

/// How one more process comes in.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) input: bool,
    /// Namespaces that it does not enter.
    pub(crate) without: BTreeSet<Namespace>,
    /// It stays when its caller goes.
    pub(crate) alone: bool,
}

impl Keeper {
    /// Does what is asked for and says so.
    pub(crate) fn obey(&mut self, connection: &mut Connection, request: Request) -> Result<()> {
        match request {
            Request::Loosen => return Self::loosen(connection),
            Request::Quit => self.restarts.quitting = true,
            Request::Pause => self.pause()?,
            Request::Unpause => self.unpause()?,
            Request::Rename { name } => self.rename(name)?,
            Request::Update { life, rlimits } => self.update(life, rlimits),
            Request::UpdateAll { life, rlimits, resources, wishes } => {
                self.update(life, rlimits);
                self.job.spec.resources = *resources;
                self.job.spec.wishes = *wishes;
            }
            Request::UpdateFiles { room, logs, promise } => {
                self.job.spec.promise = promise;
                self.job.spec.room = room;
                self.job.spec.logs = logs;
                self.log.bound(logs);
            }
            Request::Fire { signal } => self.fire(signal)?,
            other => return Err(Error::internal(format!("{other:?} is no order"))),
        }
        connection.send(&Reply::Done);
        Ok(())
    }

    /// When the connection goes away, what it started stays.
    fn loosen(connection: &mut Connection) -> Result<()> {
        if connection.role == Role::Launch {
            connection.role = Role::Attached;
        }
        connection.loose = true;
        Ok(())
    }

    fn pause(&mut self) -> Result<()> {
        self.must_be_up("paused")?;
        let group = self.group.as_ref().ok_or_else(|| {
            Error::unsupported("the container has no control groups, so its processes cannot be held")
        })?;
        if let (Some(checks), Some(health)) = (&mut self.checks, &self.job.life.health) {
            checks.put_off(health);
        }
        group.freeze()?;
        self.paused = true;
        self.tell([What::Pause]);
        Ok(())
    }

    fn unpause(&mut self) -> Result<()> {
        if !self.paused {
            return Err(Error::conflict(format!("container {} is not paused", self.job.spec.name)));
        }
        self.let_go_on()?;
        self.tell([What::Unpause]);
        Ok(())
    }

    /// Lets its processes go on, if they are held.
    pub(crate) fn let_go_on(&mut self) -> Result<()> {
        self.paused = false;
        if let (Some(checks), Some(health)) = (&mut self.checks, &self.job.life.health) {
            checks.put_off(health);
        }
        self.group.as_ref().map_or(Ok(()), cgroup::Group::thaw)
    }

    /// Its processes can be reached: it is neither held nor between two lives.
    pub(crate) fn must_be_up(&self, what: &str) -> Result<()> {
        let name = &self.job.spec.name;
        if self.paused {
            return Err(Error::conflict(format!("container {name} is paused"))
                .hint(format!("let it go on first: tsubo unpause {name}")));
        }
        if self.restarts.is_resting() {
            let error = Error::conflict(format!("container {name} has ended, and waits to be started again"));
            return Err(
                error.hint(format!("it can be {what} when it runs; tsubo logs {name} tells why it ended"))
            );
        }
        Ok(())
    }

    fn rename(&mut self, name: Name) -> Result<()> {
        let moved = rename::move_directory(&self.job.dir, &name);
        // The name of the directory is the truth, also where what hangs on it could not follow.
        if !self.job.dir.exists() {
            self.job.dir = self.job.dir.with_file_name(name.as_str());
            self.log.follow(&self.job.dir);
            rename::follow(&mut self.job.spec, &self.job.dir, name);
        }
        moved.map(drop)
    }

    fn update(&mut self, life: Life, rlimits: Vec<(u32, u64, u64)>) {
        self.job.spec.process.rlimits = rlimits;
        let other_checks = life.health != self.job.life.health;
        self.job.life = life;
        if other_checks && !self.restarts.is_resting() {
            self.begin_checks();
            if self.checks.is_none() {
                // What there was does not hold any more.
                let _ = living::health(&self.job, None);
            }
        }
    }

    /// One more process, unless the container cannot have one now.
    pub(crate) fn join(&self, process: &Process, entry: &Entry) -> Result<Task> {
        self.must_be_up("entered")?;
        if self.group.as_ref().is_some_and(|group| !group.has_room()) {
            return Err(Error::conflict(format!(
                "container {} has as many processes as it may have (pids.max)",
                self.job.spec.name
            ))
            .hint(format!("allow it more: tsubo update --pids-limit N {}", self.job.spec.name)));
        }
        let setup = Setup::of(self.group.as_ref(), entry.input, None);
        let joined = Task::join(&self.plan_to_join(process, &entry.without), setup, &self.task);
        let task = joined.map_err(|error| self.unless_ended(error))?;
        self.tell([What::Exec { command: process.argv.clone() }]);
        Ok(task)
    }

    /// Whoever is just coming in is killed with the container, and says nothing of the reason.
    fn unless_ended(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Internal || !ends_within(self.task.pid(), MOMENT) {
            return error;
        }
        Error::conflict(format!("container {} has just ended", self.job.spec.name))
    }

    pub(crate) fn plan_to_join(&self, process: &Process, without: &BTreeSet<Namespace>) -> Plan {
        let mut namespaces = spec::plan::joinable(&self.job.spec);
        namespaces.retain(|namespace| !without.contains(namespace));
        spec::plan::join(&self.job.spec, process, &namespaces)
    }

    /// Reads and forgets what processes say whose caller has gone, and reaps them.
    pub(crate) fn serve_loose(&mut self) {
        self.loose.retain_mut(|task| {
            task.feed();
            task.read(&mut |_, _| {});
            task.ended().is_none()
        });
    }

    /// Writes events.
    pub(crate) fn tell(&self, all: impl IntoIterator<Item = What>) {
        living::subject(&self.job).tell_all(all);
    }

    /// Writes that it has ended, and what follows from that.
    pub(crate) fn tell_end<const N: usize>(&self, code: i32, then: [What; N]) {
        let oom = self.oom(code).then_some(What::Oom);
        self.tell(oom.into_iter().chain([What::Die { code }]).chain(then));
    }

    /// The last events.
    pub(crate) fn tell_last(&self, code: i32) {
        match (self.job.remove, self.restarts.is_resting()) {
            (true, false) => self.tell_end(code, [What::Destroy]),
            (false, false) => self.tell_end(code, []),
            // That it had ended was told when it did.
            (true, true) => self.tell([What::Destroy]),
            (false, true) => {}
        }
    }

    /// Whether the kernel has killed for lack of memory. Only who was killed may have been,
    /// and the group that knows is gone by the time that it is told.
    fn oom(&self, code: i32) -> bool {
        let kills = self.group.as_ref().filter(|_| code == 137).map_or(0, cgroup::Group::oom_kills);
        if kills > 0 {
            self.restarts.oom.set(true);
            self.restarts.kills.set(kills);
        }
        self.restarts.oom.get()
    }

    /// How it ended, for those who look later.
    pub(crate) fn ended(&self, code: i32, peak: cgroup::Peak) -> Ended {
        Ended {
            code,
            finished: living::clock(),
            note: self.restarts.failure.clone(),
            peak,
            stopped: self.restarts.quitting,
            oom: self.oom(code),
            restarts: self.restarts.times,
        }
    }
}

/// Whether a process, which we have not reaped, is on its way out. A container's first one stays for
/// as long as others of it wait to be reaped, by us too, but has no program any more.
fn ends_within(pid: i32, time: Duration) -> bool {
    let end = Instant::now() + time;
    while std::fs::read_link(format!("/proc/{pid}/exe")).is_ok() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}
