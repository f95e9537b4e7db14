//! What a run changed: the upper directory of an overlay beside what it covered.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use spec::observation::Written;
use spec::{ResultExt, RootPath};

/// Walks `upper`, the writable layer of an overlay mounted at `at` in the container, and says
/// what was created, changed and removed in comparison with `lower` (the merged state before).
/// Sizes are those of the moment.
pub fn written(upper: &Path, lower: &Path, at: &RootPath) -> spec::Result<BTreeMap<RootPath, Written>> {
    let mut walk = Walk { lower: lower.to_owned(), at: at.clone(), found: BTreeMap::new() };
    walk.directory(upper, &RootPath::root())?;
    Ok(walk.found)
}

struct Walk {
    lower: PathBuf,
    at: RootPath,
    found: BTreeMap<RootPath, Written>,
}

impl Walk {
    /// Compares one directory of the upper layer.
    fn directory(&mut self, upper: &Path, path: &RootPath) -> spec::Result<()> {
        if let Some(old) = self.below(path).filter(Metadata::is_dir) {
            let new = fs::symlink_metadata(upper).doing(|| format!("looking at {}", upper.display()))?;
            self.compare_directories(path, &old, &new);
            if covers(upper) {
                self.hidden(path)?;
            }
        }
        for entry in entries(upper)? {
            self.entry(&entry, &path.join(entry.file_name().as_bytes()))?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, path: &RootPath) -> spec::Result<()> {
        let doing = || format!("looking at {}", entry.path().display());
        let new = fs::symlink_metadata(entry.path()).doing(doing)?;
        let old = self.below(path);
        if is_whiteout(&entry.path(), &new) {
            if old.is_some() {
                self.put(path, Written::Removed);
            }
            return Ok(());
        }
        let bytes = if new.is_dir() { 0 } else { new.len() };
        match &old {
            None => self.put(path, Written::Created { bytes }),
            Some(old) if old.is_dir() && new.is_dir() => {}
            Some(_) => self.put(path, Written::Changed { bytes }),
        }
        if new.is_dir() {
            self.directory(&entry.path(), path)?;
        } else if old.as_ref().is_some_and(Metadata::is_dir) {
            self.hidden(path)?;
        }
        Ok(())
    }

    /// A directory that exists in both layers.
    fn compare_directories(&mut self, path: &RootPath, old: &Metadata, new: &Metadata) {
        let owner = |meta: &Metadata| (meta.mode(), meta.uid(), meta.gid());
        if owner(old) != owner(new) {
            self.put(path, Written::Changed { bytes: 0 });
        } else if (old.mtime(), old.mtime_nsec()) != (new.mtime(), new.mtime_nsec()) {
            self.put(path, Written::Entries);
        }
    }

    /// Everything that the lower layers have below `path` is hidden, unless it was made again.
    fn hidden(&mut self, path: &RootPath) -> spec::Result<()> {
        for entry in entries(&self.lower.join(path.relative()))? {
            let path = path.join(entry.file_name().as_bytes());
            self.put(&path, Written::Removed);
        }
        Ok(())
    }

    fn below(&self, path: &RootPath) -> Option<Metadata> {
        fs::symlink_metadata(self.lower.join(path.relative())).ok()
    }

    fn put(&mut self, path: &RootPath, what: Written) {
        let names = path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let path = names.fold(self.at.clone(), |at, name| at.join(name));
        self.found.insert(path, what);
    }
}

fn entries(directory: &Path) -> spec::Result<Vec<DirEntry>> {
    let doing = || format!("listing {}", directory.display());
    fs::read_dir(directory).doing(doing)?.collect::<Result<_, _>>().doing(doing)
}

/// A character device 0/0, or an empty file with the whiteout attribute.
fn is_whiteout(path: &Path, meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
        || meta.is_file() && meta.len() == 0 && attribute(path, "whiteout").is_some()
}

/// What the lower layers have at the same path does not show through: the directory is new, or is
/// another one that was renamed to here (whose own content counts as created with it).
fn covers(directory: &Path) -> bool {
    attribute(directory, "opaque").as_deref() == Some(b"y") || attribute(directory, "redirect").is_some()
}

/// An overlay attribute of either kind (trusted, or user where it was mounted without privilege).
fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    ["trusted", "user"].iter().find_map(|kind| {
        let name = format!("{kind}.overlay.{name}");
        let mut value = vec![0u8; 4096];
        let length = rustix::fs::lgetxattr(path, OsStr::new(&name), &mut value).ok()?;
        value.truncate(length);
        Some(value)
    })
}
