//! The side that is copied from.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use spec::{Error, Result};

use super::tree::{Meta, Tree};
use super::{Choices, Copied};

/// Deeper trees are refused: each level holds a descriptor.
const MAX_DEPTH: usize = 200;

/// Who takes what is found. Paths are relative to what is copied; that itself is the empty path.
pub(super) trait Sink {
    /// A directory, before its entries.
    fn directory(&mut self, path: &Path, meta: &Meta) -> Result<()>;
    /// The same directory, after them.
    fn leave(&mut self, path: &Path, meta: &Meta) -> Result<()>;
    /// A file with so many bytes.
    fn file(&mut self, path: &Path, meta: &Meta, length: u64, content: &mut dyn std::io::Read)
    -> Result<u64>;
    /// A symbolic link.
    fn link(&mut self, path: &Path, meta: &Meta, target: &Path) -> Result<()>;
    /// A further name of a file that came before.
    fn name(&mut self, path: &Path, first: &Path) -> Result<()>;
    /// A named pipe.
    fn pipe(&mut self, path: &Path, meta: &Meta) -> Result<()>;
}

/// Walks over one thing in a tree with everything below it.
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    start: PathBuf,
    choices: Choices,
    copied: Copied,
    /// Files with several names: device, inode, the first of them.
    seen: BTreeMap<(u64, u64), PathBuf>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree, start: &Path, choices: Choices) -> Self {
        Self { tree, start: start.to_owned(), choices, copied: Copied::default(), seen: BTreeMap::new() }
    }

    pub(super) fn all(mut self, sink: &mut dyn Sink) -> Result<Copied> {
        let follows = self.choices.follow || self.start.as_os_str().as_bytes().ends_with(b"/");
        let flags = if follows { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        let opened = self.tree.open(&self.start, flags, Mode::empty());
        let opened = opened.map_err(|errno| self.failed("opening", Path::new(""), errno))?;
        let status = self.tree.stat(opened.as_fd(), &self.start)?;
        self.entry(opened.as_fd(), c"", Path::new(""), &status, sink, 0)?;
        Ok(self.copied)
    }

    fn failed(&self, what: &str, path: &Path, errno: Errno) -> Error {
        let whole = if path.as_os_str().is_empty() { self.start.clone() } else { self.start.join(path) };
        self.tree.failed(what, &whole, errno.into())
    }

    /// What `name` in `at` is, or `at` itself where that is empty.
    fn entry(
        &mut self,
        at: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        status: &Stat,
        sink: &mut dyn Sink,
        depth: usize,
    ) -> Result<()> {
        let plain = |walk: &Self| walk.tree.meta(status, Vec::new());
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => self.directory(at, name, path, sink, depth)?,
            FileType::RegularFile => self.file(at, name, path, sink)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at, name, Vec::new());
                let target = target.map_err(|errno| self.failed("reading the link", path, errno))?;
                sink.link(path, &plain(self), Path::new(OsStr::from_bytes(target.to_bytes())))?;
            }
            FileType::Fifo => sink.pipe(path, &plain(self))?,
            _ => {
                self.copied.skipped += 1;
                return Ok(());
            }
        }
        self.copied.entries += 1;
        Ok(())
    }

    /// Opened anew for reading: what it is may have changed since it was looked at, so that is
    /// looked at again behind the descriptor.
    fn reopen(&self, at: BorrowedFd<'_>, name: &CStr, path: &Path, kind: OFlags) -> Result<(OwnedFd, Stat)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | kind;
        let opened = match name.is_empty() {
            // The same inode, by the magic link of our own descriptor: no name of the tree is used.
            true => rustix::fs::open(
                format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&at)),
                flags,
                Mode::empty(),
            ),
            false => rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty()),
        };
        let opened = opened.map_err(|errno| self.failed("opening", path, errno))?;
        let status = self.tree.stat(opened.as_fd(), path)?;
        Ok((opened, status))
    }

    fn file(&mut self, at: BorrowedFd<'_>, name: &CStr, path: &Path, sink: &mut dyn Sink) -> Result<()> {
        let (opened, status) = self.reopen(at, name, path, OFlags::empty())?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Error::conflict(format!(
                "{} was exchanged while it was copied",
                self.tree.shown(path)
            )));
        }
        if status.st_nlink > 1 {
            let inode = (status.st_dev, status.st_ino);
            if let Some(first) = self.seen.get(&inode) {
                return sink.name(path, first);
            }
            self.seen.insert(inode, path.to_owned());
        }
        let meta = self.full_meta(opened.as_fd(), path, &status)?;
        let mut file = File::from(opened);
        self.copied.bytes += sink.file(path, &meta, status.st_size as u64, &mut file)?;
        Ok(())
    }

    fn directory(
        &mut self,
        at: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        sink: &mut dyn Sink,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::unsupported(format!(
                "{}: directories are nested more than {MAX_DEPTH} deep",
                self.tree.shown(path)
            )));
        }
        let (opened, status) = self.reopen(at, name, path, OFlags::DIRECTORY)?;
        let meta = self.full_meta(opened.as_fd(), path, &status)?;
        sink.directory(path, &meta)?;
        for name in self.names(&opened, path)? {
            let below = path.join(OsStr::from_bytes(name.to_bytes()));
            match rustix::fs::statat(&opened, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // It was removed meanwhile, as in every busy directory.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.failed("looking at", &below, errno)),
                Ok(status) => self.entry(opened.as_fd(), &name, &below, &status, sink, depth + 1)?,
            }
        }
        sink.leave(path, &meta)
    }

    fn names(&self, directory: &OwnedFd, path: &Path) -> Result<Vec<CString>> {
        let read = || -> Result<Vec<CString>, Errno> {
            let mut names = Vec::new();
            for entry in Dir::read_from(directory)? {
                let name = entry?.file_name().to_owned();
                if name.as_c_str() != c"." && name.as_c_str() != c".." {
                    names.push(name);
                }
            }
            names.sort();
            // Some file systems tell a name twice that is made anew meanwhile: the second would be
            // laid over what the first was.
            names.dedup();
            Ok(names)
        };
        read().map_err(|errno| self.failed("reading", path, errno))
    }

    /// What leaves a container gains nobody privilege on the host, unless that was asked for.
    fn full_meta(&self, file: BorrowedFd<'_>, path: &Path, status: &Stat) -> Result<Meta> {
        let trusted = !self.tree.foreign || self.choices.archive;
        let attributes =
            attributes(file).map_err(|errno| self.failed("reading the attributes of", path, errno))?;
        let kept = |name: &CStr| {
            let name = name.to_bytes();
            name.starts_with(b"user.") || trusted && name == b"security.capability"
        };
        let attributes = attributes.into_iter().filter(|(name, _)| kept(name)).collect();
        let mut meta = self.tree.meta(status, attributes);
        if !trusted && FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
            meta.mode &= 0o1777;
        }
        Ok(meta)
    }
}

fn attributes(file: BorrowedFd<'_>) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length?,
    };
    let names = names[..length].split_inclusive(|byte| *byte == 0);
    let names = names.filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    let mut all = Vec::new();
    for name in names {
        let mut value = vec![0_u8; 64 << 10];
        match rustix::fs::fgetxattr(file, name, &mut value) {
            Ok(length) => all.push((name.to_owned(), value[..length].to_vec())),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
