//! The policy of a package: the system calls that were observed, and no capability without which
//! the replay passes.
//!
//! What was seen in the tests is where it starts. The replay must pass under that; then capabilities
//! are taken away as long as it goes on to pass, and as long as the service conducts itself as
//! before ([`Conduct`](crate::service::conduct::Conduct)). What is kept has been tried to the
//! letter: the last replay that passed was under exactly this policy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use observe::{CAPABILITY_CHECKS, SYSTEM_CALLS};
use spec::container::{DEFAULT_CAPABILITIES, capability, capability_names};
use spec::observation::Observation;
use spec::portable::Policy;
use spec::report::Judged;
use spec::seccomp::base::Admitted;
use spec::seccomp::{Architecture, calls};
use spec::{Error, ErrorKind, Result};

use crate::progress::Progress;
use crate::replay::Verdict;

/// Replays that are spent on taking capabilities away.
const MOST_PROBES: usize = 24;
/// Up to so many capabilities are taken away one by one at once.
const FEW: usize = 4;
/// The least time that a replay gets for each stage; a machine may be busy.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// The calls that a watched service may make and another may not: the listener's filter comes after
/// the policy's.
const CONFINEMENT: [&str; 4] =
    ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"];

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

/// A search under way.
struct Course<'a> {
    search: &'a Search<'a>,
    policy: Policy,
    judged: BTreeMap<String, Judged>,
    added: BTreeSet<String>,
    replays: usize,
    probes: usize,
    /// Of the replay under `policy`.
    verdict: Verdict,
}

impl Course<'_> {
    /// Whether the replay passed, and without what it could do only because it was watched.
    fn holds(&self) -> bool {
        let confinement =
            refused(&self.policy, &self.verdict).iter().any(|name| CONFINEMENT.contains(&name.as_str()));
        self.verdict.failure.is_none() && !confinement
    }

    /// The replay fails under what the tests showed: is it the policy? True if a wider one helps.
    fn widen(&mut self) -> Result<bool> {
        self.search.progress.stage("replaying without the observed policy");
        let free = self.search.passes(None, None)?;
        self.replays += 1;
        if free.failure.is_some() {
            self.verdict = free;
            return Ok(false);
        }
        let refused = refused(&self.policy, &free);
        if !refused.is_empty() && !self.search.repair {
            self.blame(&refused);
            return Ok(false);
        }
        if !refused.is_empty() {
            let names = listed(&refused);
            self.search
                .progress
                .note(&format!("the replay makes system calls that no test made; adding {names}"));
            self.policy.syscalls.extend(refused.iter().cloned());
            self.added.extend(refused);
            if self.again()? {
                return Ok(true);
            }
        }
        self.policy.capabilities = capability_names(DEFAULT_CAPABILITIES).collect();
        self.judged = untried(&self.policy, self.search.observation);
        if self.again()? {
            return Ok(true);
        }
        let failure = self.verdict.failure.take();
        self.verdict.failure = failure.map(|failure| {
            failure.hint(
                "it passes without the observed policy; what of it is too little could not be found out",
            )
        });
        Ok(false)
    }

    /// Replays under the policy as it is now.
    fn again(&mut self) -> Result<bool> {
        self.search.progress.stage("replaying on the cut image");
        self.verdict = self.search.passes(Some(&self.policy), None)?;
        self.replays += 1;
        Ok(self.holds())
    }

    /// A service may go on when a call is refused: whoever packs it decides whether that is well.
    fn mind_refused(&mut self) -> Result<()> {
        let refused = refused(&self.policy, &self.verdict);
        if refused.is_empty() {
            return Ok(());
        }
        let names = listed(&refused);
        if !self.search.repair {
            let text =
                "the replay passes, but was refused system calls that no test made (--repair adds them)";
            self.search.progress.note(&format!("{text}: {names}"));
            return Ok(());
        }
        let before = self.policy.clone();
        self.policy.syscalls.extend(refused.iter().cloned());
        if self.again()? {
            self.added.extend(refused);
            return Ok(());
        }
        self.policy = before;
        self.again().map(drop)
    }

    fn blame(&mut self, refused: &BTreeSet<String>) {
        let failure = self.verdict.failure.take();
        let failure =
            failure.unwrap_or_else(|| Error::failed("the replay makes system calls that no test made"));
        let failure = failure
            .hint(format!(
                "it passes without the observed policy; no test made these system calls, so they are refused: {}",
                listed(refused)
            ))
            .hint("add them with --repair, or test what makes them");
        self.verdict.failure = Some(failure);
    }

    /// Takes capabilities away as long as the replay passes: those that nobody asked for, all,
    /// halves, single ones.
    fn narrow(&mut self) -> Result<()> {
        if let Some(granted) = &self.verdict.granted {
            let idle: BTreeSet<String> = self
                .policy
                .capabilities
                .iter()
                .filter(|name| !granted.contains_key(*name))
                .cloned()
                .collect();
            if !idle.is_empty() && idle.len() < self.policy.capabilities.len() {
                self.without(&idle)?;
            }
        }
        let mut size = self.policy.capabilities.len();
        while size > 0 {
            let all: Vec<String> = self.policy.capabilities.iter().cloned().collect();
            for chunk in all.chunks(size) {
                self.without(&chunk.iter().cloned().collect())?;
            }
            size = match size {
                1 => 0,
                size if size > FEW => (size / 2).min(self.policy.capabilities.len()),
                _ => self.policy.capabilities.len().min(1),
            };
        }
        Ok(())
    }

    /// Drops `names` if the replay passes without them.
    fn without(&mut self, names: &BTreeSet<String>) -> Result<()> {
        if self.probes == MOST_PROBES || names.is_empty() {
            return Ok(());
        }
        self.probes += 1;
        let shown = listed(names);
        self.search.progress.stage(&format!("replaying without {shown}"));
        let mut smaller = self.policy.clone();
        smaller.capabilities.retain(|name| !names.contains(name));
        let worse = self.probe(&smaller)?;
        let alone = names.len() == 1;
        for (_, judged) in self.judged.iter_mut().filter(|(name, _)| names.contains(*name)) {
            match &worse {
                None => (judged.kept, judged.why) = (false, "the replay passed without it".to_owned()),
                Some(why) if alone => judged.why = format!("without it the replay failed: {why}"),
                Some(_) => {}
            }
        }
        if worse.is_none() {
            self.policy = smaller;
        }
        Ok(())
    }

    /// Why the replay under `policy` is worse than under what is known to do; None if it is not.
    fn probe(&mut self, policy: &Policy) -> Result<Option<String>> {
        let patience: Vec<Duration> =
            self.verdict.took.iter().map(|took| (*took * 3).max(LEAST_PATIENCE)).collect();
        let mut why = None;
        // What a service says and leaves may differ by chance; that it fails does not.
        for _ in 0..2 {
            let verdict = self.search.passes(Some(policy), Some(&patience))?;
            self.replays += 1;
            if let Some(failure) = &verdict.failure {
                return Ok(Some(in_short(failure)));
            }
            why = worse(&self.verdict, &verdict);
            if why.is_none() {
                break;
            }
        }
        Ok(why)
    }
}

/// What a passed replay shows to be worse than another.
fn worse(before: &Verdict, after: &Verdict) -> Option<String> {
    let closed =
        before.ports.iter().zip(&after.ports).find_map(|(before, after)| before.difference(after).next());
    if let Some(port) = closed {
        return Some(format!("nobody listened on {} port {}", port.protocol, port.port));
    }
    before.conduct.iter().zip(&after.conduct).find_map(|(before, after)| before.worse(after))
}

/// The system calls that a replay without the policy made and that the policy refuses.
fn refused(policy: &Policy, free: &Verdict) -> BTreeSet<String> {
    match &free.calls {
        Some(calls) if !policy.syscalls.is_empty() => {
            let refused = refused_names(&policy.syscalls);
            calls.iter().filter(|name| refused.contains(name.as_str())).cloned().collect()
        }
        _ => BTreeSet::new(),
    }
}

/// The calls that the filter made of `seen` refuses.
fn refused_names(seen: &BTreeSet<String>) -> BTreeSet<&'static str> {
    let admitted = Admitted::after(seen);
    let of = |one| admitted.refused(one).filter_map(move |number| calls::name(number, one));
    [Architecture::X86_64, Architecture::I386].into_iter().flat_map(of).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A failure and what the service said last, on one line.
fn in_short(error: &Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let said = error.hints().iter().find(|hint| hint.starts_with("the service's last lines"));
    match said.and_then(|hint| hint.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()).last()) {
        Some(line) => format!("{first} ({line})"),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use spec::observation::Run;

    use super::*;
    use crate::progress::Silent;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn observation(capabilities: &[&str], calls: &[&str]) -> Observation {
        let mut observation = Observation::empty("web".parse().expect("name"));
        observation.runs.push(Run {
            started: 0,
            millis: 0,
            command: Vec::new(),
            exercises: Vec::new(),
            instruments: set(&[CAPABILITY_CHECKS, SYSTEM_CALLS]),
        });
        observation.capabilities =
            capabilities.iter().map(|&name| (name.to_owned(), set(&["web"]))).collect();
        observation.syscalls = set(calls);
        observation
    }

    /// A service that needs these, whatever it asks for.
    fn service<'a>(
        capabilities: &'a [&'a str],
        calls: &'a [&'a str],
        tried: &'a RefCell<Vec<BTreeSet<String>>>,
    ) -> impl Fn(Option<&Policy>, Option<&[Duration]>) -> Result<Verdict> + 'a {
        move |policy, _| {
            let mut verdict = Verdict { calls: Some(set(calls)), ..Verdict::default() };
            if let Some(policy) = policy {
                tried.borrow_mut().push(policy.capabilities.clone());
                let refused = refused_names(&policy.syscalls);
                let enough = set(capabilities).is_subset(&policy.capabilities)
                    && (policy.syscalls.is_empty() || calls.iter().all(|call| !refused.contains(call)));
                verdict.failure = (!enough).then(|| Error::failed("it ended with code 1"));
            }
            Ok(verdict)
        }
    }

    fn search(observation: &Observation, replay: &Try<'_>, repair: bool) -> Outcome {
        let search = Search { replay, observation, repair, progress: &Silent };
        search.run(observed(observation)).expect("replays")
    }

    fn passed(outcome: Outcome) -> Settled {
        match outcome {
            Outcome::Passed(settled) => *settled,
            Outcome::Failed(verdict) => panic!("{:?}", verdict.failure),
        }
    }

    #[test]
    fn what_is_not_needed_goes_in_one_step() {
        let seen = observation(&["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_SETUID"], &["read"]);
        let tried = RefCell::new(Vec::new());
        let settled = passed(search(&seen, &service(&[], &["read"], &tried), false));
        assert_eq!(settled.policy.capabilities, set(&[]));
        assert_eq!(*tried.borrow(), [set(&["CAP_CHOWN", "CAP_SETUID"]), set(&[])]);
        assert!(!settled.judged["CAP_CHOWN"].kept);
    }

    #[test]
    fn what_is_needed_is_found_among_many() {
        let mut unknown = observation(&[], &[]);
        unknown.runs[0].instruments.clear();
        let tried = RefCell::new(Vec::new());
        let settled = passed(search(&unknown, &service(&["CAP_SETUID", "CAP_CHOWN"], &[], &tried), false));
        assert_eq!(settled.policy.capabilities, set(&["CAP_CHOWN", "CAP_SETUID"]));
        assert!(tried.borrow().len() <= MOST_PROBES, "{}", tried.borrow().len());
        assert!(settled.judged["CAP_CHOWN"].why.contains("ended with code 1"));
        assert_eq!(settled.judged.values().filter(|judged| judged.kept).count(), 2);
        assert_eq!(settled.replays, tried.borrow().len());
    }

    #[test]
    fn nothing_used_takes_one_replay() {
        let seen = observation(&[], &["read"]);
        let tried = RefCell::new(Vec::new());
        assert_eq!(passed(search(&seen, &service(&[], &["read"], &tried), false)).replays, 1);
    }

    #[test]
    fn refused_calls_are_told_and_repaired() {
        let seen = observation(&[], &["read"]);
        let tried = RefCell::new(Vec::new());
        let replay = service(&[], &["read", "ptrace"], &tried);
        match search(&seen, &replay, false) {
            Outcome::Failed(verdict) => {
                let hints = verdict.failure.expect("failed").hints().join("\n");
                assert!(hints.contains("ptrace") && !hints.contains("read,"), "{hints}");
            }
            Outcome::Passed(_) => panic!("passed"),
        }
        let settled = passed(search(&seen, &replay, true));
        assert!(settled.policy.syscalls.contains("ptrace") && settled.added == set(&["ptrace"]));
    }

    #[test]
    fn what_only_production_needs_is_found() {
        let seen = observation(&["CAP_CHOWN"], &["read"]);
        let tried = RefCell::new(Vec::new());
        let settled = passed(search(&seen, &service(&["CAP_FOWNER"], &["read"], &tried), false));
        assert_eq!(settled.policy.capabilities, set(&["CAP_FOWNER"]));
    }

    #[test]
    fn another_failure_is_not_the_policys() {
        let seen = observation(&["CAP_CHOWN"], &["read"]);
        let broken = |_: Option<&Policy>, _: Option<&[Duration]>| {
            Ok(Verdict { failure: Some(Error::failed("no such file")), ..Verdict::default() })
        };
        let Outcome::Failed(verdict) = search(&seen, &broken, true) else { panic!("passed") };
        assert_eq!(verdict.failure.expect("failed").to_string(), "no such file");
    }

    #[test]
    fn a_worse_conduct_keeps_a_capability() {
        let seen = observation(&["CAP_CHOWN"], &["read"]);
        let replay = |policy: Option<&Policy>, _: Option<&[Duration]>| {
            let code = i32::from(policy.is_some_and(|policy| policy.capabilities.is_empty()));
            let conduct = crate::service::conduct::Conduct { code, ..Default::default() };
            Ok(Verdict { conduct: vec![conduct], ..Verdict::default() })
        };
        let settled = passed(search(&seen, &replay, false));
        assert_eq!(settled.policy.capabilities, set(&["CAP_CHOWN"]));
        assert_eq!(settled.replays, 3);
    }
}
