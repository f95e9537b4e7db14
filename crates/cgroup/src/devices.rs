//! Rules for devices: lines of version 1's files, or a program for version 2.
//!
//! Nothing is allowed but what a rule allows; later rules stand above earlier ones.

mod program;

use spec::resources::{Access, DeviceRule, RuleKind};
use spec::{Error, Result};

use crate::layout::Version;
use crate::resources::Write;

pub use program::program;

/// What version 1 says of a group in `devices.list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// Everything, perhaps but for some that it does not tell.
    All,
    /// Nothing but these.
    Only(Vec<DeviceRule>),
}

impl List {
    /// Reads `devices.list`.
    pub(crate) fn parse(text: &str) -> Self {
        let rules: Vec<DeviceRule> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if rules.iter().any(DeviceRule::is_about_everything) { Self::All } else { Self::Only(rules) }
    }
}

/// What an ordered list of rules comes to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settled {
    /// Whether devices without an exception are allowed.
    allow: bool,
    exceptions: Vec<DeviceRule>,
}

/// The writes that make version 1's list of a group say what the rules say. What stays allowed is
/// at no time forbidden.
///
/// # Errors
/// Unsupported: exceptions from exceptions, which version 1 has none of.
pub(crate) fn writes(now: &List, rules: &[DeviceRule]) -> Result<Vec<Write>> {
    let settled = settle(rules)?;
    let wanted = settled.exceptions;
    if settled.allow {
        let everything = DeviceRule { allow: true, ..DeviceRule::deny_all() };
        return Ok([everything].iter().chain(&wanted).map(write).collect());
    }
    match now {
        List::All => Ok([DeviceRule::deny_all()].iter().chain(&wanted).map(write).collect()),
        List::Only(old) => {
            let more = wanted.iter().filter_map(|rule| beyond(rule, old));
            let less = old
                .iter()
                .filter_map(|rule| beyond(rule, &wanted))
                .map(|rule| DeviceRule { allow: false, ..rule });
            Ok(more.chain(less).map(|rule| write(&rule)).collect())
        }
    }
}

fn write(rule: &DeviceRule) -> Write {
    Write {
        version: Version::One,
        controller: "devices",
        file: if rule.allow { "devices.allow" } else { "devices.deny" }.to_owned(),
        value: DeviceRule { allow: true, ..*rule }.to_string(),
        instead: None,
    }
}

/// What of a rule is not said by one of the others about the same devices.
fn beyond(rule: &DeviceRule, others: &[DeviceRule]) -> Option<DeviceRule> {
    let same = others.iter().filter(|other| devices(other) == devices(rule));
    let access = same.fold(rule.access, |rest, other| without(rest, other.access));
    (access != Access::default()).then_some(DeviceRule { access, ..*rule })
}

/// Version 1 has a default and a list of exceptions from it.
fn settle(rules: &[DeviceRule]) -> Result<Settled> {
    let mut settled = Settled::default();
    for rule in rules {
        if rule.is_about_everything() {
            settled = Settled { allow: rule.allow, exceptions: Vec::new() };
        } else if rule.allow == settled.allow {
            take_back(&mut settled.exceptions, rule)?;
        } else {
            add(&mut settled.exceptions, rule);
        }
    }
    Ok(settled)
}

fn add(exceptions: &mut Vec<DeviceRule>, rule: &DeviceRule) {
    match exceptions.iter_mut().find(|other| devices(other) == devices(rule)) {
        Some(other) => other.access = union(other.access, rule.access),
        None => exceptions.push(*rule),
    }
}

fn take_back(exceptions: &mut Vec<DeviceRule>, rule: &DeviceRule) -> Result<()> {
    for other in exceptions.iter_mut().filter(|other| overlap(other, rule)) {
        if !covers(rule, other) {
            return Err(Error::unsupported(format!(
                "the device rule {rule} is an exception from {other}, and version 1 of control groups has none such"
            ))
            .hint("list the devices one by one, or use a host with version 2"));
        }
        other.access = without(other.access, rule.access);
    }
    exceptions.retain(|other| other.access != Access::default());
    Ok(())
}

fn devices(rule: &DeviceRule) -> (RuleKind, Option<u32>, Option<u32>) {
    (rule.kind, rule.major, rule.minor)
}

/// Whether there is a device and an access that both are about.
fn overlap(one: &DeviceRule, other: &DeviceRule) -> bool {
    let meet = |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
    one.kind == other.kind
        && meet(one.major, other.major)
        && meet(one.minor, other.minor)
        && without(one.access, other.access) != one.access
}

/// Whether `inner` is about no device that `outer` is not about.
fn covers(outer: &DeviceRule, inner: &DeviceRule) -> bool {
    let within = |outer: Option<u32>, inner: Option<u32>| outer.is_none() || outer == inner;
    within(outer.major, inner.major) && within(outer.minor, inner.minor)
}

fn union(one: Access, other: Access) -> Access {
    Access { read: one.read || other.read, write: one.write || other.write, make: one.make || other.make }
}

fn without(one: Access, other: Access) -> Access {
    Access { read: one.read && !other.read, write: one.write && !other.write, make: one.make && !other.make }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<DeviceRule> {
        text.split(", ").map(|rule| rule.parse().expect("a rule")).collect()
    }

    fn written(now: &List, text: &str) -> Vec<String> {
        let writes = writes(now, &rules(text)).expect("writes");
        writes.iter().map(|write| format!("{} {}", write.file.replace("devices.", ""), write.value)).collect()
    }

    #[test]
    fn a_new_group_has_nothing_but_what_is_allowed() {
        assert_eq!(
            written(&List::All, "!a, c 1:3 rw, c 1:5 r, c 1:3 m"),
            ["deny a *:* rwm", "allow c 1:3 rwm", "allow c 1:5 r"]
        );
        assert_eq!(written(&List::All, "c 1:3 r"), ["deny a *:* rwm", "allow c 1:3 r"]);
        assert_eq!(written(&List::All, "!a, a, !b 8:* w"), ["allow a *:* rwm", "deny b 8:* w"]);
    }

    #[test]
    fn a_change_forbids_nothing_that_stays() {
        let now = List::parse("c 1:3 rwm\nc 1:5 rw\n");
        assert_eq!(written(&now, "c 1:3 r, c 1:9 r"), ["allow c 1:9 r", "deny c 1:3 wm", "deny c 1:5 rw"]);
        assert_eq!(List::parse("a *:* rwm\n"), List::All);
        assert_eq!(List::parse(""), List::Only(Vec::new()));
    }

    #[test]
    fn exceptions_from_exceptions_are_refused_where_they_would_be_ignored() {
        let refused = |text: &str| writes(&List::All, &rules(text)).is_err();
        assert!(refused("c 1:* rwm, !c 1:3 rwm"));
        assert!(refused("c *:3 r, !c 1:* r"));
        assert!(refused("a, !c 1:* rwm, c 1:3 r"));
        assert!(!refused("c 1:3 rwm, !c 1:* rwm"));
        assert!(!refused("c 1:* r, !c 1:3 w"));
        assert_eq!(
            written(&List::All, "c 1:3 rwm, c 1:5 r, !c 1:* w"),
            ["deny a *:* rwm", "allow c 1:3 rm", "allow c 1:5 r"]
        );
    }
}
