//! The rest of what is under `linux`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::written::{self, NetDevice};
use super::{Listener, absolute, affinity, bad, words};
use crate::container::{MemoryPolicy, Namespace, Propagation, Spec, Spread};
use crate::seccomp::parse::Written;
use crate::seccomp::{Action, Choice};
use crate::{Error, Result};

/// A share of caches and memory bandwidth (resctrl).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntelRdt {
    /// The group; None for one of its own.
    pub class: Option<String>,
    /// Lines for its `schemata` file, in this order.
    pub schemata: Vec<String>,
    /// It gets a monitoring group of its own.
    pub monitoring: bool,
}

pub(super) fn intel_rdt(written: written::IntelRdt, resctrl: bool) -> Result<IntelRdt> {
    if !resctrl {
        return Err(Error::unsupported("linux.intelRdt: this host has no resctrl file system mounted")
            .hint("mount -t resctrl resctrl /sys/fs/resctrl, where the processor and the kernel can do it"));
    }
    let class = written.class.filter(|class| !class.is_empty());
    if class.as_deref().is_some_and(|class| matches!(class, "." | "..") || class.contains(['/', '\n'])) {
        return Err(bad("linux.intelRdt.closID", "it is no name of a directory"));
    }
    let lines = [written.cache, written.bandwidth].into_iter().flatten();
    let schemata: Vec<String> = lines.chain(written.schemata.into_iter().flatten()).collect();
    let on = |flag: Option<bool>| flag == Some(true);
    let monitoring =
        on(written.monitoring) || on(written.occupancy_monitoring) || on(written.bandwidth_monitoring);
    Ok(IntelRdt { class, schemata, monitoring })
}

pub(super) fn groups_path(path: String) -> Result<String> {
    if path.split('/').any(|part| part == "..") || path.len() > super::LONGEST_PATH || path.contains('\n') {
        return Err(bad("linux.cgroupsPath", "it leads out of the control groups, or is no path"));
    }
    Ok(path)
}

const SPREADS: [(&str, Spread); 8] = [
    ("private", spread(Propagation::Private, false)),
    ("rprivate", spread(Propagation::Private, true)),
    ("slave", spread(Propagation::Slave, false)),
    ("rslave", spread(Propagation::Slave, true)),
    ("shared", spread(Propagation::Shared, false)),
    ("rshared", spread(Propagation::Shared, true)),
    ("unbindable", spread(Propagation::Unbindable, false)),
    ("runbindable", spread(Propagation::Unbindable, true)),
];

const fn spread(propagation: Propagation, recursive: bool) -> Spread {
    Spread { propagation, recursive }
}

/// A propagation by its word.
pub(super) fn spread_of(word: &str) -> Option<Spread> {
    SPREADS.iter().find(|(name, _)| *name == word).map(|(_, spread)| *spread)
}

/// The words for propagation.
pub(super) fn spread_words() -> impl Iterator<Item = &'static str> {
    SPREADS.iter().map(|(name, _)| *name)
}

/// None where it is as it is anyway.
pub(super) fn propagation(word: &str) -> Option<Result<Spread>> {
    if word.is_empty() {
        return None;
    }
    let wanted = words::number("linux.rootfsPropagation", "propagation", word, &SPREADS);
    // Mounts are private unless one of them asks for something else, and that is not undone.
    match wanted {
        Ok(spread) if spread.propagation == Propagation::Private => None,
        // What the host mounts reaches those binds that ask for it; the root has no relatives.
        Ok(spread) if spread.propagation == Propagation::Slave => None,
        wanted => Some(wanted),
    }
}

pub(super) fn mount_label(written: Option<&str>, selinux: bool) -> Result<Option<String>> {
    match written.filter(|label| !label.is_empty()) {
        Some(_) if !selinux => {
            Err(Error::unsupported("linux.mountLabel: SELinux is not active on this host")
                .hint("leave it out: nobody would look at it"))
        }
        label => Ok(label.map(str::to_owned)),
    }
}

pub(super) fn personality(written: &written::Personality) -> Result<u32> {
    const DOMAINS: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];
    if let Some(flag) = written.flags.iter().flatten().next() {
        return Err(bad("linux.personality.flags", &format!("{flag:?} is unknown; there are none")));
    }
    words::number("linux.personality.domain", "execution domain", &written.domain, &DOMAINS)
}

pub(super) const POLICIES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

pub(super) const POLICY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

pub(super) fn memory_policy(written: &written::MemoryPolicy) -> Result<MemoryPolicy> {
    let mut mode = words::number("linux.memoryPolicy.mode", "mode", &written.mode, &POLICIES)?;
    let takes_nodes = !matches!(written.mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL");
    for word in written.flags.iter().flatten() {
        mode |= words::number("linux.memoryPolicy.flags", "flag", word, &POLICY_FLAGS)?;
    }
    let place = "linux.memoryPolicy.nodes";
    let nodes = match written.nodes.as_deref().filter(|nodes| !nodes.is_empty()) {
        Some(_) if !takes_nodes => return Err(bad(place, &format!("{} takes none", written.mode))),
        Some(list) => affinity::list(place, list)?,
        None if takes_nodes && written.mode != "MPOL_PREFERRED" => {
            return Err(bad(place, &format!("{} needs some", written.mode)));
        }
        None => Vec::new(),
    };
    Ok(MemoryPolicy { mode, nodes })
}

pub(super) fn net_devices(
    spec: &Spec,
    written: BTreeMap<String, NetDevice>,
) -> Result<BTreeMap<String, String>> {
    if !written.is_empty() && !spec.namespaces.contains_key(&Namespace::Net) {
        return Err(bad("linux.netDevices", "they need a network namespace in linux.namespaces"));
    }
    // IFNAMSIZ, and what the kernel refuses in a name.
    let sound = |name: &str| {
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(odd)
    };
    let mut devices = BTreeMap::new();
    for (device, NetDevice { name }) in written {
        let inside = name.filter(|name| !name.is_empty()).unwrap_or_else(|| device.clone());
        if !sound(&device) || !sound(&inside) || inside.contains('%') {
            let shown: String = device.chars().take(40).collect();
            return Err(bad(&format!("linux.netDevices.{shown:?}"), "this is no name of a network device"));
        }
        if devices.values().any(|other| *other == inside) {
            return Err(bad("linux.netDevices", &format!("two devices would be named {inside}")));
        }
        devices.insert(device, inside);
    }
    Ok(devices)
}

/// The filter, and who decides where it asks.
pub(super) fn seccomp(
    written: Option<Written>,
    notes: &mut Vec<String>,
) -> Result<(Choice, Option<Listener>)> {
    let Some(mut written) = written else { return Ok((Choice::None, None)) };
    let path = written.listener_path.take().filter(|path| !path.is_empty());
    let metadata = written.listener_metadata.take().filter(|metadata| !metadata.is_empty());
    if metadata.is_some() && path.is_none() {
        return Err(bad("linux.seccomp.listenerMetadata", "there is no listenerPath to send it to"));
    }
    let parsed = written.of_bundle()?;
    notes.extend(parsed.warnings);
    let profile = parsed.profile;
    let asks =
        profile.default == Action::Notify || profile.rules.iter().any(|rule| rule.action == Action::Notify);
    let listener = match (asks, path) {
        (true, None) => {
            return Err(bad("linux.seccomp", "SCMP_ACT_NOTIFY needs a listenerPath: nobody would answer"));
        }
        (true, Some(path)) => {
            Some(Listener { path: absolute("linux.seccomp.listenerPath", &path)?, metadata })
        }
        (false, _) => None,
    };
    Ok((Choice::Profile(profile), listener))
}
