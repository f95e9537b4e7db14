//! Copying in and out of containers.
//!
//! Everything is reached from a descriptor of the root that it is in (openat2 with
//! RESOLVE_IN_ROOT): whatever a container makes of its paths while we copy, we stay in it. Nothing
//! of the container is executed or loaded (2018-15664, 2019-14271).

mod place;
mod root;
mod stream;
mod tree;
mod walk;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use spec::{Error, Result};

use place::Placing;
pub use tree::Tree;
use walk::Walk;

/// What is kept, and what is followed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices {
    /// Set-id bits and file capabilities are kept on the way out of a container.
    pub archive: bool,
    /// A link that is named itself is followed.
    pub follow: bool,
}

/// What a copy consisted of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Sockets and devices, which are left out.
    pub skipped: u64,
}

/// Something in a tree.
#[derive(Debug)]
pub struct Spot<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// As it was typed: a last `/` or `/.` has a meaning.
    pub path: PathBuf,
}

impl Spot<'_> {
    fn ends_with(&self, end: &str) -> bool {
        self.path.as_os_str().as_bytes().ends_with(end.as_bytes())
    }

    /// Its content is meant, not itself.
    fn means_content(&self) -> bool {
        self.ends_with("/.") || self.path.as_os_str() == "."
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_else(|| OsStr::new("."))
    }

    fn kind(&self, follow: bool) -> Result<Option<FileType>> {
        self.tree.kind(&self.path, follow || self.ends_with("/"))
    }
}

/// Copies as cp(1) and Docker do: into a directory that is there, else under the new name; the
/// content of a directory if the source ends with `/.`.
///
/// # Errors
/// What is missing, in the way, or read-only.
pub fn copy(from: &Spot<'_>, to: &Spot<'_>, choices: Choices) -> Result<Copied> {
    let kind = from.kind(choices.follow)?.ok_or_else(|| from.tree.missing(&from.path))?;
    let base = match (to.kind(true)?, kind) {
        (Some(FileType::Directory), FileType::Directory) if from.means_content() => to.path.clone(),
        (Some(FileType::Directory), _) => to.path.join(from.name()),
        (Some(_), FileType::Directory) => {
            return Err(Error::conflict(format!("{} is no directory", to.tree.shown(&to.path)))
                .hint("a directory can only be copied into a directory, or to a new name"));
        }
        (None, FileType::Directory) => to.path.clone(),
        (None, _) if to.ends_with("/") => return Err(to.tree.missing(&to.path)),
        (Some(_) | None, _) => to.path.clone(),
    };
    let named = base == to.path;
    let mut placing = Placing::new(to.tree, base, named);
    Walk::new(from.tree, &from.path, choices).all(&mut placing)
}

/// Writes what is at `from` as a tar archive.
///
/// # Errors
/// What is missing, or cannot be written.
pub fn pack(from: &Spot<'_>, out: &mut dyn Write, choices: Choices) -> Result<Copied> {
    from.kind(choices.follow)?.ok_or_else(|| from.tree.missing(&from.path))?;
    let name = if from.means_content() { Path::new("") } else { Path::new(from.name()) };
    let mut packing = stream::Packing::new(out, name);
    let copied = Walk::new(from.tree, &from.path, choices).all(&mut packing)?;
    packing.finish()?;
    Ok(copied)
}

/// Unpacks a tar archive into the directory `to`, which must be there.
///
/// # Errors
/// An archive that is damaged or leads outside; what is in the way, or read-only.
pub fn unpack(archive: &mut dyn Read, to: &Spot<'_>) -> Result<Copied> {
    match to.kind(true)? {
        Some(FileType::Directory) => {}
        Some(_) => return Err(Error::conflict(format!("{} is no directory", to.tree.shown(&to.path)))),
        None => return Err(to.tree.missing(&to.path)),
    }
    let mut placing = Placing::new(to.tree, to.path.clone(), true);
    stream::unpack(archive, &mut placing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags};
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree(dir: &Path, foreign: bool) -> Tree {
        let root = rustix::fs::openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        let mut tree = Tree::of(root.expect("root"), String::new());
        tree.foreign = foreign;
        tree
    }

    /// A copy brings links out of a container; the container then puts something else in their place.
    #[test]
    fn the_next_copy_is_not_written_through_links_of_the_last() {
        let (container, host) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let (inside, outside) = (container.path(), host.path());
        for dir in ["backup", "etc"] {
            fs::create_dir(outside.join(dir)).expect(dir);
        }
        fs::write(outside.join("passwd"), "host").expect("write");
        fs::create_dir(inside.join("d")).expect("d");
        symlink("/passwd", inside.join("d/file")).expect("link");
        symlink("/etc", inside.join("d/dir")).expect("link");
        let again = || {
            let (from, to) = (tree(inside, true), tree(outside, false));
            let from = Spot { tree: &from, path: "/d".into() };
            copy(&from, &Spot { tree: &to, path: "/backup".into() }, Choices::default())
        };
        again().expect("the first copy");
        assert!(outside.join("backup/d/file").is_symlink());

        fs::remove_file(inside.join("d/file")).expect("remove");
        fs::write(inside.join("d/file"), "container").expect("write");
        again().expect("a link is replaced by a file");
        assert_eq!(fs::read(outside.join("passwd")).expect("passwd"), b"host");
        assert_eq!(fs::read(outside.join("backup/d/file")).expect("file"), b"container");

        fs::remove_file(inside.join("d/dir")).expect("remove");
        fs::create_dir(inside.join("d/dir")).expect("dir");
        fs::write(inside.join("d/dir/cron"), "container").expect("write");
        assert!(again().is_err(), "a link is no directory");
        assert!(!outside.join("etc/cron").exists());
    }
}
