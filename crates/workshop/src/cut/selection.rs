//! The growing set of what is kept. Whatever is added brings along what it cannot be without:
//! the directories above it, the symlinks on the way and their targets, and, for programs, their
//! interpreter and libraries.

use std::collections::{BTreeMap, BTreeSet};

use spec::observation::PathUse;
use spec::report::{Kept, Reason};
use spec::{Result, RootPath};

use super::boundaries::is_shared;
use super::globs::Globs;
use super::loader::Loader;
use super::scene::{Scene, is_foreign};
use super::secrets::Secrets;
use super::{elf, script};
use crate::base_tree::{Kind, Node, Way};

/// A rule that keeps more than this in one directory says so.
const REMARKABLE_BYTES: u64 = 100 << 20;
/// Names of directories that belong to the making of an application, not to its running.
const WORKSHOP_DIRECTORIES: [&[u8]; 12] = [
    b".git",
    b".hg",
    b".svn",
    b".cache",
    b".idea",
    b".vscode",
    b".tox",
    b".nox",
    b".mypy_cache",
    b".pytest_cache",
    b".ruff_cache",
    b"__pycache__",
];

/// What is kept so far, and what is still to be looked into.
pub(super) struct Selection<'a> {
    scene: &'a Scene<'a>,
    loader: Loader<'a>,
    keep: Globs,
    drop: Globs,
    kept: BTreeMap<RootPath, Kept>,
    /// Programs and libraries whose needs are not yet met.
    waiting: Vec<Waiting>,
    /// Those whose needs are met, or in `waiting`.
    closed: BTreeSet<RootPath>,
    trees: BTreeSet<RootPath>,
    secrets: Secrets<'a>,
    warnings: Vec<String>,
}

/// A program or library whose needs are to be met.
struct Waiting {
    path: RootPath,
    /// DT_RPATH directories of what loads it.
    inherited: Vec<Vec<u8>>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Result<Self> {
        Ok(Self {
            scene,
            loader: Loader::new(scene),
            keep: Globs::new("--keep", scene.request.keep)?,
            drop: Globs::new("--drop", scene.request.drop)?,
            kept: BTreeMap::new(),
            waiting: Vec::new(),
            closed: BTreeSet::new(),
            trees: BTreeSet::new(),
            secrets: Secrets::new(scene),
            warnings: Vec::new(),
        })
    }

    /// Keeps what was used. Its libraries were seen to be used as well; only for what was
    /// `executed` they are looked up again, so that a program always starts.
    pub(super) fn keep_used(&mut self, path: &RootPath, usage: &PathUse, target_too: bool, executed: bool) {
        let kept =
            Kept { reason: Reason::Used, how: usage.how.clone(), by: usage.by.clone(), because_of: None };
        self.add(path, kept, target_too);
        if executed && let Some(real) = self.scene.tree.real(path) {
            self.close(real, Vec::new());
        }
    }

    /// Keeps `path` and what it needs to work.
    pub(super) fn keep(&mut self, path: &RootPath, reason: Reason, because_of: Option<&RootPath>) {
        self.add(path, Kept { because_of: because_of.cloned(), ..plain(reason) }, true);
        if let Some(real) = self.scene.tree.real(path)
            && self.may_be_program(&real)
        {
            self.close(real, Vec::new());
        }
    }

    /// Keeps the directory `top` with all below it, but for what `skip` names, for the directories
    /// of its making, and for where symlinks lead back into shared directories.
    pub(super) fn keep_tree(
        &mut self,
        top: &RootPath,
        reason: Reason,
        because_of: Option<&RootPath>,
        skip: &dyn Fn(&RootPath, &Node) -> bool,
    ) {
        let Some(real) = self.scene.tree.real(top) else { return };
        if is_foreign(&real) || !self.trees.insert(real.clone()) {
            return;
        }
        let (found, bytes) = self.below(&real, reason, skip);
        if bytes > REMARKABLE_BYTES && reason != Reason::Asked {
            let because = because_of.map(|path| format!(" because of {path}")).unwrap_or_default();
            let megabytes = bytes / 1_000_000;
            self.warnings.push(format!(
                "all of {real} ({megabytes} MB) is kept{because}; --drop '{real}/…' leaves parts out"
            ));
        }
        self.keep(top, reason, because_of);
        for path in found {
            self.keep(&path, reason, because_of);
            let is_link = self.scene.node(&path).is_some_and(|node| matches!(node.kind, Kind::Link(_)));
            if is_link
                && let Some(target) = self.scene.tree.real(&path)
                && !is_shared(&target)
                && self.scene.node(&target).is_some_and(Node::is_directory)
            {
                self.keep_tree(&target, reason, because_of, skip);
            }
        }
    }

    /// What a tree rule finds below `top`, and how many bytes that is.
    fn below(
        &mut self,
        top: &RootPath,
        reason: Reason,
        skip: &dyn Fn(&RootPath, &Node) -> bool,
    ) -> (Vec<RootPath>, u64) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let (scene, secrets) = (self.scene, &mut self.secrets);
        scene.tree.visit(top, &mut |path, node| {
            let making =
                node.is_directory() && path.name().is_some_and(|name| WORKSHOP_DIRECTORIES.contains(&name));
            let wanted = path == top || !(making || skip(path, node));
            if wanted && !secrets.withholds(path, reason) {
                found.push(path.clone());
                bytes += if node.is_file() { node.meta.size } else { 0 };
            }
            wanted
        });
        (found, bytes)
    }

    /// Keeps what the globs of `--keep` match, each with all below it.
    pub(super) fn keep_asked(&mut self) {
        if self.keep.is_empty() {
            return;
        }
        let mut asked = Vec::new();
        self.scene.tree.visit(&RootPath::root(), &mut |path, _| {
            if self.keep.covers(path) {
                asked.push(path.clone());
            }
            true
        });
        asked.iter().filter(|path| !is_foreign(path)).for_each(|path| self.keep(path, Reason::Asked, None));
    }

    /// Meets the needs of every program and library that was added, and of those it brings along.
    pub(super) fn settle(&mut self) {
        while let Some(Waiting { path, inherited }) = self.waiting.pop() {
            if let Some(program) = elf::read(&self.scene.tree, &path) {
                self.meet_elf(&path, &program, inherited);
            } else if let Some(interpreter) = script::interpreter(self.scene, &path) {
                self.keep_library(&interpreter, &path, Vec::new());
            }
        }
    }

    fn meet_elf(&mut self, path: &RootPath, program: &elf::Program, inherited: Vec<Vec<u8>>) {
        let mut inherited = inherited;
        inherited.extend(program.rpath.iter().map(|dir| self.loader.expand(dir, path)));
        if let Some(interpreter) = program.interpreter.as_deref().and_then(RootPath::normalise) {
            self.keep_library(&interpreter, path, Vec::new());
        }
        for name in &program.needed {
            let Some(found) = self.loader.find(name, path, program, &inherited) else { continue };
            if found.by_cache {
                let cache = super::scene::at(super::loader::CACHE);
                self.add(&cache, Kept { because_of: Some(path.clone()), ..plain(Reason::Library) }, true);
            }
            self.keep_library(&found.path, path, inherited.clone());
        }
    }

    fn keep_library(&mut self, path: &RootPath, because_of: &RootPath, inherited: Vec<Vec<u8>>) {
        self.add(path, Kept { because_of: Some(because_of.clone()), ..plain(Reason::Library) }, true);
        if let Some(real) = self.scene.tree.real(path) {
            self.close(real, inherited);
        }
    }

    /// Notes that the needs of `real` are to be met.
    fn close(&mut self, real: RootPath, inherited: Vec<Vec<u8>>) {
        let file = self.scene.node(&real).is_some_and(Node::is_file);
        if file && !self.is_dropped(&real) && self.closed.insert(real.clone()) {
            self.waiting.push(Waiting { path: real, inherited });
        }
    }

    /// Whether it is worth looking into: executable, or called like a library.
    fn may_be_program(&self, real: &RootPath) -> bool {
        let node = self.scene.node(real).filter(|node| node.is_file());
        let library = || real.name().is_some_and(|name| name.windows(3).any(|part| part == b".so"));
        node.is_some_and(|node| node.meta.mode & 0o111 != 0 || library())
    }

    /// Adds `path`, the symlinks on the way to it and, if asked for, what it leads to.
    fn add(&mut self, path: &RootPath, kept: Kept, target_too: bool) {
        let entry = self.scene.tree.resolve_entry(path);
        let reason = kept.reason;
        if self.scene.node(&entry.end).is_some_and(|node| matches!(node.kind, Kind::Special)) {
            self.add_way(&entry, path);
            return;
        }
        if entry.found && self.insert(&entry.end, kept) {
            self.add_links(&entry.links, path);
            let is_link = matches!(self.scene.node(&entry.end), Some(Node { kind: Kind::Link(_), .. }));
            if is_link && target_too {
                self.add_target(&entry.end, reason);
            }
        }
    }

    /// Adds the way to a socket, which is made anew in the same place, by the same name.
    fn add_way(&mut self, entry: &Way, path: &RootPath) {
        let kept = Kept { because_of: Some(path.clone()), ..plain(Reason::Ancestor) };
        if !self.is_dropped(&entry.end) && entry.end.parent().is_some_and(|parent| self.insert(&parent, kept))
        {
            self.add_links(&entry.links, path);
        }
    }

    /// Adds what `link` leads to, which was added for `reason`.
    fn add_target(&mut self, link: &RootPath, reason: Reason) {
        let way = self.scene.tree.resolve(link);
        if self.secrets.withholds(&way.end, reason) {
            return;
        }
        self.add_links(&way.links, link);
        if way.found {
            self.add(&way.end, Kept { because_of: Some(link.clone()), ..plain(Reason::Link) }, false);
        }
    }

    fn add_links(&mut self, links: &[RootPath], because_of: &RootPath) {
        for link in links {
            let kept = Kept { because_of: Some(because_of.clone()), ..plain(Reason::Link) };
            self.insert(link, kept);
        }
    }

    /// Adds the node that really is at `path`, with its ancestors; false if it may not be.
    fn insert(&mut self, path: &RootPath, kept: Kept) -> bool {
        if is_foreign(path) && kept.reason != Reason::MountPoint || self.refused(path, &kept) {
            return false;
        }
        if self.secrets.withholds(path, kept.reason) {
            return false;
        }
        if self.scene.node(path).is_none_or(|node| matches!(node.kind, Kind::Special)) {
            return false;
        }
        for ancestor in path.ancestors() {
            let above = Kept { because_of: Some(path.clone()), ..plain(Reason::Ancestor) };
            self.kept.entry(ancestor).or_insert(above);
        }
        match self.kept.get_mut(path) {
            None => drop(self.kept.insert(path.clone(), kept)),
            Some(old) => merge(old, kept),
        }
        true
    }

    fn is_dropped(&self, path: &RootPath) -> bool {
        self.drop.covers(path) && !self.keep.covers(path)
    }

    /// Whether `--drop` refuses `path`; says so if it was used.
    fn refused(&mut self, path: &RootPath, kept: &Kept) -> bool {
        let refused = self.is_dropped(path) && kept.reason != Reason::MountPoint;
        if refused && kept.reason == Reason::Used {
            self.warnings.push(format!("{path} was used in the test and is left out by --drop"));
        }
        refused
    }

    /// Whether what is at `path` is kept.
    pub(super) fn has(&self, path: &RootPath) -> bool {
        self.kept.contains_key(&self.scene.tree.resolve_entry(path).end)
    }

    /// Keeps the directory or file `path` as something that is mounted on.
    pub(super) fn keep_mount_point(&mut self, path: &RootPath) {
        self.add(path, plain(Reason::MountPoint), true);
    }

    /// What is kept, and what is to be said about it.
    pub(super) fn finish(mut self) -> (BTreeMap<RootPath, Kept>, Vec<String>) {
        self.kept.entry(RootPath::root()).or_insert_with(|| plain(Reason::Ancestor));
        self.warnings.extend(self.keep.idle());
        self.warnings.extend(self.drop.idle());
        self.warnings.extend(self.secrets.warnings(&self.kept));
        (self.kept, self.warnings)
    }
}

fn plain(reason: Reason) -> Kept {
    Kept { reason, how: BTreeSet::new(), by: BTreeSet::new(), because_of: None }
}

/// The first reason stays, but any is better than lying on the way to something else.
fn merge(old: &mut Kept, new: Kept) {
    let (how, by) = (std::mem::take(&mut old.how), std::mem::take(&mut old.by));
    if old.reason == Reason::Ancestor || new.reason == Reason::Used {
        *old = new.clone();
    }
    old.how.extend(how.into_iter().chain(new.how));
    old.by.extend(by.into_iter().chain(new.by));
}
