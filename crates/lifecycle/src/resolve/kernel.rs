//! The kernel's own file systems in a container, and what of them is hidden or read-only.

use spec::container::{Bind, Mount, MountFlags, MountKind, Namespace, Nodes, Spec, capability};
use spec::isolation::bytes;
use spec::{Result, RootPath};

use super::Resolving;
use super::reason::Reasons;

/// Paths that are hidden, as Docker hides them.
pub const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Of those, what a root who is nobody on the host could read; the rest is readable for the
/// host's root alone.
const MASKED_FROM_NOBODY: [&str; 8] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that cannot be written, as with Docker.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Of those, where a root who is nobody on the host might own something: parameters of namespaces.
const READ_ONLY_FOR_NOBODY: [&str; 1] = ["/proc/sys"];

/// Size of /dev/shm in bytes, as Docker's.
const SHM_BYTES: u64 = 64 << 20;

impl Resolving<'_> {
    /// proc, sys, the control groups, dev; what was left out has no mount.
    pub(super) fn kernel_mounts(&self, spec: &Spec, reasons: &mut Reasons) -> Result<Vec<Mount>> {
        let without = self.layers.without();
        let shm = self.layers.value(|layer| layer.shm_size.clone()).as_deref().map(bytes).transpose()?;
        let all = [
            ("/proc", MountKind::Proc),
            ("/sys", self.sys(spec)),
            ("/sys/fs/cgroup", MountKind::Cgroup { writable: false }),
            ("/dev", MountKind::Dev { shm: shm.unwrap_or(SHM_BYTES), nodes: self.nodes(spec) }),
        ];
        let mut mounts = Vec::new();
        for (place, what) in all {
            let at: RootPath = place.parse()?;
            let (shown, why) = match &what {
                _ if without.iter().any(|left| at.is_within(left)) => (false, "left out"),
                MountKind::Cgroup { .. } => self.shows_groups(spec),
                _ => (true, "default"),
            };
            reasons.add(
                about(place),
                if shown { "shown" } else { "not there" },
                why,
                "--without PATH, --mount type=…,target=PATH",
            );
            let read_only = matches!(what, MountKind::Bind(_));
            mounts.extend(shown.then(|| Mount {
                at,
                what,
                flags: MountFlags { read_only, ..MountFlags::default() },
            }));
        }
        Ok(mounts)
    }

    /// Nodes are made where nobody inside could make others beside them; a user can make none.
    fn nodes(&self, spec: &Spec) -> Nodes {
        let makes = spec.process.capabilities.bounding & capability("MKNOD").unwrap_or(0) != 0;
        if self.facts.rootless || makes && !spec.owns(Namespace::User) { Nodes::Bound } else { Nodes::Made }
    }

    /// The kernel gives a user no sysfs of a network that is not his: then the host's is shown.
    fn sys(&self, spec: &Spec) -> MountKind {
        match self.facts.rootless && !spec.owns(Namespace::Net) {
            true => MountKind::Bind(Bind::of("/sys")),
            false => MountKind::Sys { writable: false },
        }
    }

    /// On version 1 it takes a mount for each hierarchy, so only who looks gets them.
    fn shows_groups(&self, spec: &Spec) -> (bool, &'static str) {
        let looked = self.portable.policy.as_ref().is_none_or(|policy| policy.groups_seen);
        match (spec.cgroup, self.facts.unified || looked) {
            (false, _) => (false, "it has no control groups"),
            (true, true) => (true, "default"),
            (true, false) => (false, "observed: the service does not look at them"),
        }
    }

    pub(super) fn hidden(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        let owns = spec.owns(Namespace::User);
        let (masked, read_only): (&[&str], &[&str]) =
            if owns { (&MASKED_FROM_NOBODY, &READ_ONLY_FOR_NOBODY) } else { (&MASKED, &READ_ONLY) };
        let shown = |path: &RootPath| {
            spec.mounts.iter().any(|mount| !mount.at.is_root() && path.is_within(&mount.at))
        };
        let usual = |list: &[&str]| -> Result<Vec<RootPath>> {
            let all: Vec<RootPath> = list.iter().map(|path| path.parse()).collect::<Result<_>>()?;
            Ok(all.into_iter().filter(shown).collect())
        };
        let (masked, read_only) = (usual(masked)?, usual(read_only)?);
        let said = self.layers.get(|layer| layer.masked.clone());
        let why = said.as_ref().map_or("default", |(_, whose)| *whose).to_owned();
        spec.masked = said.map_or(masked, |(paths, _)| paths);
        reasons.add("masked paths", count(spec.masked.len()), why, "--isolation masked=…");
        let said = self.layers.get(|layer| layer.read_only.clone());
        let why = said.as_ref().map_or("default", |(_, whose)| *whose).to_owned();
        spec.read_only = said.map_or(read_only, |(paths, _)| paths);
        reasons.add("read-only paths", count(spec.read_only.len()), why, "--isolation read_only=…");
        Ok(())
    }
}

fn count(number: usize) -> String {
    if number == 0 { "none".to_owned() } else { number.to_string() }
}

fn about(place: &str) -> &'static str {
    match place {
        "/proc" => "/proc",
        "/sys" => "/sys",
        "/dev" => "/dev",
        _ => "/sys/fs/cgroup",
    }
}
