//! What the recorder writes down, as JSON.
//!
//! It comes from a program of somebody else's: whatever a value is, only its use here decides whether it makes sense.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Named values.
pub type Values = BTreeMap<String, Value>;

/// A file that was run.
#[derive(Debug, Default, Deserialize)]
pub struct Record {
    /// What it defines.
    pub containers: Vec<Container>,
    /// What it tried besides.
    #[serde(default)]
    pub notes: Vec<Tried>,
    /// What it ended with.
    #[serde(default)]
    pub error: Option<Failure>,
}

/// Something that a definition does besides defining.
#[derive(Debug, Deserialize)]
pub struct Tried {
    /// `command`, `env`, `constant`, `value`, `call`.
    pub kind: String,
    /// Where.
    pub line: Option<u64>,
    /// What.
    pub text: String,
}

/// An exception that nobody caught.
#[derive(Debug, Deserialize)]
pub struct Failure {
    /// Its class.
    pub class: String,
    /// What it says.
    pub message: String,
    /// Where in the file.
    pub line: Option<u64>,
}

/// What one `define` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// `config.name`, or that of what it is defined in.
    pub name: Value,
    /// That of what it is defined in.
    pub inherited_name: Value,
    /// `config.hostname`.
    pub hostname: Value,
    /// `config.init_command`, as a list.
    pub init_command: Vec<Value>,
    /// `config.daemonize!`
    pub daemon: bool,
    /// `config.workdir`.
    pub workdir: Value,
    /// `config.environ`.
    pub environ: Value,
    /// `config.uid`.
    pub uid: Value,
    /// `config.gid`.
    pub gid: Value,
    /// `config.groups`.
    pub groups: Value,
    /// `config.add_mount_point`.
    pub mounts: Vec<MountPoint>,
    /// `config.mount_independent`.
    pub independent: Vec<Value>,
    /// `config.mount_network_etc`.
    pub network_etc: Values,
    /// `config.rootfs`, `chroot_to`.
    pub rootfs: Values,
    /// `config.filesystem`.
    pub filesystem: Values,
    /// `config.bootstrap`.
    pub bootstrap: Values,
    /// `config.provision`.
    pub provision: Provision,
    /// `config.skip_bootstrap`.
    pub skip_bootstrap: bool,
    /// `config.command`.
    pub command: Values,
    /// `config.cgroup`.
    pub cgroup: Groups,
    /// `config.cgroup(:v2)`.
    pub cgroup_v2: Groups,
    /// `config.cgroup_name`.
    pub cgroup_name: Value,
    /// `config.namespace`.
    pub namespace: NamespaceWords,
    /// `config.capabilities`.
    pub capabilities: Option<Capabilities>,
    /// `config.resource`.
    pub resource: Resource,
    /// `config.seccomp`.
    pub seccomp: Option<Seccomp>,
    /// `config.apparmor`.
    pub apparmor: Value,
    /// `config.apparmor_profile`.
    pub apparmor_profile: Value,
    /// `config.network`.
    pub network: Values,
    /// `config.checkpoint`.
    pub checkpoint: Values,
    /// `config.add_…_hook`, `add_signal_handler`.
    pub hooks: Vec<Hook>,
    /// `config.support_reload`.
    pub reload: Vec<Value>,
    /// `config.lxcfs_root`.
    pub lxcfs_root: Value,
    /// What is no word of Haconiwa's that is known here.
    pub others: Vec<Other>,
    /// Its other words.
    #[serde(flatten)]
    pub rest: Values,
}

/// `add_mount_point`.
#[derive(Debug, Deserialize)]
pub struct MountPoint {
    /// Where it is said.
    pub line: Option<u64>,
    /// Its first argument.
    pub source: String,
    /// Its others.
    #[serde(default)]
    pub options: Values,
}

/// Shell scripts that build.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Provision {
    /// `run_shell`.
    pub steps: Vec<Step>,
}

/// One of them.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// `name:`
    pub name: Value,
    /// `sh:`
    pub shell: Value,
    /// The script.
    pub body: Value,
}

/// Files of control groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Groups {
    /// Their values.
    pub values: Values,
}

/// Namespaces.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceWords {
    /// `unshare`, with its options.
    pub own: BTreeMap<String, Value>,
    /// `enter`, `use_netns`: files.
    pub entered: BTreeMap<String, Value>,
    /// `set_uid_mapping`.
    pub uids: Values,
    /// `set_gid_mapping`.
    pub gids: Values,
}

/// Capabilities: where it begins, and what is added and taken away.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// `usual`, `all` or `none`.
    pub base: String,
    /// `allow`.
    pub add: Vec<Value>,
    /// `drop`.
    pub drop: Vec<Value>,
}

/// Resource limits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// Kind, soft, hard.
    pub limits: Vec<(Value, Value, Value)>,
}

/// A filter of system calls.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Seccomp {
    /// What is done with calls that no rule names.
    pub default: Value,
    /// What is done, and its arguments.
    pub rules: Vec<Vec<Value>>,
}

/// A block that is to be called later.
#[derive(Debug, Deserialize)]
pub struct Hook {
    /// `general`, `signal`, `timer`, `readiness`, `cgroup`.
    pub kind: String,
    /// A point, a signal, or what is to be short.
    pub on: Value,
    /// What else is said.
    #[serde(default)]
    pub options: Values,
    /// Where.
    pub line: Option<u64>,
    /// Its text.
    pub source: Option<String>,
}

/// A word that nobody knows.
#[derive(Debug, Deserialize)]
pub struct Other {
    /// The word.
    pub word: String,
    /// Its arguments.
    pub value: String,
    /// Where.
    pub line: Option<u64>,
    /// The text of its block.
    pub source: Option<String>,
}

/// A value as people read it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nil".to_owned(),
        other => other.to_string(),
    }
}

/// The text of a value that is said, and is one thing.
pub fn said(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, also where it is written as text.
pub fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
