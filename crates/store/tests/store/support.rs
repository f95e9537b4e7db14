//! Archives made byte by byte, and trees looked at without the crate under test.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spec::portable::Portable;
use spec::report::{Cut, Report};
use spec::{Error, RootPath};
use tempfile::TempDir;
use tsubo_store::package::{self, Source, Written};
use tsubo_store::{Image, Install, Store};

pub(crate) use crate::forge::{Forge, Tar, sha256};

pub(crate) const SWIFT: Install = Install { sync: false };

pub(crate) fn quiet(_: u64, _: u64) {}

pub(crate) fn path(text: &str) -> RootPath {
    text.parse().expect(text)
}

pub(crate) fn portable() -> Portable {
    Portable::new("web".parse().expect("a name"), vec!["/bin/web".to_owned()])
}

pub(crate) fn report() -> Report {
    Report {
        files: 1,
        bytes: 2,
        base_files: 3,
        base_bytes: 4,
        closure: "exact".to_owned(),
        observation: None,
        distribution_packages: Vec::new(),
        base_packages: 0,
        directories: Vec::new(),
        kept: BTreeMap::new(),
        capabilities: BTreeMap::new(),
        curve: spec::observation::Curve::default(),
        cut: Cut::default(),
    }
}

/// Every path below `base`.
pub(crate) fn all_paths(base: &Path) -> BTreeSet<RootPath> {
    listing(base).into_keys().map(|name| RootPath::strict(&name).expect("a path")).collect()
}

/// Packs all of `base`.
pub(crate) fn pack(base: &Path, out: &Path) -> Written {
    let source = Source { base, paths: &all_paths(base), empty: BTreeMap::new() };
    package::write(out, &source, &portable(), &report(), &quiet).expect("packed")
}

/// All that can be seen of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    /// Content of a file, target of a symlink.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of this inode, in order.
    pub(crate) first_name: Vec<u8>,
}

/// The facts of every path below `base`, by its name relative to it (empty for `base` itself).
pub(crate) fn listing(base: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut names = BTreeSet::from([Vec::new()]);
    let mut pending = vec![base.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).expect("listed") {
            let path = entry.expect("an entry").path();
            names.insert(path.strip_prefix(base).expect("below").as_os_str().as_bytes().to_vec());
            if path.symlink_metadata().expect("lstat").is_dir() {
                pending.push(path);
            }
        }
    }
    let mut inodes = BTreeMap::new();
    names.into_iter().map(|name| (name.clone(), facts(base, &name, &mut inodes))).collect()
}

fn facts(base: &Path, name: &[u8], inodes: &mut BTreeMap<u64, Vec<u8>>) -> Facts {
    let path = if name.is_empty() { base.to_owned() } else { base.join(std::ffi::OsStr::from_bytes(name)) };
    let meta = path.symlink_metadata().expect("lstat");
    let content = match meta.file_type() {
        kind if kind.is_file() => std::fs::read(&path).expect("read"),
        kind if kind.is_symlink() => std::fs::read_link(&path).expect("link").as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Facts {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        content,
        xattrs: if meta.is_symlink() { BTreeMap::new() } else { xattrs(&path) },
        first_name: inodes.entry(meta.ino()).or_insert_with(|| name.to_vec()).clone(),
    }
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("llistxattr");
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("lgetxattr");
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// A store in a directory of its own, with room for a package beside it.
pub(crate) struct Yard {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("state")).expect("opened");
        Self { dir, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn install(&self, package: &[u8]) -> Result<Image, Error> {
        let path = self.path("x.tsubo");
        std::fs::write(&path, package).expect("written");
        self.store.install(&path, SWIFT, &quiet)
    }

    /// Files in the store: `(objects, images, things in tmp)`.
    pub(crate) fn left(&self) -> (usize, usize, usize) {
        let state = self.path("state");
        let shelves = std::fs::read_dir(state.join("objects")).expect("listed");
        let objects = shelves.map(|shelf| count(&shelf.expect("a shelf").path())).sum();
        (objects, count(&state.join("images")), count(&state.join("tmp")))
    }
}

pub(crate) fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("listed").count()
}
