//! Making a tree below one directory, without ever leaving it.
//!
//! Every parent is opened from the root's descriptor with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS,
//! so neither `..` nor a symlink that an archive has just made can lead outside. Directories get
//! their metadata last, from the bottom up, because making things in them changes it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use spec::{Error, Result, RootPath};

use crate::input::bad;
use crate::meta::{self, Meta};

/// Copies in pieces of this size.
const PIECE: usize = 128 << 10;

/// A tree in the making.
pub(crate) struct Tree {
    root: OwnedFd,
    /// The directory that was written to last: entries come sorted, so it is mostly the next one too.
    parent: Option<(RootPath, OwnedFd)>,
    directories: BTreeMap<RootPath, Directory>,
    buffer: Vec<u8>,
}

struct Directory {
    meta: Meta,
    /// Nobody has described it yet: something below it came first.
    implied: bool,
}

impl Tree {
    /// Works below `root`, an empty directory.
    pub(crate) fn new(root: OwnedFd) -> Self {
        let implied = Directory { meta: Meta::plain(0o755), implied: true };
        let directories = BTreeMap::from([(RootPath::root(), implied)]);
        Self { root, parent: None, directories, buffer: vec![0; PIECE] }
    }

    /// The descriptor of the directory that holds `path`, made if it is missing, and the last
    /// component of `path`.
    pub(crate) fn place<'a>(&'a mut self, path: &'a RootPath) -> Result<(BorrowedFd<'a>, &'a [u8])> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::user("the root can only be a directory"));
        };
        if self.parent.as_ref().is_none_or(|(cached, _)| *cached != parent) {
            let fd = self.open_parent(&parent).map_err(|error| error.context(format!("entry {path}")))?;
            self.parent = Some((parent, fd));
        }
        let fd = self.parent.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
        Ok((fd, name))
    }

    fn open_parent(&mut self, parent: &RootPath) -> Result<OwnedFd> {
        match meta::open(&self.root, parent, OFlags::DIRECTORY) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                self.imply(parent)?;
                meta::open(&self.root, parent, OFlags::DIRECTORY).map_err(|cause| blocked(parent, cause))
            }
            other => other.map_err(|cause| blocked(parent, cause)),
        }
    }

    /// Makes a directory that nobody described, and what is above it.
    fn imply(&mut self, path: &RootPath) -> Result<()> {
        let mut missing: Vec<_> = std::iter::once(path.clone()).chain(path.ancestors()).collect();
        missing.pop();
        for path in
            missing.into_iter().rev().filter(|path| !self.directories.contains_key(path)).collect::<Vec<_>>()
        {
            let (parent, name) = self.place(&path)?;
            match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                Ok(()) => {
                    let implied = Directory { meta: Meta::plain(0o755), implied: true };
                    self.directories.insert(path, implied);
                }
                Err(Errno::EXIST) => {}
                Err(cause) => return Err(failed(&path, cause.into())),
            }
        }
        Ok(())
    }

    /// Makes a directory, or describes one that exists because something below it came first.
    pub(crate) fn directory(&mut self, path: &RootPath, meta: Meta) -> Result<()> {
        match self.directories.get_mut(path) {
            Some(directory) if directory.implied => {
                *directory = Directory { meta, implied: false };
                return Ok(());
            }
            Some(_) => return Err(twice(path)),
            None => {}
        }
        let (parent, name) = self.place(path)?;
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(|cause| failed(path, cause.into()))?;
        self.directories.insert(path.clone(), Directory { meta, implied: false });
        Ok(())
    }

    /// Describes a directory that was made before anew.
    pub(crate) fn describe(&mut self, path: RootPath, meta: Meta) {
        self.directories.insert(path, Directory { meta, implied: false });
    }

    /// Makes a file of exactly `size` bytes from `data`; gives the SHA-256 of its content.
    pub(crate) fn file(
        &mut self,
        path: &RootPath,
        meta: &Meta,
        size: u64,
        data: &mut dyn Read,
    ) -> Result<[u8; 32]> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (parent, name) = self.place(path)?;
        let made = create(parent, name)
            .map_err(|cause| failed(path, cause))
            .and_then(|file| fill(file, path, meta, size, data, &mut buffer));
        self.buffer = buffer;
        made
    }

    /// Makes a symlink; its mode is the kernel's business.
    pub(crate) fn symlink(&mut self, path: &RootPath, meta: &Meta, target: &[u8]) -> Result<()> {
        let (parent, name) = self.place(path)?;
        rustix::fs::symlinkat(target, parent, name)
            .map_err(io::Error::from)
            .and_then(|()| meta.apply_at(parent, name))
            .map_err(|cause| failed(path, cause))
    }

    /// Makes a named pipe.
    pub(crate) fn fifo(&mut self, path: &RootPath, meta: &Meta) -> Result<()> {
        let (parent, name) = self.place(path)?;
        let make = || {
            rustix::fs::mkfifoat(parent, name, Mode::RUSR)?;
            meta.apply_at(parent, name)?;
            Ok(rustix::fs::chmodat(parent, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())?)
        };
        make().map_err(|cause: io::Error| failed(path, cause))
    }

    /// Gives the file (or pipe; a symlink too, if `symlinks`) at `target` one more name.
    pub(crate) fn hardlink(&mut self, path: &RootPath, target: &RootPath, symlinks: bool) -> Result<()> {
        let refuse = |why: &str| Error::user(format!("entry {path} is a hard link to {target}, {why}"));
        let (Some(parent), Some(leaf)) = (target.parent(), target.name()) else {
            return Err(refuse("which is a directory"));
        };
        let from =
            meta::open(&self.root, &parent, OFlags::DIRECTORY).map_err(|cause| match cause.kind() {
                io::ErrorKind::NotFound => refuse("which is not in the archive before it"),
                _ => refuse("which lies behind a symlink or a file").because(cause),
            })?;
        let stat = rustix::fs::statat(&from, leaf, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|_| refuse("which is not in the archive before it"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Fifo => {}
            FileType::Symlink if symlinks => {}
            FileType::Symlink => return Err(refuse("which is a symlink")),
            _ => return Err(refuse("which is not a file")),
        }
        let (parent, name) = self.place(path)?;
        rustix::fs::linkat(&from, leaf, parent, name, AtFlags::empty())
            .map_err(|cause| failed(path, cause.into()))
    }

    /// What is at `path`, seen through no symlink.
    pub(crate) fn kind(&mut self, path: &RootPath) -> Result<Option<FileType>> {
        if path.is_root() {
            return Ok(Some(FileType::Directory));
        }
        let (parent, name) = self.place(path)?;
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(failed(path, cause.into())),
        }
    }

    /// Removes what is at `path`, whatever it is; false if nothing is.
    pub(crate) fn remove(&mut self, path: &RootPath) -> Result<bool> {
        // A directory that is about to go must not be remembered, nor kept open.
        self.parent = None;
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(false) };
        let parent = match meta::open(&self.root, &parent, OFlags::DIRECTORY) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
            parent => parent.map_err(|cause| blocked(path, cause))?,
        };
        self.directories.retain(|directory, _| !directory.is_within(path));
        remove_at(parent.as_fd(), name).map_err(|cause| failed(path, cause))
    }

    /// The names in the directory at `path`.
    pub(crate) fn children(&self, path: &RootPath) -> Result<Vec<RootPath>> {
        let fd = meta::open(&self.root, path, OFlags::DIRECTORY).map_err(|cause| blocked(path, cause))?;
        let names = names(&fd).map_err(|cause| failed(path, cause))?;
        Ok(names.iter().map(|name| path.join(name)).collect())
    }

    /// Puts the metadata onto all directories. Gives them, for whoever keeps a record.
    pub(crate) fn finish(self) -> Result<BTreeMap<RootPath, Meta>> {
        for (path, directory) in self.directories.iter().rev() {
            meta::open(&self.root, path, OFlags::DIRECTORY)
                .and_then(|fd| directory.meta.apply(fd.as_fd()))
                .map_err(|cause| failed(path, cause))?;
        }
        Ok(self.directories.into_iter().map(|(path, directory)| (path, directory.meta)).collect())
    }
}

fn create(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<std::fs::File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn fill(
    mut file: std::fs::File,
    path: &RootPath,
    meta: &Meta,
    size: u64,
    data: &mut dyn Read,
    buffer: &mut [u8],
) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut left = size;
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let piece = &mut buffer[..want];
        data.read_exact(piece).map_err(|cause| bad(format!("reading the data of entry {path}"), cause))?;
        hash.update(&*piece);
        file.write_all(piece).map_err(|cause| failed(path, cause))?;
        left -= want as u64;
    }
    meta.apply(file.as_fd()).map_err(|cause| failed(path, cause))?;
    Ok(hash.finalize().into())
}

/// Removes `name` and everything below it, following nothing.
fn remove_at(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(cause) => return Err(cause.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for child in names(&fd)? {
        remove_at(fd.as_fd(), &child)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    Ok(true)
}

/// The names in a directory, without `.` and `..`, sorted.
pub(crate) fn names(fd: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn twice(path: &RootPath) -> Error {
    Error::user(format!("entry {path} is in the archive twice"))
}

/// What it means that a parent cannot be opened.
fn blocked(parent: &RootPath, cause: io::Error) -> Error {
    match Errno::from_io_error(&cause) {
        Some(Errno::LOOP | Errno::XDEV) => {
            Error::user(format!("{parent} is, or lies behind, a symlink: refused"))
        }
        Some(Errno::NOTDIR) => Error::user(format!("{parent} is, or lies behind, a file, not a directory")),
        _ => Error::io(format!("opening {parent}"), cause),
    }
}

/// What it means that an entry cannot be made.
pub(crate) fn failed(path: &RootPath, cause: io::Error) -> Error {
    match Errno::from_io_error(&cause) {
        Some(Errno::EXIST) => twice(path),
        Some(Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ) => {
            Error::user(format!("entry {path} cannot be made here")).because(cause)
        }
        _ => Error::io(format!("making {path}"), cause),
    }
}
