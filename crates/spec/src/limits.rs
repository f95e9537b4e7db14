//! What a container may use of its host, in people's words: the `[limits]` table of a definition,
//! and the flags of `tsubo run` and `tsubo update`.
//!
//! Everything is optional. What nobody says is a default that is computed from the host, so that no
//! container takes the last of anything. Resource limits of single processes and kernel parameters
//! are words of [`Isolation`](crate::isolation::Isolation).

mod amount;
mod forecast;
mod group_name;
mod resources;
mod set;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use amount::{Count, Cpus, Size};
pub use forecast::{MARGIN, Reasoning, reasoning, rounded};
pub use group_name::GroupName;
pub use set::set;

/// Declares the table, and how a stronger one is laid over it.
macro_rules! limits {
    ($($(#[$note:meta])* $field:ident: $kind:tt $(<$($inner:ty),+>)?,)*) => {
        /// One layer of limits.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $($(#[$note])* #[serde(skip_serializing_if = "is_unsaid")] pub $field: $kind $(<$($inner),+>)?,)*
        }

        impl Limits {
            /// This layer with a stronger one over it: what that says holds, tables are merged.
            #[must_use]
            pub fn merged(self, stronger: Self) -> Self {
                let weak = self.made_way(&stronger);
                Self { $($field: weak.$field.under(stronger.$field),)* }
            }

            /// The words that are said.
            pub fn said(&self) -> Vec<&'static str> {
                [$((!is_unsaid(&self.$field)).then_some(stringify!($field)),)*].into_iter().flatten().collect()
            }
        }
    };
}

limits! {
    /// The group of containers that it shares limits with, as in `tenant-a` or `tenant-a/web`.
    group: Option<GroupName>,
    /// How many processors' worth of time it gets at most: 0.5 is half of one. `max` is no limit.
    cpus: Option<Cpus>,
    /// Over how many microseconds that is counted: 1000 to 1000000. Default: 100000.
    cpu_period: Option<u64>,
    /// Processors' worth of a period that it may save for a later one, at most `cpus`.
    cpu_burst: Option<Cpus>,
    /// Its share of the time when all want it: 1 to 10000. Default: 100.
    cpu_weight: Option<u64>,
    /// The same in the unit of version 1 and of Docker: 2 to 262144, 1024 by default. Not with `cpu_weight`.
    cpu_shares: Option<u64>,
    /// It gets only time that nobody else wants.
    cpu_idle: Option<bool>,
    /// Microseconds of each second in which it may run with real-time priority (version 1 only).
    cpu_realtime: Option<u64>,
    /// The processors it runs on, as in `0-3,8`.
    cpuset: Option<String>,
    /// The memory nodes it uses, likewise.
    memory_nodes: Option<String>,
    /// Memory, at most: what it has beyond that is reclaimed, then a process is killed.
    memory: Option<Size>,
    /// Memory above which it is slowed down and reclaimed from, but nobody is killed (version 2 only).
    memory_high: Option<Size>,
    /// Memory that is left to it as long as others have some to spare.
    memory_low: Option<Size>,
    /// Memory that is left to it in any case (version 2 only).
    memory_min: Option<Size>,
    /// Swap, at most, memory not counted in. Default: none.
    swap: Option<Size>,
    /// Whether all its processes are killed when one is for lack of memory (version 2 only).
    oom_group: Option<bool>,
    /// Buffers of TCP sockets, at most (version 1 only: version 2 counts them to `memory`).
    tcp_memory: Option<Size>,
    /// Processes and threads, at most.
    pids: Option<Count>,
    /// Its share of the disks when all want them: 1 to 10000. Default: 100.
    io_weight: Option<u64>,
    /// Bytes read a second, at most, by a disk or any path on it: `{ "/" = "10M" }`.
    io_read: BTreeMap<String, Size>,
    /// Bytes written a second, at most, likewise.
    io_write: BTreeMap<String, Size>,
    /// Reads a second, at most, likewise.
    io_reads: BTreeMap<String, Count>,
    /// Writes a second, at most, likewise.
    io_writes: BTreeMap<String, Count>,
    /// Huge pages, at most, by their size: `{ 2MB = "64M" }`.
    hugepages: BTreeMap<String, Size>,
    /// Handles and objects of RDMA devices, at most: `{ mlx5_0 = "2:2000" }`.
    rdma: BTreeMap<String, String>,
    /// Units of the misc controller, at most: `{ sev = 1 }`.
    misc: BTreeMap<String, Count>,
    /// Bytes of its own files, at most: those in memory together (fresh directories, a writable root), and
    /// those of its volumes together.
    disk: Option<Size>,
    /// Files and directories, at most, likewise.
    inodes: Option<Count>,
    /// The room of its volumes is taken from the disk when they are made, whatever others write.
    disk_reserved: Option<bool>,
    /// Bytes of its logs that are kept.
    logs: Option<Size>,
    /// Files of version 2 groups and what to write to them, for what has no word here.
    unified: BTreeMap<String, String>,
    /// What this host cannot enforce is left out instead of refused.
    best_effort: Option<bool>,
}

impl Limits {
    /// Without words that mean something else together with the stronger ones.
    fn made_way(mut self, stronger: &Self) -> Self {
        if stronger.cpu_weight.is_some() || stronger.cpu_shares.is_some() {
            (self.cpu_weight, self.cpu_shares) = (None, None);
        }
        if stronger.cpus.is_some() {
            self.cpu_burst = None;
        }
        self
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A field of one layer.
trait Layered: Default + PartialEq {
    /// Itself with a stronger layer's over it.
    fn under(self, stronger: Self) -> Self;
}

impl<T: PartialEq> Layered for Option<T> {
    fn under(self, stronger: Self) -> Self {
        stronger.or(self)
    }
}

impl<T: PartialEq> Layered for BTreeMap<String, T> {
    fn under(mut self, stronger: Self) -> Self {
        self.extend(stronger);
        self
    }
}

fn is_unsaid<T: Layered>(field: &T) -> bool {
    *field == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_written() {
        assert_eq!(serde_json::to_string(&Limits::default()).expect("json"), "{}");
        assert!(Limits::default().is_empty() && Limits::default().said().is_empty());
    }

    #[test]
    fn words_of_a_definition() {
        let text =
            "memory = \"256M\"\ncpus = 0.5\npids = 100\nio_read = { \"/\" = \"10M\" }\ngroup = \"a/b\"\n";
        let limits: Limits = toml::from_str(text).expect("limits");
        assert_eq!(limits.memory, Some("256m".parse().expect("size")));
        assert_eq!(limits.said(), ["group", "cpus", "memory", "pids", "io_read"]);
        let again: Limits = toml::from_str(&toml::to_string(&limits).expect("text")).expect("limits");
        assert_eq!(again, limits);
        assert!(toml::from_str::<Limits>("mem = 3").is_err());
    }

    #[test]
    fn the_stronger_layer_holds() {
        let weak: Limits =
            toml::from_str("memory = \"1G\"\npids = 7\nio_read = { a = 1, b = 2 }").expect("limits");
        let strong: Limits = toml::from_str("memory = \"2G\"\nio_read = { b = 3 }").expect("limits");
        let both = weak.merged(strong);
        assert_eq!(both.memory.expect("said").to_string(), "2G");
        assert_eq!((both.pids.expect("said").to_string().as_str(), both.io_read.len()), ("7", 2));
        assert_eq!(both.io_read["b"].to_string(), "3");
        let weak: Limits = toml::from_str("cpu_weight = 5\ncpus = 2\ncpu_burst = 2").expect("limits");
        let both = weak.merged(toml::from_str("cpu_shares = 2048\ncpus = 1").expect("limits"));
        assert_eq!(both.said(), ["cpus", "cpu_shares"]);
    }
}
