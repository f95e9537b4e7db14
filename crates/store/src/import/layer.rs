//! Applying layers, one over the other.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;

use rustix::fs::FileType;
use spec::{Error, Result, RootPath};

use super::{Config, Imported};
use crate::limits;
use crate::meta::{Meta, portable_xattr};
use crate::stream::Pieces;
use crate::tarball::{Entry, Reader, What};
use crate::tree::Tree;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// More warnings than this help nobody.
const WARNINGS: usize = 50;

/// A root file system in the making.
pub(super) struct Layers {
    tree: Tree,
    /// Names with `.wh.` mean deletions: in layers, not in a plain tar.
    whiteouts: bool,
    /// What the current layer made, and the directories above it: no deletion of its own hides it.
    current: HashSet<RootPath>,
    entries: u64,
    imported: Imported,
    xattrs: BTreeSet<String>,
    untold: usize,
}

impl Layers {
    pub(super) fn new(tree: Tree, whiteouts: bool) -> Self {
        let (current, imported, xattrs) = (HashSet::new(), Imported::default(), BTreeSet::new());
        Self { tree, whiteouts, current, entries: 0, imported, xattrs, untold: 0 }
    }

    /// Applies one layer. `marked`: it must have an end mark, because no digest says that it is complete.
    pub(super) fn apply(&mut self, pieces: &mut Pieces<'_>, marked: bool) -> Result<()> {
        self.current.clear();
        let mut reader = Reader::lenient(pieces).at_most(limits::ENTRIES - self.entries);
        while let Some(entry) = reader.next()? {
            self.entries += 1;
            self.entry(entry, &mut reader)?;
        }
        match reader.ended() || !marked {
            true => Ok(()),
            false => Err(Error::user("the archive is truncated: it has no end mark")),
        }
    }

    /// Puts the metadata onto the directories.
    pub(super) fn finish(mut self, config: Option<Config>) -> Result<Imported> {
        if !self.xattrs.is_empty() {
            let names: Vec<_> = self.xattrs.iter().take(10).cloned().collect();
            self.imported
                .warnings
                .push(format!("xattrs that belong to a host were left out: {}", names.join(", ")));
        }
        if self.untold > 0 {
            self.imported.warnings.push(format!("and {} more", self.untold));
        }
        self.tree.finish()?;
        self.imported.config = config;
        Ok(self.imported)
    }

    fn entry(&mut self, entry: Entry, data: &mut dyn Read) -> Result<()> {
        let Entry { path, what, mut meta } = entry;
        if path.parent().is_some_and(|parent| parent.is_within(&dev())) {
            return Ok(()); // the runtime's business, and a tar of a root always has some of it
        }
        if let Some(name) = path.name().filter(|name| self.whiteouts && name.starts_with(WHITEOUT)) {
            return self.whiteout(&path, name);
        }
        if matches!(what, What::Device) {
            self.warn(format!("{path} is a device node and was left out"));
            return Ok(());
        }
        self.drop_xattrs(&mut meta);
        self.make(&path, what, meta, data)?;
        if self.whiteouts {
            self.current.extend(path.ancestors());
            self.current.insert(path);
        }
        Ok(())
    }

    fn make(&mut self, path: &RootPath, what: What, meta: Meta, data: &mut dyn Read) -> Result<()> {
        if matches!(&what, What::Hardlink { target } if target == path) {
            return Err(Error::user(format!("entry {path} is a hard link to itself")));
        }
        match (self.tree.kind(path)?, &what) {
            (Some(FileType::Directory), What::Directory) => {
                self.tree.describe(path.clone(), meta);
                return Ok(());
            }
            (Some(_), _) => drop(self.tree.remove(path)?),
            (None, _) => {}
        }
        match what {
            What::Directory => self.tree.directory(path, meta),
            What::File { size } => {
                self.imported.files += 1;
                self.imported.bytes += size;
                self.tree.file(path, &meta, size, data).map(drop)
            }
            What::Symlink { target } => {
                self.imported.files += 1;
                self.tree.symlink(path, &meta, &target)
            }
            What::Hardlink { target } => self.tree.hardlink(path, &target, true),
            What::Fifo => self.tree.fifo(path, &meta),
            What::Device => Ok(()),
        }
    }

    fn whiteout(&mut self, path: &RootPath, name: &[u8]) -> Result<()> {
        let parent = path.parent().unwrap_or_else(RootPath::root);
        if name == OPAQUE {
            return match self.tree.kind(&parent)? {
                Some(FileType::Directory) => self.hide_below(&parent),
                _ => Ok(()),
            };
        }
        match &name[WHITEOUT.len()..] {
            b"" | b"." | b".." => Err(Error::user(format!("entry {path} is an invalid whiteout"))),
            // Marks of the aufs file system, which have no meaning here.
            hidden if hidden.starts_with(WHITEOUT) => Ok(()),
            hidden => self.hide(&parent.join(hidden)),
        }
    }

    /// Removes what lower layers have at `path`.
    fn hide(&mut self, path: &RootPath) -> Result<()> {
        if !self.current.contains(path) {
            return self.tree.remove(path).map(drop);
        }
        match self.tree.kind(path)? {
            Some(FileType::Directory) => self.hide_below(path),
            _ => Ok(()),
        }
    }

    fn hide_below(&mut self, directory: &RootPath) -> Result<()> {
        self.tree.children(directory)?.iter().try_for_each(|child| self.hide(child))
    }

    fn drop_xattrs(&mut self, meta: &mut Meta) {
        meta.xattrs.retain(|name, _| {
            let kept = portable_xattr(name);
            if !kept && self.xattrs.len() < WARNINGS {
                self.xattrs.insert(name.escape_ascii().to_string());
            }
            kept
        });
    }

    fn warn(&mut self, warning: String) {
        if self.imported.warnings.len() < WARNINGS {
            self.imported.warnings.push(warning);
        } else {
            self.untold += 1;
        }
    }
}

fn dev() -> RootPath {
    RootPath::root().join(b"dev")
}
