//! What a watched service used: the file that `tsubo test` writes and `tsubo pack` reads.
//!
//! An observation is a file of its own (JSON): runs are merged, compared, committed beside the
//! source. It holds no contents, only names and how they were used.

mod usage;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Name, RootPath};

pub use usage::{Curve, MOST_POINTS, Point, Used};

/// The version of the format written by this program.
pub const VERSION: u32 = 1;

/// One or several watched runs of one container's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// The development container that was watched.
    pub container: Name,
    /// The runs that were added up, oldest first.
    pub runs: Vec<Run>,
    /// Every path inside the container that was used, and how.
    pub paths: BTreeMap<RootPath, PathUse>,
    /// What was created, changed or removed, and where.
    pub written: BTreeMap<RootPath, Written>,
    /// Ports that were listened on.
    pub ports: BTreeSet<Port>,
    /// System calls seen, by name; empty where the host has no instrument for them.
    pub syscalls: BTreeSet<String>,
    /// A program gained privilege by exec (set-uid, set-gid, file capabilities): no_new_privs
    /// would break it.
    #[serde(default)]
    pub gained_privilege: bool,
    /// Capabilities that the kernel asked for and found (`CAP_CHOWN`), with the programs that had
    /// them. Complete if all runs have `capability-checks` among their instruments.
    #[serde(default)]
    pub capabilities: BTreeMap<String, BTreeSet<String>>,
    /// Something below `/sys/fs/cgroup` was named. Observations that do not tell are taken for yes.
    #[serde(default = "unknown_means_yes")]
    pub groups: bool,
    /// The most of each resource that any run used.
    pub peak: Peak,
    /// What a reader of this observation should know (a 32-bit program, a gained privilege, …).
    pub warnings: BTreeSet<String>,
}

fn unknown_means_yes() -> bool {
    true
}

/// One watched run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it started, seconds since 1970 UTC.
    pub started: u64,
    /// How long the service was watched, in milliseconds.
    pub millis: u64,
    /// The service's command line.
    pub command: Vec<String>,
    /// The exercises, as typed; those inside the container start with `inside: `.
    pub exercises: Vec<String>,
    /// The instruments that watched, e.g. `fanotify`, `seccomp-listener`, `ebpf`.
    pub instruments: BTreeSet<String>,
    /// What the service used; older files do not tell.
    #[serde(default)]
    pub used: Used,
    /// The same over time.
    #[serde(default)]
    pub curve: Curve,
}

/// How one path was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathUse {
    /// The ways in which it was used.
    pub how: BTreeSet<Use>,
    /// The programs (paths of executables inside the container) that used it.
    pub by: BTreeSet<String>,
    /// The earliest stage in which it was used.
    pub stage: Stage,
    /// What the path was before the run; None if it did not exist then.
    pub stamp: Option<Stamp>,
}

/// A way of using a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Opened for reading (and perhaps mapped: the kernel does not tell).
    Opened,
    /// Opened for writing, or otherwise changed.
    Changed,
    /// Executed, or loaded by the kernel to execute something else (an interpreter).
    Executed,
    /// A directory whose entries were read.
    Listed,
    /// Only looked at: stat, access, getxattr, `O_PATH`, …
    LookedAt,
    /// A symlink on the way to something, or read by readlink.
    Followed,
    /// Made the working directory or the root of a process.
    Entered,
    /// Asked for and not there.
    Missing,
}

/// A stage of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// From the first instruction until the service was ready.
    #[default]
    Start,
    /// While the exercises ran.
    Exercise,
    /// From the stop signal to the last process's end.
    Stop,
}

/// What identifies a file's state, so that a later change of it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Size in bytes; 0 for directories (theirs differs between file systems).
    pub size: u64,
    /// Modification time, nanoseconds since 1970; 0 for directories.
    pub mtime: i64,
}

/// What was written at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Written {
    /// A file, link, socket or directory that was not there before.
    Created {
        /// Its size at the end, in bytes.
        bytes: u64,
    },
    /// An existing file whose content or metadata changed (or that was opened for writing).
    Changed {
        /// Its size at the end, in bytes.
        bytes: u64,
    },
    /// An existing path that was removed.
    Removed,
    /// A directory in which names came or went, even if none is left to see.
    Entries,
}

impl Written {
    /// The size of what is there now.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Created { bytes } | Self::Changed { bytes } => *bytes,
            Self::Removed | Self::Entries => 0,
        }
    }
}

/// A port that was listened on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The port number.
    pub port: u16,
    /// It was listened on for the container itself alone: on an address of its loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
}

/// The most that was used at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Memory in bytes, page cache included where the kernel counts it; 0 if unknown.
    pub memory: u64,
    /// Processes and threads; 0 if unknown.
    pub tasks: u64,
    /// Open file descriptors of the fullest process; 0 if unknown.
    pub files: u64,
}

impl Peak {
    /// The most of both.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            tasks: self.tasks.max(other.tasks),
            files: self.files.max(other.files),
        }
    }
}

impl Observation {
    /// An observation without runs.
    pub fn empty(container: Name) -> Self {
        Self {
            version: VERSION,
            container,
            runs: Vec::new(),
            paths: BTreeMap::new(),
            written: BTreeMap::new(),
            ports: BTreeSet::new(),
            syscalls: BTreeSet::new(),
            gained_privilege: false,
            capabilities: BTreeMap::new(),
            groups: false,
            peak: Peak::default(),
            warnings: BTreeSet::new(),
        }
    }

    /// Notes one use of `path`.
    pub fn note(&mut self, path: &RootPath, how: Use, by: Option<&str>, stage: Stage) {
        if !self.paths.contains_key(path) {
            self.paths.insert(path.clone(), PathUse { stage, ..PathUse::default() });
        }
        let Some(entry) = self.paths.get_mut(path) else { return };
        entry.how.insert(how);
        entry.stage = entry.stage.min(stage);
        if let Some(program) = by
            && !entry.by.contains(program)
        {
            entry.by.insert(program.to_owned());
        }
    }

    /// Adds what `other` saw. A path whose stamp differs keeps the newer run's, the one that
    /// describes the container as it is now; `other` is the newer.
    pub fn merge(&mut self, other: Self) {
        self.runs.extend(other.runs);
        for (path, new) in other.paths {
            let entry =
                self.paths.entry(path).or_insert_with(|| PathUse { stage: new.stage, ..PathUse::default() });
            entry.how.extend(new.how);
            entry.by.extend(new.by);
            entry.stage = entry.stage.min(new.stage);
            entry.stamp = new.stamp;
        }
        self.written.extend(other.written);
        self.ports.extend(other.ports);
        self.syscalls.extend(other.syscalls);
        self.gained_privilege |= other.gained_privilege;
        for (capability, by) in other.capabilities {
            self.capabilities.entry(capability).or_default().extend(by);
        }
        self.groups |= other.groups;
        self.peak = self.peak.or_more(other.peak);
        self.warnings.extend(other.warnings);
    }

    /// The most that any run used.
    pub fn used(&self) -> Used {
        let runs = self.runs.iter().map(|run| run.used).reduce(Used::or_more).unwrap_or_default();
        Used { peak: self.peak.or_more(runs.peak), ..runs }
    }

    /// The run that used the most memory, of those that have a curve.
    pub fn fullest(&self) -> Option<&Run> {
        let told = self.runs.iter().filter(|run| !run.curve.points().is_empty());
        told.max_by_key(|run| run.used.peak.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_before_have_no_curve() {
        let text = r#"{"started":1,"millis":2,"command":["x"],"exercises":[],"instruments":[]}"#;
        let run: Run = serde_json::from_str(text).expect("an old run");
        let mut observation = Observation::empty("web".parse().expect("name"));
        observation.peak.memory = 7;
        observation.runs.push(run.clone());
        assert!(observation.fullest().is_none());
        assert_eq!(observation.used(), Used { peak: observation.peak, ..Used::default() });
        let mut newer = Observation::empty("web".parse().expect("name"));
        let mut curve = Curve::default();
        curve.add(Point { millis: 5, memory: 3, tasks: 1, cpu: 4 });
        newer.runs.push(Run { used: Used { cpu: 4, millis: 5, ..Used::default() }, curve, ..run });
        observation.merge(newer);
        assert_eq!(observation.used().cpu_average(), 800);
        assert_eq!(observation.fullest().map(|run| run.used.cpu), Some(4));
    }

    #[test]
    fn merging_adds_up_and_keeps_the_earliest_stage() {
        let path: RootPath = "/etc/passwd".parse().expect("path");
        let mut first = Observation::empty("web".parse().expect("name"));
        first.note(&path, Use::Opened, Some("/usr/sbin/nginx"), Stage::Exercise);
        let mut second = Observation::empty("web".parse().expect("name"));
        second.note(&path, Use::LookedAt, None, Stage::Start);
        first.merge(second);
        let merged = &first.paths[&path];
        assert_eq!(merged.stage, Stage::Start);
        assert_eq!(merged.how.len(), 2);
        assert_eq!(merged.by.len(), 1);
        let json = serde_json::to_string(&first).expect("json");
        assert_eq!(serde_json::from_str::<Observation>(&json).expect("own json"), first);
    }
}
