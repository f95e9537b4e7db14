//! What may be chosen about a container's isolation, one by one: the `[isolation]` table of a
//! definition, the presets, and the flags of `tsubo run` in the same words.
//!
//! Everything is optional. What no layer says is a default of the resolver, which is secure.

mod caps;
mod mounts;
mod numbers;
mod origin;
mod set;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::container::{Landlock, Namespace, RootChange};
use crate::{Result, RootPath};

pub use caps::CapabilityWords;
pub use mounts::{DeviceWord, MountType, MountWord, bytes};
pub use numbers::{id_range, io_priority, personality, rlimit, rlimit_number, scheduler};
pub use origin::Origin;
pub use set::set;
pub(crate) use set::setting;

/// One layer of choices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Isolation {
    /// The preset that this builds on: `default`, `strict`, `system`, `bare`, `host-debug`, or one of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Each of mount, pid, ipc, uts, cgroup, net, user, time: `own`, `host`, `container:NAME`, or the path of a namespace.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<Namespace, Origin>,
    /// How the root file system becomes the root: `pivot` (default), `chroot`, `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<RootChange>,
    /// The whole root is writable (in memory, lost at the end).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writable_root: Option<bool>,
    /// Mounts besides the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountWord>,
    /// Usual mounts that are left out, by their place: `/proc`, `/sys`, `/sys/fs/cgroup`, `/dev`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "BTreeSet<String>")]
    pub without: BTreeSet<RootPath>,
    /// Devices of the host: `PATH[:PATH-INSIDE][:ro]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceWord>,
    /// Capabilities.
    #[serde(skip_serializing_if = "CapabilityWords::is_empty")]
    pub capabilities: CapabilityWords,
    /// No program gains privilege by being executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_new_privileges: Option<bool>,
    /// Resource limits by name (`nofile`), each `N`, `SOFT:HARD`, `unlimited`, or `host` to leave it as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<String, String>,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The system call filter: `default`, `observed`, `none`, a file in the form of OCI or Docker, or its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// What of files and ports may be used, on top of permissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landlock: Option<Landlock>,
    /// Paths that are hidden, in place of the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub masked: Option<Vec<RootPath>>,
    /// Paths that cannot be written, in place of the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub read_only: Option<Vec<RootPath>>,
    /// An AppArmor profile that the host has loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// An SELinux context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    /// User mapping: `auto`, or ranges `INSIDE:HOST:COUNT` for users and groups alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Ranges of groups, where they differ from those of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Host name. Default: the container's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Seconds by which CLOCK_MONOTONIC is ahead of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monotonic_offset: Option<i64>,
    /// Seconds by which CLOCK_BOOTTIME is ahead of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boottime_offset: Option<i64>,
    /// How likely it is killed when memory runs out, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Priority, -20 to 19.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// `other`, `batch`, `idle`, `fifo:PRIORITY`, `rr:PRIORITY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// `real-time:LEVEL`, `best-effort:LEVEL`, `idle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<String>,
    /// `linux`, `linux32`, or a number as in personality(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<String>,
    /// Whether it gets control groups of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<bool>,
    /// The controllers whose groups it gets. Default: all that are of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controllers: Option<BTreeSet<String>>,
    /// A small init of ours is process 1: it reaps and passes signals on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Processors and memory are shown by its own limits, where lxcfs is on the host. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lxcfs: Option<bool>,
    /// Size of /dev/shm, as in `64m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    /// The signal that asks it to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<i32>,
}

impl Isolation {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Understands the text of a preset's file.
    ///
    /// # Errors
    /// Bad TOML; an unknown key, with the nearest known one.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        crate::definition::parse_table(text, file)
    }

    /// The text of a preset that every installation has.
    pub fn preset(name: &str) -> Option<&'static str> {
        PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// The names of the presets that every installation has.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }
}

const PRESETS: [(&str, &str); 5] = [
    ("default", include_str!("../presets/default.toml")),
    ("strict", include_str!("../presets/strict.toml")),
    ("system", include_str!("../presets/system.toml")),
    ("bare", include_str!("../presets/bare.toml")),
    ("host-debug", include_str!("../presets/host-debug.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_understood() {
        for name in Isolation::presets() {
            let text = Isolation::preset(name).expect(name);
            let preset = Isolation::parse(text, name).expect(name);
            if let Some(base) = &preset.extends {
                assert!(Isolation::preset(base).is_some(), "{name} extends {base}");
            }
        }
        assert!(
            Isolation::parse(Isolation::preset("default").expect("default"), "default")
                .expect("empty")
                .is_empty()
        );
    }

    #[test]
    fn an_unknown_word_names_the_nearest() {
        let error = Isolation::parse("hostnam = \"x\"", "mine.toml").expect_err("unknown");
        assert!(error.hints()[0].contains("\"hostname\""), "{:?}", error.hints());
        let error = Isolation::parse("namespaces = { net = \"mine\" }", "mine.toml").expect_err("origin");
        assert!(error.chain().contains("container:NAME"), "{}", error.chain());
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        assert_eq!(serde_json::to_string(&Isolation::default()).expect("json"), "{}");
    }
}
