//! Documents about a container: for its hooks, for who asks, and for who decides about its calls.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version of the specification that is complete here.
pub const VERSION: &str = "1.3.0";

/// A container's state, as the specification writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of the specification.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// How it is.
    pub status: Status,
    /// Its first process; not for one that has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Where its bundle is.
    pub bundle: PathBuf,
    /// The bundle's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl State {
    /// Of version 1.3.
    pub fn new(id: &str, status: Status, bundle: PathBuf) -> Self {
        let oci_version = VERSION.to_owned();
        Self { oci_version, id: id.to_owned(), status, pid: None, bundle, annotations: BTreeMap::new() }
    }
}

/// How a container is; the last is a word of runc's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// Its program is not executed yet.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended.
    Stopped,
    /// It is frozen.
    Paused,
}

/// What goes with descriptors to who decides about system calls (the container process state).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileDescriptors {
    /// Of the specification.
    pub oci_version: String,
    /// What the descriptors are, in their order.
    pub fds: Vec<String>,
    /// The process.
    pub pid: i32,
    /// As the bundle says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Of its container.
    pub state: State,
}

impl FileDescriptors {
    /// For the listener of a filter.
    pub fn listener(pid: i32, metadata: Option<String>, state: State) -> Self {
        let (oci_version, fds) = (VERSION.to_owned(), vec!["seccompFd".to_owned()]);
        Self { oci_version, fds, pid, metadata, state }
    }
}
