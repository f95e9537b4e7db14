//! Small roots in temporary directories, for the tests of the cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use spec::RootPath;
use spec::observation::{Observation, Stage, Stamp, Use};

use super::{Cut, CutRequest, Level};
use crate::base_tree::BaseTree;

/// A root in a temporary directory, removed at the end.
pub(crate) struct Sample(PathBuf);

pub(crate) fn path(text: &str) -> RootPath {
    text.parse().expect(text)
}

impl Sample {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("tsubo-cut-{name}-{}-{number}", std::process::id()));
        fs::create_dir(&root).expect("a fresh directory");
        Self(root)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, inside: &str) -> PathBuf {
        let at = self.0.join(inside.trim_start_matches('/'));
        fs::create_dir_all(at.parent().expect("below the root")).expect("parents");
        at
    }

    pub(crate) fn file(&self, inside: &str, content: impl AsRef<[u8]>) {
        fs::write(self.at(inside), content).expect(inside);
    }

    /// An executable file.
    pub(crate) fn program(&self, inside: &str, content: impl AsRef<[u8]>) {
        self.file(inside, content);
        fs::set_permissions(self.at(inside), fs::Permissions::from_mode(0o755)).expect(inside);
    }

    pub(crate) fn directory(&self, inside: &str) {
        fs::create_dir_all(self.at(inside)).expect(inside);
    }

    pub(crate) fn link(&self, inside: &str, target: &str) {
        symlink(target, self.at(inside)).expect(inside);
    }

    pub(crate) fn tree(&self) -> BaseTree {
        BaseTree::read(&self.0).expect("a sample")
    }

    /// What an observation says of `inside` as it is now.
    pub(crate) fn stamp(&self, inside: &str) -> Option<Stamp> {
        let meta = fs::symlink_metadata(self.0.join(inside.trim_start_matches('/'))).ok()?;
        let directory = meta.is_dir();
        Some(Stamp {
            mode: meta.mode(),
            size: if directory { 0 } else { meta.size() },
            mtime: if directory { 0 } else { meta.mtime() * 1_000_000_000 + meta.mtime_nsec() },
        })
    }

    /// An observation of these uses, all in the exercise.
    pub(crate) fn seen(&self, uses: &[(&str, Use)]) -> Observation {
        let mut seen = Observation::empty("sample".parse().expect("name"));
        for (inside, how) in uses {
            seen.note(&path(inside), *how, Some("/bin/service"), Stage::Exercise);
            if let Some(entry) = seen.paths.get_mut(&path(inside)) {
                entry.stamp = self.stamp(inside);
            }
        }
        seen
    }

    pub(crate) fn cut(&self, level: Level, uses: &[(&str, Use)]) -> Cut {
        Asked { level, ..Asked::default() }.cut(self, &self.seen(uses)).expect("cut")
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A request with little in it.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) level: Level,
    pub(crate) keep: Vec<String>,
    pub(crate) drop: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) repaired: BTreeSet<RootPath>,
}

impl Asked {
    pub(crate) fn cut(&self, root: &Sample, observation: &Observation) -> spec::Result<Cut> {
        super::cut(&CutRequest {
            base: root.root(),
            observation,
            command: &self.command,
            env: &self.env,
            cwd: &RootPath::root(),
            level: self.level,
            keep: &self.keep,
            drop: &self.drop,
            repaired: &self.repaired,
        })
    }
}

/// Whether `cut` keeps exactly the names in `wanted`, mount points and ancestors apart.
pub(crate) fn assert_files(cut: &Cut, wanted: &[&str]) {
    use spec::report::Reason;
    let kept: Vec<String> = cut
        .report
        .kept
        .iter()
        .filter(|(_, kept)| !matches!(kept.reason, Reason::Ancestor | Reason::MountPoint))
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(kept, wanted);
}

/// Whether `inside` is kept.
pub(crate) fn has(cut: &Cut, inside: &str) -> bool {
    cut.paths.contains(&path(inside))
}
