//! A search under way: what it knows, and its next step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spec::container::{DEFAULT_CAPABILITIES, capability_names};
use spec::portable::Policy;
use spec::report::Judged;
use spec::seccomp::base::Admitted;
use spec::seccomp::{Architecture, calls};
use spec::{Error, Result};

use super::{Search, untried};
use crate::replay::Verdict;

/// Replays that are spent on taking capabilities away.
pub(super) const MOST_PROBES: usize = 24;
/// Up to so many capabilities are taken away one by one at once.
const FEW: usize = 4;
/// The least time that a replay gets for each stage; a machine may be busy.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// The calls that a watched service may make and another may not: the listener's filter comes after
/// the policy's.
const CONFINEMENT: [&str; 4] =
    ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"];

/// A search under way.
pub(super) struct Course<'a> {
    pub(super) search: &'a Search<'a>,
    pub(super) policy: Policy,
    pub(super) judged: BTreeMap<String, Judged>,
    pub(super) added: BTreeSet<String>,
    pub(super) replays: usize,
    pub(super) probes: usize,
    /// Of the replay under `policy`.
    pub(super) verdict: Verdict,
}

impl Course<'_> {
    /// Whether the replay passed, and without what it could do only because it was watched.
    pub(super) fn holds(&self) -> bool {
        let confinement =
            refused(&self.policy, &self.verdict).iter().any(|name| CONFINEMENT.contains(&name.as_str()));
        self.verdict.failure.is_none() && !confinement
    }

    /// The replay fails under what the tests showed: is it the policy? True if a wider one helps.
    pub(super) fn widen(&mut self) -> Result<bool> {
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
    pub(super) fn mind_refused(&mut self) -> Result<()> {
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
    pub(super) fn narrow(&mut self) -> Result<()> {
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
pub(super) fn refused_names(seen: &BTreeSet<String>) -> BTreeSet<&'static str> {
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
