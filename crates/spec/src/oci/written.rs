//! A bundle's `config.json` as it is written (runtime-spec 1.3, for Linux).
//!
//! The types of the crate `oci-spec` serve for `linux.resources`. The others are our own: theirs give
//! references only, so that every value would be copied, and end at the first capability that they do
//! not know, which the specification wants to be a warning.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Go writes `null` for a list that is empty.
pub(super) type List<T> = Option<Vec<T>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    pub(super) oci_version: Option<String>,
    pub(super) root: Option<Root>,
    #[serde(default)]
    pub(super) mounts: List<Mount>,
    pub(super) process: Option<Process>,
    pub(super) hostname: Option<String>,
    pub(super) domainname: Option<String>,
    pub(super) hooks: Option<Hooks>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) linux: Option<Linux>,
    pub(super) windows: Option<IgnoredAny>,
    pub(super) solaris: Option<IgnoredAny>,
    pub(super) vm: Option<IgnoredAny>,
    pub(super) zos: Option<IgnoredAny>,
    #[serde(rename = "freebsd")]
    pub(super) free_bsd: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Root {
    pub(super) path: String,
    pub(super) readonly: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) destination: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) options: List<String>,
    #[serde(default)]
    pub(super) uid_mappings: List<IdMapping>,
    #[serde(default)]
    pub(super) gid_mappings: List<IdMapping>,
}

#[derive(Deserialize)]
pub(super) struct IdMapping {
    #[serde(rename = "containerID")]
    pub(super) container_id: u32,
    #[serde(rename = "hostID")]
    pub(super) host_id: u32,
    pub(super) size: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process {
    pub(super) terminal: Option<bool>,
    pub(super) console_size: Option<ConsoleSize>,
    pub(super) user: Option<User>,
    #[serde(default)]
    pub(super) args: List<String>,
    #[serde(default)]
    pub(super) env: List<String>,
    pub(super) cwd: Option<String>,
    pub(super) capabilities: Option<Capabilities>,
    #[serde(default)]
    pub(super) rlimits: List<Limit>,
    pub(super) no_new_privileges: Option<bool>,
    pub(super) apparmor_profile: Option<String>,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) selinux_label: Option<String>,
    pub(super) io_priority: Option<IoPriority>,
    pub(super) scheduler: Option<Scheduler>,
    #[serde(rename = "execCPUAffinity")]
    pub(super) affinity: Option<Affinity>,
}

#[derive(Deserialize)]
pub(super) struct ConsoleSize {
    #[serde(default)]
    pub(super) height: u32,
    #[serde(default)]
    pub(super) width: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(default)]
    pub(super) uid: u32,
    #[serde(default)]
    pub(super) gid: u32,
    pub(super) umask: Option<u32>,
    #[serde(default)]
    pub(super) additional_gids: List<u32>,
}

#[derive(Default, Deserialize)]
pub(super) struct Capabilities {
    #[serde(default)]
    pub(super) bounding: List<String>,
    #[serde(default)]
    pub(super) effective: List<String>,
    #[serde(default)]
    pub(super) inheritable: List<String>,
    #[serde(default)]
    pub(super) permitted: List<String>,
    #[serde(default)]
    pub(super) ambient: List<String>,
}

#[derive(Deserialize)]
pub(super) struct Limit {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

#[derive(Deserialize)]
pub(super) struct IoPriority {
    pub(super) class: String,
    #[serde(default)]
    pub(super) priority: i64,
}

#[derive(Deserialize)]
pub(super) struct Scheduler {
    pub(super) policy: String,
    pub(super) nice: Option<i32>,
    pub(super) priority: Option<i32>,
    #[serde(default)]
    pub(super) flags: List<String>,
    #[serde(default)]
    pub(super) runtime: Option<u64>,
    #[serde(default)]
    pub(super) deadline: Option<u64>,
    #[serde(default)]
    pub(super) period: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Affinity {
    pub(super) initial: Option<String>,
    #[serde(rename = "final")]
    pub(super) last: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hooks {
    #[serde(default)]
    pub(super) prestart: List<Hook>,
    #[serde(default)]
    pub(super) create_runtime: List<Hook>,
    #[serde(default)]
    pub(super) create_container: List<Hook>,
    #[serde(default)]
    pub(super) start_container: List<Hook>,
    #[serde(default)]
    pub(super) poststart: List<Hook>,
    #[serde(default)]
    pub(super) poststop: List<Hook>,
}

#[derive(Deserialize)]
pub(super) struct Hook {
    pub(super) path: String,
    #[serde(default)]
    pub(super) args: List<String>,
    #[serde(default)]
    pub(super) env: List<String>,
    pub(super) timeout: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Linux {
    #[serde(default)]
    pub(super) uid_mappings: List<IdMapping>,
    #[serde(default)]
    pub(super) gid_mappings: List<IdMapping>,
    pub(super) sysctl: Option<BTreeMap<String, String>>,
    pub(super) resources: Option<LinuxResources>,
    pub(super) cgroups_path: Option<String>,
    #[serde(default)]
    pub(super) namespaces: List<Namespace>,
    #[serde(default)]
    pub(super) devices: List<Device>,
    pub(super) net_devices: Option<BTreeMap<String, NetDevice>>,
    pub(super) seccomp: Option<crate::seccomp::parse::Written>,
    pub(super) rootfs_propagation: Option<String>,
    #[serde(default)]
    pub(super) masked_paths: List<String>,
    #[serde(default)]
    pub(super) readonly_paths: List<String>,
    pub(super) mount_label: Option<String>,
    pub(super) intel_rdt: Option<IntelRdt>,
    pub(super) memory_policy: Option<MemoryPolicy>,
    pub(super) personality: Option<Personality>,
    pub(super) time_offsets: Option<BTreeMap<String, TimeOffset>>,
}

#[derive(Deserialize)]
pub(super) struct Namespace {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) major: Option<i64>,
    #[serde(default)]
    pub(super) minor: Option<i64>,
    pub(super) file_mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct NetDevice {
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct IntelRdt {
    #[serde(rename = "closID")]
    pub(super) class: Option<String>,
    #[serde(default)]
    pub(super) schemata: List<String>,
    #[serde(rename = "l3CacheSchema")]
    pub(super) cache: Option<String>,
    #[serde(rename = "memBwSchema")]
    pub(super) bandwidth: Option<String>,
    #[serde(rename = "enableMonitoring", default)]
    pub(super) monitoring: Option<bool>,
    #[serde(rename = "enableCMT", default)]
    pub(super) occupancy_monitoring: Option<bool>,
    #[serde(rename = "enableMBM", default)]
    pub(super) bandwidth_monitoring: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct MemoryPolicy {
    pub(super) mode: String,
    pub(super) nodes: Option<String>,
    #[serde(default)]
    pub(super) flags: List<String>,
}

#[derive(Deserialize)]
pub(super) struct Personality {
    pub(super) domain: String,
    #[serde(default)]
    pub(super) flags: List<String>,
}

#[derive(Deserialize)]
pub(super) struct TimeOffset {
    pub(super) secs: Option<i64>,
    pub(super) nanosecs: Option<u32>,
}
