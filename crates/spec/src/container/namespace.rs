//! Namespaces, and who the users of a container are on the host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A kernel namespace (namespaces(7)).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// Mounts.
    Mount,
    /// Process ids.
    Pid,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The view of the control groups.
    Cgroup,
    /// Network.
    Net,
    /// Users and capabilities.
    User,
    /// Boot and monotonic clocks.
    Time,
}

impl Namespace {
    /// All eight.
    pub const ALL: [Self; 8] =
        [Self::Mount, Self::Pid, Self::Ipc, Self::Uts, Self::Cgroup, Self::Net, Self::User, Self::Time];

    /// Its name in `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Net => "net",
            Self::User => "user",
            Self::Time => "time",
        }
    }

    /// Its name in definitions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            other => other.file(),
        }
    }
}

/// Where a container's namespace comes from, if it is not the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Made for it.
    Own,
    /// One that exists, by its file on the host, as in `/proc/PID/ns/net`.
    Path(PathBuf),
    /// That of another container, which is looked up when this one is started.
    Container(String),
}

/// These namespaces, each of the container's own.
pub fn own<const N: usize>(namespaces: [Namespace; N]) -> BTreeMap<Namespace, Place> {
    namespaces.into_iter().map(|namespace| (namespace, Place::Own)).collect()
}

/// Who the users and groups of a container are on the host (user_namespaces(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
    /// The ranges are only what is wanted: at each start they are put at a place of the host that
    /// no other container has. Their `host` counts from there.
    pub anywhere: bool,
}

/// A range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// Its first id inside.
    pub inside: u32,
    /// Its first id on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// How far a container's clocks are ahead of the host's, in seconds (time_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// CLOCK_MONOTONIC.
    pub monotonic: i64,
    /// CLOCK_BOOTTIME.
    pub boot: i64,
    /// And nanoseconds for either.
    #[serde(default)]
    pub nanoseconds: (u32, u32),
}

/// How many ids a container gets unless it is said: all that a distribution uses.
pub const IDS: u32 = 65_536;

impl Users {
    /// [`IDS`] users and groups from 0 on, nobody's on the host.
    pub fn anywhere() -> Self {
        let range = vec![IdRange { inside: 0, host: 0, count: IDS }];
        Self { uids: range.clone(), gids: range, anywhere: true }
    }

    /// The same with `base` as the place on the host.
    #[must_use]
    pub fn at(&self, base: u32) -> Self {
        let moved = |ranges: &[IdRange]| {
            ranges.iter().map(|range| IdRange { host: range.host.saturating_add(base), ..*range }).collect()
        };
        Self { uids: moved(&self.uids), gids: moved(&self.gids), anywhere: false }
    }

    /// Who a user of the container is on the host.
    pub fn host_uid(&self, inside: u32) -> Option<u32> {
        on_host(&self.uids, inside)
    }

    /// What a group of the container is on the host.
    pub fn host_gid(&self, inside: u32) -> Option<u32> {
        on_host(&self.gids, inside)
    }
}

fn on_host(ranges: &[IdRange], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = inside.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
        range.host.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_move_with_their_base() {
        let users = Users::anywhere().at(1000);
        assert_eq!(users.host_uid(0), Some(1000));
        assert_eq!(users.host_gid(65_535), Some(66_535));
        assert_eq!(users.host_uid(65_536), None);
    }
}
