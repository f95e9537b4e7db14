//! The search, over services that are made up.

use std::cell::RefCell;

use spec::observation::{Curve, Run, Used};

use spec::Error;

use super::course::{MOST_PROBES, refused_names};
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
        used: Used::default(),
        curve: Curve::default(),
    });
    observation.capabilities = capabilities.iter().map(|&name| (name.to_owned(), set(&["web"]))).collect();
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
