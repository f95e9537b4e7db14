//! What has been seen so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use spec::RootPath;
use spec::observation::{PathUse, Stage, Use};

use crate::programs::Program;

/// Everything that one run showed.
#[derive(Debug, Default)]
pub struct Seen {
    /// The paths in the image, and how they were used. Stamps are not filled in.
    pub paths: BTreeMap<RootPath, PathUse>,
    /// What a reader of the observation should know.
    pub warnings: BTreeSet<String>,
    /// The instruments that watched: `fanotify`, `seccomp-listener`, `ebpf`.
    pub instruments: BTreeSet<String>,
    /// The system calls that were used, by name; empty without eBPF.
    pub syscalls: BTreeSet<String>,
    /// A program was executed that is set-uid, set-gid or has file capabilities.
    pub gained_privilege: bool,
}

#[derive(Debug)]
struct Entry {
    how: BTreeSet<Use>,
    by: BTreeSet<Program>,
    stage: Stage,
}

/// Collects uses; made to be cheap for what is known already.
#[derive(Debug, Default)]
pub(crate) struct Record {
    paths: HashMap<RootPath, Entry>,
    pub(crate) warnings: BTreeSet<String>,
    pub(crate) gained_privilege: bool,
}

impl Record {
    /// Notes one use.
    pub(crate) fn note(&mut self, path: &RootPath, how: Use, by: Option<Program>, stage: Stage) {
        if !self.paths.contains_key(path) {
            let entry = Entry { how: BTreeSet::new(), by: BTreeSet::new(), stage };
            self.paths.insert(path.clone(), entry);
        }
        let Some(entry) = self.paths.get_mut(path) else { return };
        entry.how.insert(how);
        entry.by.extend(by);
        entry.stage = entry.stage.min(stage);
    }

    /// The result, with programs by name.
    pub(crate) fn seen(self, names: &[String]) -> Seen {
        let name = |program: &Program| names.get(*program as usize).cloned();
        let finished = |entry: Entry| PathUse {
            how: entry.how,
            by: entry.by.iter().filter_map(name).collect(),
            stage: entry.stage,
            stamp: None,
        };
        Seen {
            paths: self.paths.into_iter().map(|(path, entry)| (path, finished(entry))).collect(),
            warnings: self.warnings,
            gained_privilege: self.gained_privilege,
            ..Seen::default()
        }
    }
}
