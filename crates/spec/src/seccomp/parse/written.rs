//! Profiles as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Tells a bundle from a profile.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(rename = "ociVersion")]
    pub(super) bundle: Option<IgnoredAny>,
    pub(super) linux: Option<Linux>,
}

#[derive(Deserialize)]
pub(super) struct Linux {
    pub(super) seccomp: Option<Written>,
}

/// What no reader knows is passed over, as the specification wants it, and told.
pub(super) type Unknown = BTreeMap<String, IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    pub(super) default_action: String,
    pub(super) default_errno_ret: Option<u64>,
    pub(super) default_errno: Option<String>,
    #[serde(default)]
    pub(super) architectures: Option<Vec<String>>,
    #[serde(default)]
    pub(super) arch_map: Option<Vec<WrittenMachine>>,
    #[serde(default)]
    pub(super) flags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) syscalls: Option<Vec<WrittenRule>>,
    pub(crate) listener_path: Option<String>,
    pub(crate) listener_metadata: Option<String>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenMachine {
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenRule {
    #[serde(default)]
    pub(super) names: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) action: String,
    pub(super) errno_ret: Option<u64>,
    pub(super) errno: Option<String>,
    #[serde(default)]
    pub(super) args: Option<Vec<WrittenCondition>>,
    #[serde(default)]
    pub(super) includes: Option<WrittenWhen>,
    #[serde(default)]
    pub(super) excludes: Option<WrittenWhen>,
    #[serde(rename = "comment")]
    pub(super) _comment: Option<IgnoredAny>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenCondition {
    pub(super) index: u64,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: String,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenWhen {
    #[serde(default)]
    pub(super) caps: Option<Vec<String>>,
    #[serde(default)]
    pub(super) arches: Option<Vec<String>>,
    pub(super) min_kernel: Option<String>,
    #[serde(flatten)]
    pub(super) unknown: Unknown,
}
