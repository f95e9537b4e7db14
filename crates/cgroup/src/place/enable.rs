//! Which controllers reach a group, and passing them on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use spec::{Error, Result};

use super::make::gone;
use crate::layout::{Hierarchy, NEEDED, Version};

/// Those of a directory of a hierarchy.
pub(crate) fn controllers(hierarchy: &Hierarchy, directory: &Path) -> Vec<String> {
    match hierarchy.version {
        Version::One => hierarchy.controllers.clone(),
        Version::Two => words(&directory.join("cgroup.controllers")),
    }
}

/// Lets a group of version 2 pass controllers on to those below it: all that it has, or only those
/// that `wanted` names.
///
/// # Errors
/// Why one that is required cannot be passed on.
pub(crate) fn enable(directory: &Path, wanted: Option<&[&str]>, required: &BTreeSet<String>) -> Result<()> {
    let has = words(&directory.join("cgroup.controllers"));
    let passed = words(&directory.join("cgroup.subtree_control"));
    let is_wanted = |name: &String| {
        required.contains(name) || wanted.is_none_or(|wanted| wanted.contains(&name.as_str()))
    };
    let more: Vec<String> =
        has.into_iter().filter(|name| !passed.contains(name) && is_wanted(name)).collect();
    if more.is_empty() {
        return Ok(());
    }
    // The kernel would take some of them (cpu, pids) even so, and the groups below would be of a kind
    // that takes no processes.
    if is_occupied(directory) {
        let busy = || io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
        let required = more.iter().find(|name| required.contains(*name));
        return required.map_or(Ok(()), |name| Err(refused(directory, name, busy())));
    }
    if write(directory, &more).is_ok() {
        return Ok(());
    }
    // One that cannot be passed on keeps back all that are written with it.
    for name in &more {
        match write(directory, std::slice::from_ref(name)) {
            Err(error) if required.contains(name) => return Err(refused(directory, name, error)),
            _ => {}
        }
    }
    Ok(())
}

/// On version 2 somebody else may just be passing controllers on to the groups above, which he has
/// made, or may have been killed before that: the same once more, from `own` on. Whether there is
/// anything to be passed on.
pub(crate) fn settle_below(own: &Path, directory: &Path) -> bool {
    if words(&own.join("cgroup.controllers")).is_empty() || is_occupied(own) {
        return false;
    }
    let above: Vec<&Path> =
        directory.ancestors().skip(1).take_while(|above| above.starts_with(own)).collect();
    let none = BTreeSet::new();
    above.into_iter().rev().all(|above| enable(above, Some(&NEEDED), &none).is_ok())
}

/// Whether a group has processes of its own; the root may.
fn is_occupied(directory: &Path) -> bool {
    let some = fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|list| !list.is_empty());
    some && directory.join("cgroup.type").exists()
}

fn write(directory: &Path, names: &[String]) -> io::Result<()> {
    let words: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    fs::write(directory.join("cgroup.subtree_control"), words.join(" "))
}

fn refused(directory: &Path, name: &str, error: io::Error) -> Error {
    let error = gone(error);
    let (why, hint) = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::BUSY) => (
            "it has processes of its own, and then version 2 lets nothing be limited below it",
            "move them to a group below, or give a path that is not below it",
        ),
        Some(rustix::io::Errno::OPNOTSUPP) => {
            ("it is threaded", "give a path that is not below a threaded group (cgroup.type)")
        }
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM | rustix::io::Errno::ROFS) => {
            ("it is not ours", "its owner can delegate it: systemd does with Delegate=yes")
        }
        _ => ("the kernel refuses", "see the kernel's log"),
    };
    let what = format!("the control group {} does not pass on {name}: {why}", directory.display());
    Error::new(Error::io("", io::Error::from(error.kind())).kind(), what).because(error).hint(hint)
}

pub(crate) fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}
