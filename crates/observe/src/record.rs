//! What has been seen so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use spec::RootPath;
use spec::observation::{PathUse, Stage, Use};

use crate::checks::Asked;
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
    /// The system calls that were used, by name; all of them only where [`SYSTEM_CALLS`] is among the
    /// instruments.
    pub syscalls: BTreeSet<String>,
    /// A program was executed that is set-uid, set-gid or has file capabilities.
    pub gained_privilege: bool,
    /// Something below `/sys/fs/cgroup` was named.
    pub groups: bool,
    /// The capabilities that the kernel asked for and found, with the programs that had them;
    /// nothing is known unless [`CAPABILITY_CHECKS`] is among the instruments.
    pub capabilities: Asked,
    /// Those that it asked for in vain.
    pub refused: Asked,
}

/// The instrument that sees capabilities.
pub const CAPABILITY_CHECKS: &str = "capability-checks";

/// The instrument that sees all system calls.
pub const SYSTEM_CALLS: &str = "system-calls";

/// Names that were looked for in vain and are remembered one by one: who looks for random names
/// does not fill our memory. No later step needs each of them.
const MOST_MISSING: usize = 200_000;
/// Directories for which the names beyond are counted.
const MOST_DIRECTORIES: usize = 10_000;

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
    /// How many of them were first seen missing.
    missing: usize,
    /// How often names beyond those were looked for, by directory.
    beyond: HashMap<RootPath, u64>,
    pub(crate) warnings: BTreeSet<String>,
    pub(crate) gained_privilege: bool,
    pub(crate) groups: bool,
    /// Capabilities that executed files have: exec fails where the process may not get them, and
    /// the kernel checks nothing of it in a way that could be seen.
    pub(crate) of_files: Asked,
    /// execveat was called. Where it succeeds, eBPF finds the number of another call at its end.
    pub(crate) by_descriptor: bool,
    /// Calls were made by an interface whose numbers are not those of eBPF's table.
    pub(crate) foreign: bool,
}

impl Record {
    /// Notes one use.
    pub(crate) fn note(&mut self, path: &RootPath, how: Use, by: Option<Program>, stage: Stage) {
        if !self.paths.contains_key(path) {
            if how == Use::Missing && !self.remembers(path) {
                return;
            }
            let entry = Entry { how: BTreeSet::new(), by: BTreeSet::new(), stage };
            self.paths.insert(path.clone(), entry);
        }
        let Some(entry) = self.paths.get_mut(path) else { return };
        entry.how.insert(how);
        entry.by.extend(by);
        entry.stage = entry.stage.min(stage);
    }

    /// Whether one more missing name is remembered; else it is counted.
    fn remembers(&mut self, path: &RootPath) -> bool {
        if self.missing < MOST_MISSING {
            self.missing += 1;
            return true;
        }
        let directory = path.parent().unwrap_or_else(RootPath::root);
        let full = self.beyond.len() >= MOST_DIRECTORIES && !self.beyond.contains_key(&directory);
        *self.beyond.entry(if full { RootPath::root() } else { directory }).or_default() += 1;
        false
    }

    /// The result, with programs by name.
    pub(crate) fn seen(mut self, names: &[String]) -> Seen {
        self.warnings.extend(beyond(&self.beyond));
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
            groups: self.groups,
            capabilities: self.of_files,
            ..Seen::default()
        }
    }
}

/// What to tell of names that were only counted: the directories with most of them.
fn beyond(counts: &HashMap<RootPath, u64>) -> Option<String> {
    const SHOWN: usize = 5;
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by(|one, two| two.1.cmp(one.1).then_with(|| one.0.cmp(two.0)));
    let total: u64 = counts.iter().map(|(_, count)| *count).sum();
    let shown: Vec<_> = counts.iter().take(SHOWN).map(|(path, count)| format!("{path} ({count})")).collect();
    let warning = || {
        format!(
            "more than {MOST_MISSING} names were looked for in vain; {total} look-ups of further ones were \
             only counted, most of them in {}",
            shown.join(", ")
        )
    };
    (!counts.is_empty()).then(warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_do_not_fill_the_memory() {
        let mut record = Record::default();
        let directory: RootPath = "/var/cache".parse().expect("a path");
        for number in 0..MOST_MISSING + 1000 {
            let name = directory.join(format!("{number}").as_bytes());
            record.note(&name, Use::Missing, None, Stage::Exercise);
        }
        record.note(&directory, Use::LookedAt, None, Stage::Start);
        // What is there in the end is remembered, even if it was missing once.
        record.note(&directory.join(b"last"), Use::Missing, None, Stage::Exercise);
        record.note(&directory.join(b"last"), Use::Opened, None, Stage::Exercise);
        let seen = record.seen(&[]);
        assert_eq!(seen.paths.len(), MOST_MISSING + 2);
        let warning = seen.warnings.first().expect("told");
        assert!(warning.contains("1001 look-ups") && warning.contains("/var/cache (1001)"), "{warning}");
    }
}
