//! Namespaces and the clocks of one.

use std::collections::BTreeMap;

use super::written::{self, TimeOffset};
use super::{absolute, bad, words};
use crate::Result;
use crate::container::{Clocks, Namespace, Place, Spec};

pub(super) const KINDS: [(&str, Namespace); 8] = [
    ("cgroup", Namespace::Cgroup),
    ("ipc", Namespace::Ipc),
    ("mount", Namespace::Mount),
    ("network", Namespace::Net),
    ("pid", Namespace::Pid),
    ("time", Namespace::Time),
    ("user", Namespace::User),
    ("uts", Namespace::Uts),
];

pub(super) fn namespaces(written: &[written::Namespace]) -> Result<BTreeMap<Namespace, Place>> {
    let mut all = BTreeMap::new();
    for (index, one) in written.iter().enumerate() {
        let place = |name: &str| format!("linux.namespaces[{index}].{name}");
        let kind = words::number(&place("type"), "kind of namespace", &one.kind, &KINDS)?;
        let from = match one.path.as_deref().filter(|path| !path.is_empty()) {
            Some(path) => Place::Path(absolute(&place("path"), path)?),
            None => Place::Own,
        };
        if all.insert(kind, from).is_some() {
            return Err(bad(&place("type"), &format!("{} is there twice", one.kind)));
        }
    }
    Ok(all)
}

pub(super) fn clocks(spec: &Spec, written: Option<&BTreeMap<String, TimeOffset>>) -> Result<Clocks> {
    let mut clocks = Clocks::default();
    for (name, offset) in written.into_iter().flatten() {
        let place = format!("linux.timeOffsets.{name}");
        let (seconds, nanoseconds) = (offset.secs.unwrap_or(0), offset.nanosecs.unwrap_or(0));
        if nanoseconds >= 1_000_000_000 {
            return Err(bad(&place, "nanosecs is a second or more"));
        }
        match name.as_str() {
            "monotonic" => (clocks.monotonic, clocks.nanoseconds.0) = (seconds, nanoseconds),
            "boottime" => (clocks.boot, clocks.nanoseconds.1) = (seconds, nanoseconds),
            _ => return Err(bad(&place, "no such clock").hint("there are monotonic and boottime")),
        }
    }
    if clocks != Clocks::default() && !spec.owns(Namespace::Time) {
        return Err(bad("linux.timeOffsets", "they need a new time namespace in linux.namespaces"));
    }
    Ok(clocks)
}
