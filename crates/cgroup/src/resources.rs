//! Resources as writes to the files of a group: a pure function of what is asked for, of what the
//! host has and of what is set already.

mod cpu;
mod io;
mod memory;
mod now;
mod others;
mod undo;

use std::collections::BTreeSet;
use std::fmt;

use spec::resources::Resources;
use spec::{Error, Result};

use crate::layout::Version;

pub use now::Now;
pub(crate) use undo::undo;

/// The controllers that a group has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Those with a hierarchy of version 1.
    pub one: BTreeSet<String>,
    /// Those of version 2; None where it is not mounted.
    pub two: Option<BTreeSet<String>>,
}

/// One write to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Whose file it is.
    pub version: Version,
    /// The controller, whose hierarchy it is on version 1.
    pub controller: &'static str,
    /// The file's name.
    pub file: String,
    /// What is written, by one system call.
    pub value: String,
    /// Where the kernel has no such file: another and what that one takes.
    pub instead: Option<(String, String)>,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Version::One => "v1",
            Version::Two => "v2",
        };
        write!(f, "{version} {} = {}", self.file, self.value)
    }
}

/// All writes in the order in which the kernel takes them. Rules for devices of version 2 are no
/// file: see [`crate::devices`].
///
/// # Errors
/// Values out of range, and what this host cannot enforce, with the reason.
pub fn writes(has: &Controllers, now: &Now, resources: &Resources) -> Result<Vec<Write>> {
    resources.check()?;
    let mut plan = Plan { has, now, writes: Vec::new() };
    plan.cpuset(&resources.cpu)?;
    plan.cpu(&resources.cpu)?;
    plan.memory(&resources.memory)?;
    plan.io(&resources.io)?;
    plan.others(resources)?;
    plan.unified(&resources.unified)?;
    if let (Some(rules), true) = (&resources.devices, has.one.contains("devices")) {
        plan.writes.extend(crate::devices::writes(&now.devices, rules)?);
    }
    Ok(plan.writes)
}

/// The plan so far.
struct Plan<'a> {
    has: &'a Controllers,
    now: &'a Now,
    writes: Vec<Write>,
}

impl Plan<'_> {
    /// Which version has a controller, by its names on 1 and 2.
    fn version(&self, one: &str, two: &str, wanted: &str) -> Result<Version> {
        if self.has.one.contains(one) {
            return Ok(Version::One);
        }
        match &self.has.two {
            Some(two_has) if two_has.contains(two) => Ok(Version::Two),
            Some(two_has) => {
                let list = two_has.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                Err(missing(two, wanted).hint(if list.is_empty() {
                    "version 2 of control groups passes no controller on here".to_owned()
                } else {
                    format!("version 2 of control groups passes on here: {list}")
                }))
            }
            None => Err(missing(one, wanted)),
        }
    }

    fn put(&mut self, version: Version, controller: &'static str, file: &str, value: impl fmt::Display) {
        self.put_or(version, controller, (file, value), None);
    }

    fn put_or(
        &mut self,
        version: Version,
        controller: &'static str,
        (file, value): (&str, impl fmt::Display),
        instead: Option<(&str, String)>,
    ) {
        let instead = instead.map(|(file, value)| (file.to_owned(), value));
        let (file, value) = (file.to_owned(), value.to_string());
        self.writes.push(Write { version, controller, file, value, instead });
    }
}

fn missing(controller: &str, wanted: &str) -> Error {
    Error::unsupported(format!("{wanted} cannot be limited: there is no controller {controller:?} here"))
        .hint(format!(
            "the kernel must have it (/proc/cgroups), its hierarchy must be mounted, and the group above must \
             pass it on (+{controller} in cgroup.subtree_control)"
        ))
}

/// Something that the other version has.
fn only(version: &str, wanted: &str, instead: &str) -> Error {
    Error::unsupported(format!("{wanted} is only known to version {version} of control groups")).hint(instead)
}

#[cfg(test)]
mod tests;
