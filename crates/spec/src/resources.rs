//! What a group of processes may use: one vocabulary for control groups of version 1 and 2.
//!
//! Every field is optional; what is None is left as it is. The words are those of version 2
//! (`Documentation/admin-guide/cgroup-v2.rst`); how they are said to version 1, and what a host
//! cannot enforce, is known in the crate `cgroup`.

mod check;
mod device;
mod io;
mod limit;
mod weight;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use device::{Access, DeviceRule, RuleKind};
pub use io::{DeviceNumber, DeviceRate, DeviceWeight, Io, Rate};
pub use limit::Limit;
pub use weight::{blkio_to_io_weight, io_to_blkio_weight, shares_to_weight, weight_to_shares};

/// Limits and shares of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Memory.
    pub memory: Memory,
    /// Processors and their time.
    pub cpu: Cpu,
    /// Tasks (processes and threads) at once: 0 to 4194304.
    pub pids: Option<Limit>,
    /// Transfers of block devices.
    pub io: Io,
    /// Huge pages, by their size as the kernel writes it: `2MB`, `1GB`, `64KB`.
    pub hugepages: BTreeMap<String, HugePages>,
    /// RDMA devices by name.
    pub rdma: BTreeMap<String, Rdma>,
    /// Scalar resources of the misc controller by name (`sev`, `sgx_epc`, …), in their own units.
    pub misc: BTreeMap<String, Limit>,
    /// Marks on network packets; version 1 only.
    pub network: Network,
    /// Files of version 2 and what to write to them, for what has no word here. Several lines are
    /// written one by one. They come last.
    pub unified: BTreeMap<String, String>,
    /// Which devices may be opened and made. None: whatever the group above allows. Some: nothing
    /// but what a rule allows; the last rule that says something about an access decides.
    pub devices: Option<Vec<DeviceRule>>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// The most there may be; beyond it the kernel reclaims, then kills.
    pub max: Option<Limit>,
    /// Beyond it processes are slowed down and memory is reclaimed, but nobody is killed. Version
    /// 2 only.
    pub high: Option<Limit>,
    /// Below it memory is taken only when there is no other. On version 1 the soft limit.
    pub low: Option<Limit>,
    /// Below it memory is never taken. Version 2 only.
    pub min: Option<Limit>,
    /// Swap, alone: not the sum of memory and swap as version 1 and OCI count.
    pub swap: Option<Limit>,
    /// Whether all processes die when one is killed for lack of memory. Version 2 only.
    pub oom_group: Option<bool>,
    /// Whether processes that need more than `max` wait instead of being killed. Version 1 only.
    pub disable_oom_killer: Option<bool>,
    /// Buffers of TCP sockets, counted by themselves. Version 1 only: version 2 counts them to
    /// `max`.
    pub tcp: Option<Limit>,
    /// The kernel's memory, counted by itself. No kernel since Linux 5.16 enforces it: refused.
    pub kernel: Option<Limit>,
    /// How readily anonymous memory is swapped out: 0 to 100. Version 1 only.
    pub swappiness: Option<u64>,
    /// Refuse a `max` that is below what is in use, rather than reclaim or kill.
    pub check_before_update: bool,
}

/// Processors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cpu {
    /// The share of time among neighbours that all want it: 1 to 10000, 100 where nothing is
    /// said. On version 1 that many times 10.24 shares, as the kernel's scheduler counts.
    pub weight: Option<u64>,
    /// The same in version 1's unit: 2 to 262144, 1024 where nothing is said. On version 2 see
    /// [`shares_to_weight`]. Not together with `weight`.
    pub shares: Option<u64>,
    /// Microseconds of processor time per period; at least 1000.
    pub quota: Option<Limit>,
    /// The period in microseconds: 1000 to 1000000, 100000 where nothing is said.
    pub period: Option<u64>,
    /// Microseconds that may be saved from one period for a later one; at most the quota.
    pub burst: Option<u64>,
    /// Microseconds of real-time scheduling per real-time period. Version 1 only.
    pub realtime_runtime: Option<u64>,
    /// That period in microseconds. Version 1 only.
    pub realtime_period: Option<u64>,
    /// Processors, as in `0-3,8`; empty for those of the group above (version 2).
    pub cpus: Option<String>,
    /// Memory nodes, likewise.
    pub mems: Option<String>,
    /// Whether it only gets time that nobody else wants (SCHED_IDLE).
    pub idle: Option<bool>,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HugePages {
    /// Pages in use: beyond it a process gets SIGBUS when it touches one.
    pub max: Option<Limit>,
    /// Pages reserved: beyond it mmap fails. Where the kernel has no such file (before Linux
    /// 5.7), pages in use.
    pub reserved: Option<Limit>,
}

/// One RDMA device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rdma {
    /// Open handles.
    pub handles: Option<Limit>,
    /// Objects.
    pub objects: Option<Limit>,
}

/// Marks on packets by which the host's own rules tell a group's traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// The class of the traffic controller tc(8), as in 0xAAAABBBB for AAAA:BBBB.
    pub class: Option<u32>,
    /// The priority by interface.
    pub priorities: BTreeMap<String, u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_as_text_and_as_bytes() {
        let resources = Resources {
            memory: Memory {
                max: Some(Limit::At(1 << 30)),
                swap: Some(Limit::Max),
                low: Some(Limit::At(0)),
                ..Memory::default()
            },
            cpu: Cpu { quota: Some(Limit::At(50_000)), cpus: Some("0-1".to_owned()), ..Cpu::default() },
            devices: Some(vec![DeviceRule::deny_all(), "c 1:3 rw".parse().expect("a rule")]),
            ..Resources::default()
        };
        let text = serde_json::to_string(&resources).expect("text");
        assert!(text.contains(r#""max":1073741824"#) && text.contains(r#""swap":"max""#), "{text}");
        assert_eq!(serde_json::from_str::<Resources>(&text).expect("read"), resources);
        let bytes = postcard::to_stdvec(&resources).expect("bytes");
        assert_eq!(postcard::from_bytes::<Resources>(&bytes).expect("read"), resources);
    }

    #[test]
    fn words_that_are_not_known_are_refused() {
        assert!(serde_json::from_str::<Resources>(r#"{"memory":{"maximum":1}}"#).is_err());
        let some: Resources = serde_json::from_str(r#"{"pids":"max"}"#).expect("one word");
        assert_eq!(some, Resources { pids: Some(Limit::Max), ..Resources::default() });
    }
}
