//! Health checks: a command in the container, again and again, each for a limited time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lifecycle::events::What;
use lifecycle::hooks::Detail;
use lifecycle::{HealthState, Probe, living};
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};
use spec::container::Process;
use spec::hooks::When;
use spec::life::{Health, Wellness};

use crate::keep::Keeper;
use crate::task::{Setup, Task};

/// So much of what a check says is kept.
const OUTPUT: usize = 4 << 10;

/// While nothing is known yet and failures do not count, checks come this often at least.
const EAGER: Duration = Duration::from_secs(5);

/// The checks of a running container.
pub(crate) struct Checks {
    state: HealthState,
    begun: Instant,
    next: Instant,
    check: Option<Check>,
}

/// [`Checks`] on their way to another program.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChecksAtRest {
    state: HealthState,
    ran: Duration,
    next: Duration,
}

/// One that is under way.
struct Check {
    task: Task,
    deadline: Instant,
    output: Vec<u8>,
}

impl Checks {
    fn new(health: &Health) -> Self {
        let now = Instant::now();
        let mut checks = Self { state: HealthState::default(), begun: now, next: now, check: None };
        checks.next = now + checks.pause(health);
        checks
    }

    fn pause(&self, health: &Health) -> Duration {
        let interval = Duration::from_millis(health.interval);
        if self.is_excused(health) { interval.min(EAGER) } else { interval }
    }

    /// Failures do not count yet.
    fn is_excused(&self, health: &Health) -> bool {
        self.state.status == Wellness::Starting
            && self.begun.elapsed() < Duration::from_millis(health.start_period)
    }

    /// What a program that takes our place must know of them; None while one is under way.
    pub(crate) fn at_rest(&self) -> Option<ChecksAtRest> {
        let next = self.next.saturating_duration_since(Instant::now());
        let rest = ChecksAtRest { state: self.state.clone(), ran: self.begun.elapsed(), next };
        self.check.is_none().then_some(rest)
    }

    pub(crate) fn adopt(rest: ChecksAtRest) -> Self {
        let now = Instant::now();
        let begun = now.checked_sub(rest.ran).unwrap_or(now);
        Self { state: rest.state, begun, next: now + rest.next, check: None }
    }

    /// When there is something to do though nothing happens.
    pub(crate) fn due(&self) -> Instant {
        self.check.as_ref().map_or(self.next, |check| check.deadline)
    }

    /// What tells that there is something to do.
    pub(crate) fn watch<'a>(&'a self, polled: &mut Vec<PollFd<'a>>) {
        let Some(check) = &self.check else { return };
        polled.push(PollFd::from_borrowed_fd(check.task.pidfd(), PollFlags::IN));
        polled.extend(check.task.outputs().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    }

    /// Ends a check without a result, and puts the next one off.
    pub(crate) fn put_off(&mut self, health: &Health) {
        self.check = None;
        self.next = Instant::now() + self.pause(health);
    }

    /// Takes a result in; true if the status has changed.
    fn conclude(&mut self, health: &Health, probe: Probe) -> bool {
        let before = self.state.status;
        if probe.code == Some(0) {
            (self.state.status, self.state.failing) = (Wellness::Healthy, 0);
        } else if !self.is_excused(health) {
            self.state.failing = self.state.failing.saturating_add(1);
            if self.state.failing >= health.retries {
                self.state.status = Wellness::Unhealthy;
            }
        }
        self.state.last = Some(probe);
        self.next = Instant::now() + self.pause(health);
        self.state.status != before
    }
}

impl Check {
    /// Its result once there is one: with an exit code, or without where it took too long.
    fn result(&mut self) -> Option<Probe> {
        let output = &mut self.output;
        let mut keep = |_, bytes: &[u8]| {
            let room = OUTPUT.saturating_sub(output.len());
            output.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        let code = self.task.ended();
        match code {
            Some(_) => self.task.read_rest(&mut keep),
            None => self.task.read(&mut keep),
        }
        if code.is_none() && self.deadline > Instant::now() {
            return None;
        }
        Some(probe(code, &self.output))
    }
}

/// One that is given up before its end takes along what it has started.
impl Drop for Check {
    fn drop(&mut self) {
        self.task.end_session();
    }
}

fn probe(code: Option<i32>, output: &[u8]) -> Probe {
    Probe { ended: living::clock(), code, output: String::from_utf8_lossy(output).into_owned() }
}

impl Keeper {
    /// The container has just been started, or its checks were changed.
    pub(crate) fn begin_checks(&mut self) {
        self.checks = self.job.life.health.as_ref().map(Checks::new);
        if self.checks.is_some() {
            self.write_health();
        }
    }

    /// Does what is due.
    pub(crate) fn check_health(&mut self) {
        if self.paused || self.restarts.is_resting() {
            return;
        }
        let (Some(mut checks), Some(health)) = (self.checks.take(), self.job.life.health.clone()) else {
            return;
        };
        let result = match &mut checks.check {
            Some(check) => check.result(),
            None if checks.next > Instant::now() => None,
            None => self.begin_check(&mut checks, &health),
        };
        let concluded = result.map(|probe| {
            checks.check = None;
            checks.conclude(&health, probe)
        });
        let status = checks.state.status;
        self.checks = Some(checks);
        if let Some(changed) = concluded {
            self.write_health();
            if changed {
                self.tell([What::HealthStatus { status }]);
                self.tell_health(status);
            }
        }
    }

    /// Starts one; its result if it cannot be started.
    fn begin_check(&self, checks: &mut Checks, health: &Health) -> Option<Probe> {
        let process = Process { argv: health.argv.clone(), terminal: false, ..self.job.spec.process.clone() };
        let setup = Setup::of(self.group.as_ref(), false, None);
        match Task::join(&self.plan_to_join(&process, &BTreeSet::new()), setup, &self.task) {
            Ok(task) => {
                let deadline = Instant::now() + Duration::from_millis(health.timeout);
                checks.check = Some(Check { task, deadline, output: Vec::new() });
                None
            }
            Err(error) => Some(probe(Some(i32::from(error.kind().exit_code())), error.chain().as_bytes())),
        }
    }

    fn tell_health(&mut self, status: Wellness) {
        if status == Wellness::Healthy {
            self.tell_ready();
        }
        let detail = Detail::from([("status".to_owned(), status.to_string().into())]);
        self.happen(&When::Health, detail);
    }

    fn write_health(&self) {
        // A full disk does not make a container ill.
        let _ = living::health(&self.job, self.checks.as_ref().map(|checks| checks.state.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Probe {
        Probe { code: Some(1), ..Probe::default() }
    }

    #[test]
    fn so_many_failures_in_a_row_make_it_unhealthy_and_one_pass_makes_it_well() {
        let health = Health { retries: 2, ..Health::new(Vec::new()) };
        let mut checks = Checks::new(&health);
        assert!(!checks.conclude(&health, failed()));
        assert!(checks.conclude(&health, Probe { code: None, ..Probe::default() }));
        assert_eq!((checks.state.status, checks.state.failing), (Wellness::Unhealthy, 2));
        assert!(checks.conclude(&health, Probe { code: Some(0), ..Probe::default() }));
        assert_eq!((checks.state.status, checks.state.failing), (Wellness::Healthy, 0));
        assert!(!checks.conclude(&health, failed()));
    }

    #[test]
    fn failures_while_it_starts_do_not_count() {
        let health = Health { retries: 1, start_period: 60_000, ..Health::new(Vec::new()) };
        let mut checks = Checks::new(&health);
        assert!(!checks.conclude(&health, failed()));
        assert!(checks.pause(&health) == EAGER && checks.state.failing == 0);
        assert!(checks.conclude(&health, Probe { code: Some(0), ..Probe::default() }));
        assert_eq!(checks.pause(&health), Duration::from_secs(30));
    }
}
