//! File systems that several places of a container are parts of, and share the room of.

use serde::{Deserialize, Serialize};

use super::Step;
use crate::container::{Mount, MountKind, Room, Root, Spec};

/// Such a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shared {
    /// In memory, made for this start: fresh directories and the writable layer of the root.
    Fresh(Room),
    /// That of its volumes, which whoever starts it brings along.
    Kept,
}

/// The steps that lay them out.
pub(super) fn steps(spec: &Spec) -> impl Iterator<Item = Step> {
    let fresh = (is_layered(spec) || places(spec) > 1).then_some(Step::Share(Shared::Fresh(spec.room)));
    let kept = spec.mounts.iter().any(|mount| matches!(mount.what, MountKind::Kept { .. }));
    fresh.into_iter().chain(kept.then_some(Step::Share(Shared::Kept)))
}

/// Whether there is nobody to share with, and a file system of its own costs less.
pub(super) fn has_one_place(spec: &Spec) -> bool {
    !is_layered(spec) && places(spec) == 1
}

/// A fresh directory as a file system of its own; None for any other mount.
pub(super) fn alone(spec: &Spec, mount: &Mount) -> Option<Mount> {
    let Room { bytes, inodes } = spec.room;
    match mount.what {
        MountKind::Fresh { mode } => {
            Some(Mount { what: MountKind::Tmpfs { bytes, inodes, seeded: true, mode }, ..mount.clone() })
        }
        _ => None,
    }
}

fn is_layered(spec: &Spec) -> bool {
    matches!(spec.root, Root::Scratch { .. })
}

fn places(spec: &Spec) -> usize {
    spec.mounts.iter().filter(|mount| matches!(mount.what, MountKind::Fresh { .. })).count()
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, plan};
    use super::*;
    use crate::Id;
    use crate::container::{MountFlags, Process};

    fn with(places: &[&str], root: Root) -> Plan {
        let name = "web".parse().expect("name");
        let mut spec = Spec::new(Id::from_bytes([1; 6]), name, root, Process::new(vec!["true".into()]));
        spec.room = Room { bytes: 7 << 20, inodes: 70 };
        let mount = |at: &&str| Mount {
            at: at.parse().expect("path"),
            what: MountKind::Fresh { mode: 0o755 },
            flags: MountFlags::default(),
        };
        spec.mounts = places.iter().map(mount).collect();
        plan(&spec)
    }

    fn shares(plan: &Plan) -> bool {
        plan.steps.contains(&Step::Share(Shared::Fresh(Room { bytes: 7 << 20, inodes: 70 })))
    }

    #[test]
    fn several_share_one_room() {
        let tree = Root::Tree { path: "/tree".into() };
        assert!(shares(&with(&["/tmp", "/run"], tree.clone())));
        assert!(!shares(&with(&[], tree)));
        assert!(shares(&with(&[], Root::Scratch { path: "/tree".into() })));
    }

    #[test]
    fn one_has_all_the_room() {
        let plan = with(&["/tmp"], Root::Tree { path: "/tree".into() });
        assert!(!shares(&plan));
        let alone = |step: &Step| {
            matches!(
                step,
                Step::Mount(Mount { what: MountKind::Tmpfs { bytes: 0x70_0000, inodes: 70, .. }, .. })
            )
        };
        assert!(plan.steps.iter().any(alone));
    }
}
