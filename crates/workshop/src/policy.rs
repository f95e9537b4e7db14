//! The policy of a package: the system calls that were observed, and no capability without which
//! the replay passes.
//!
//! What was seen in the tests is where it starts. The replay must pass under that; then capabilities
//! are taken away as long as it goes on to pass, and as long as the service conducts itself as
//! before ([`Conduct`](crate::service::conduct::Conduct)). What is kept has been tried to the
//! letter: the last replay that passed was under exactly this policy.

mod course;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use observe::{CAPABILITY_CHECKS, SYSTEM_CALLS};
use spec::container::{DEFAULT_CAPABILITIES, capability, capability_names};
use spec::observation::Observation;
use spec::portable::Policy;
use spec::report::Judged;
use spec::{ErrorKind, Result};

use crate::progress::Progress;
use crate::replay::Verdict;
use course::Course;

/// Replays under a policy (none: what holds for a service of which nothing is known).
pub type Try<'a> = dyn Fn(Option<&Policy>, Option<&[Duration]>) -> Result<Verdict> + 'a;

/// What was found.
#[derive(Debug)]
pub struct Settled {
    /// The policy under which the last replay passed.
    pub policy: Policy,
    /// What became of each capability.
    pub judged: BTreeMap<String, Judged>,
    /// System calls that the tests had not shown and the replay needed.
    pub added: BTreeSet<String>,
    /// How many replays it took.
    pub replays: usize,
}

/// How a search ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a policy.
    Passed(Box<Settled>),
    /// The replay fails.
    Failed(Box<Verdict>),
}

/// What the tests showed that the service needs.
pub fn observed(observation: &Observation) -> Policy {
    let capabilities = match capabilities_are_known(observation) {
        true => observation.capabilities.keys().filter(|name| is_usual(name)).cloned().collect(),
        false => capability_names(DEFAULT_CAPABILITIES).collect(),
    };
    let known = every_run_has(observation, SYSTEM_CALLS);
    let syscalls = if known { observation.syscalls.clone() } else { BTreeSet::new() };
    Policy { syscalls, capabilities, groups_seen: observation.groups }
}

/// Whether the tests showed each capability that the service used.
pub fn capabilities_are_known(observation: &Observation) -> bool {
    every_run_has(observation, CAPABILITY_CHECKS)
}

fn every_run_has(observation: &Observation, instrument: &str) -> bool {
    !observation.runs.is_empty() && observation.runs.iter().all(|run| run.instruments.contains(instrument))
}

/// More than these no container of ours has had in a test.
fn is_usual(name: &str) -> bool {
    capability(name).is_some_and(|bit| bit & DEFAULT_CAPABILITIES != 0)
}

/// What is said of capabilities that no replay has tried.
pub fn untried(policy: &Policy, observation: &Observation) -> BTreeMap<String, Judged> {
    let why = match capabilities_are_known(observation) {
        true => "it was used in the tests; no replay tried without it",
        false => "this host does not show what is used, and no replay tried without it",
    };
    let judged = |name: &String| {
        let by = observation.capabilities.get(name).cloned().unwrap_or_default();
        (name.clone(), Judged { kept: true, by, why: why.to_owned() })
    };
    policy.capabilities.iter().map(judged).collect()
}

/// Looks for the smallest policy.
pub struct Search<'a> {
    /// Replays.
    pub replay: &'a Try<'a>,
    /// What the tests saw.
    pub observation: &'a Observation,
    /// System calls that only the replay makes are added.
    pub repair: bool,
    /// Where progress is shown.
    pub progress: &'a dyn Progress,
}

impl Search<'_> {
    /// Starts from `policy`.
    ///
    /// # Errors
    /// When a replay cannot be done; interrupted.
    pub fn run(&self, policy: Policy) -> Result<Outcome> {
        self.progress.stage("replaying on the cut image");
        let verdict = self.passes(Some(&policy), None)?;
        let mut course = Course {
            search: self,
            judged: untried(&policy, self.observation),
            added: BTreeSet::new(),
            policy,
            replays: 1,
            probes: 0,
            verdict,
        };
        if !course.holds() && !course.widen()? {
            return Ok(Outcome::Failed(Box::new(course.verdict)));
        }
        course.mind_refused()?;
        if !course.holds() {
            return Ok(Outcome::Failed(Box::new(course.verdict)));
        }
        course.narrow()?;
        let Course { policy, judged, added, replays, .. } = course;
        Ok(Outcome::Passed(Box::new(Settled { policy, judged, added, replays })))
    }

    /// One replay; that somebody wants to stop is no verdict.
    fn passes(&self, policy: Option<&Policy>, patience: Option<&[Duration]>) -> Result<Verdict> {
        let mut verdict = (self.replay)(policy, patience)?;
        match verdict.failure.take_if(|failure| failure.kind() == ErrorKind::Interrupted) {
            Some(interrupted) => Err(interrupted),
            None => Ok(verdict),
        }
    }
}
