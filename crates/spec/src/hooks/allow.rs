//! What hooks may reach beyond their own container.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The table `[hooks.allow]`. What is not said here is refused, with an error that names the line to add.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Beginnings of URLs that may be asked for, as in `https://hooks.example.com/web/`.
    pub http: Vec<String>,
    /// A file of the host with the certificates (PEM) of those who vouch for `https` servers, instead of the well-known
    /// ones.
    pub ca: Option<PathBuf>,
    /// Names of variables of the keeper's environment.
    pub env: BTreeSet<String>,
    /// Files and directories of the host that may be read.
    pub read: BTreeSet<PathBuf>,
    /// Files and directories of the host that may be written, and read.
    pub write: BTreeSet<PathBuf>,
    /// Programs of the host that may be run, by their absolute paths.
    pub run: BTreeSet<PathBuf>,
    /// Files of the container's control groups that may be written, as in `memory.high`.
    pub cgroup: BTreeSet<String>,
    /// Kernel parameters of the container that may be set.
    pub sysctl: BTreeSet<String>,
    /// Where figures may be sent, as in `127.0.0.1:8125` (statsd).
    pub metrics: BTreeSet<String>,
    /// The container's limits may be set beyond those that it was started with.
    pub limits: bool,
    /// Other containers of the same image may be started and stopped, and this one replaced.
    pub containers: bool,
    /// Tables and addresses of the container's network may be read.
    pub net: bool,
    /// Images of this host may be listed.
    pub store: bool,
}

impl Allow {
    /// Each thing that is allowed, in words, for people.
    pub fn words(&self) -> Vec<String> {
        let paths = |set: &BTreeSet<PathBuf>| set.iter().map(|path| path.display().to_string()).collect();
        let lists: [(&str, Vec<String>); 9] = [
            ("http", self.http.clone()),
            ("ca", self.ca.iter().map(|path| path.display().to_string()).collect()),
            ("env", self.env.iter().cloned().collect()),
            ("read", paths(&self.read)),
            ("write", paths(&self.write)),
            ("run", paths(&self.run)),
            ("cgroup", self.cgroup.iter().cloned().collect()),
            ("sysctl", self.sysctl.iter().cloned().collect()),
            ("metrics", self.metrics.iter().cloned().collect()),
        ];
        let flags = [
            ("limits", self.limits),
            ("containers", self.containers),
            ("net", self.net),
            ("store", self.store),
        ];
        let flags = flags.iter().filter(|(_, is_said)| *is_said).map(|(name, _)| (*name).to_owned());
        let lists =
            lists.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name} {value}")));
        lists.chain(flags).collect()
    }
}
