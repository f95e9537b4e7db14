//! The side that is copied to.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use spec::{Error, Result};

use super::tree::{Meta, Tree};
use super::walk::Sink;

/// Places what comes in a tree. Every name is looked up from the root again.
pub(super) struct Placing<'a> {
    tree: &'a Tree,
    base: PathBuf,
    /// The base was named itself, not only the directory that it is in.
    named: bool,
}

impl<'a> Placing<'a> {
    pub(super) fn new(tree: &'a Tree, base: PathBuf, named: bool) -> Self {
        Self { tree, base, named }
    }

    /// Whether a link that is there leads to what is meant. In a container it stays in that. On the
    /// host it may be one that an earlier copy has brought out of a container: then what comes now
    /// would be written where the container likes.
    fn follows(&self, path: &Path) -> bool {
        self.tree.foreign || self.named && path.as_os_str().is_empty()
    }

    fn whole(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.base.clone() } else { self.base.join(path) }
    }

    /// Does something with the last component of a path in the directory that holds it.
    fn at<T>(
        &self,
        what: &str,
        path: &Path,
        work: impl FnOnce(BorrowedFd<'_>, &Path) -> io::Result<T>,
    ) -> Result<T> {
        let whole = self.whole(path);
        let name = whole.file_name().map_or(Path::new("."), Path::new);
        let parent = self.tree.parent(&whole)?;
        work(parent.as_fd(), name).map_err(|cause| self.tree.failed(what, &whole, cause))
    }

    fn own(&self, file: BorrowedFd<'_>, meta: &Meta) -> io::Result<()> {
        let (uid, gid) = self.tree.owner(meta);
        // The owner first: changing it clears set-id bits and file capabilities.
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode))?;
        for (name, value) in &meta.attributes {
            match rustix::fs::fsetxattr(file, name.as_c_str(), value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP) => {}
                result => result?,
            }
        }
        let (tv_sec, tv_nsec) = meta.modified;
        let time = Timespec { tv_sec, tv_nsec };
        Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
    }

    fn own_name(&self, at: BorrowedFd<'_>, name: &Path, meta: &Meta) -> io::Result<()> {
        let (uid, gid) = self.tree.owner(meta);
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(rustix::fs::chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl Sink for Placing<'_> {
    fn directory(&mut self, path: &Path, _: &Meta) -> Result<()> {
        if self.tree.kind(&self.whole(path), self.follows(path))? == Some(FileType::Directory) {
            return Ok(());
        }
        self.at("making", path, |at, name| Ok(rustix::fs::mkdirat(at, name, Mode::RWXU)?))
    }

    fn leave(&mut self, path: &Path, meta: &Meta) -> Result<()> {
        let whole = self.whole(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = self.tree.open(&whole, flags, Mode::empty()).map_err(io::Error::from);
        let owned = opened.and_then(|directory| self.own(directory.as_fd(), meta));
        owned.map_err(|cause| self.tree.failed("setting the owner of", &whole, cause))
    }

    fn file(&mut self, path: &Path, meta: &Meta, _: u64, content: &mut dyn Read) -> Result<u64> {
        let whole = self.whole(path);
        if let Some(existing) = self.existing(&whole, self.follows(path))? {
            return self
                .overwrite(&existing, content, meta)
                .map_err(|cause| self.tree.failed("writing", &whole, cause));
        }
        self.at("writing", path, |at, name| {
            let temporary = temporary()?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = File::from(rustix::fs::openat(at, &*temporary, flags, Mode::RUSR | Mode::WUSR)?);
            let placed = self.fill(made, content, meta).and_then(|count| {
                rustix::fs::renameat(at, &*temporary, at, name)?;
                Ok(count)
            });
            if placed.is_err() {
                // The first failure is the one to tell.
                let _ = rustix::fs::unlinkat(at, &*temporary, AtFlags::empty());
            }
            placed
        })
    }

    fn link(&mut self, path: &Path, meta: &Meta, target: &Path) -> Result<()> {
        self.at("making", path, |at, name| {
            replace(at, name, |at, name| rustix::fs::symlinkat(target, at, name))?;
            self.own_name(at, name, meta)
        })
    }

    fn name(&mut self, path: &Path, first: &Path) -> Result<()> {
        let whole = self.whole(first);
        let source = self.tree.parent(&whole)?;
        let file = whole.file_name().map_or(Path::new("."), Path::new).to_owned();
        self.at("making", path, |at, name| {
            replace(at, name, |at, name| rustix::fs::linkat(&source, &file, at, name, AtFlags::empty()))
        })
    }

    fn pipe(&mut self, path: &Path, meta: &Meta) -> Result<()> {
        self.at("making", path, |at, name| {
            let mode = Mode::from_raw_mode(meta.mode & 0o777);
            replace(at, name, |at, name| rustix::fs::mknodat(at, name, FileType::Fifo, mode, 0))?;
            self.own_name(at, name, meta)
        })
    }
}

impl Placing<'_> {
    /// What a file is written into rather than replaced: behind a link, or a mount of its own.
    /// Held by a descriptor that opens nothing, so that a pipe or device in its place does nothing.
    fn existing(&self, whole: &Path, follows: bool) -> Result<Option<OwnedFd>> {
        let direct = self.tree.open(whole, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
        let Ok(direct) = direct else { return Ok(None) };
        let link =
            FileType::from_raw_mode(self.tree.stat(direct.as_fd(), whole)?.st_mode) == FileType::Symlink;
        if link && !follows {
            return Ok(None);
        }
        let Ok(target) = self.tree.open(whole, OFlags::PATH, Mode::empty()) else { return Ok(None) };
        match FileType::from_raw_mode(self.tree.stat(target.as_fd(), whole)?.st_mode) {
            FileType::Directory => {
                let error = Error::conflict(format!("{} is a directory", self.tree.shown(whole)));
                Err(error.hint("a file does not replace a directory"))
            }
            FileType::RegularFile if link || is_mount_point(&target) => Ok(Some(target)),
            _ => Ok(None),
        }
    }

    fn overwrite(&self, existing: &OwnedFd, content: &mut dyn Read, meta: &Meta) -> io::Result<u64> {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(existing));
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty())?;
        self.fill(File::from(opened), content, meta)
    }

    fn fill(&self, mut file: File, content: &mut dyn Read, meta: &Meta) -> io::Result<u64> {
        let count = io::copy(content, &mut file)?;
        self.own(file.as_fd(), meta)?;
        Ok(count)
    }
}

/// Makes something new in place of what is there, unless that is a directory.
fn replace(
    at: BorrowedFd<'_>,
    name: &Path,
    make: impl Fn(BorrowedFd<'_>, &Path) -> Result<(), Errno>,
) -> io::Result<()> {
    match make(at, name) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(at, name, AtFlags::empty())?;
            Ok(make(at, name)?)
        }
        made => Ok(made?),
    }
}

fn temporary() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".tsubo-cp-{:016x}", u64::from_ne_bytes(bytes)))
}

fn is_mount_point(file: &OwnedFd) -> bool {
    let flags = AtFlags::EMPTY_PATH;
    let seen = rustix::fs::statx(file, c"", flags, rustix::fs::StatxFlags::BASIC_STATS);
    seen.is_ok_and(|seen| seen.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}
