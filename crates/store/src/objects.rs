//! Content-addressed files, written once, linked into every image that holds the same file.
//!
//! An object is named by its content and all metadata of its inode. Within one image two names
//! share an inode only if they were hard links in the source: the second equal file is variant 1
//! of the same object, and so on, so that other images with the same files still share all of them.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use spec::Digest;

use crate::meta::{Meta, mtime};
use crate::tree;

/// ext4 allows 65,000 names of an inode. The rest is left for hard links within one image.
const MAX_LINKS: u64 = 60_000;

/// The objects of a store.
pub(crate) struct Objects {
    dir: OwnedFd,
}

/// Which variants the image in the making has taken.
#[derive(Default)]
pub(crate) struct Taken(HashMap<Digest, u32>);

impl Taken {
    /// The name of the next free variant of `key`: `ab/cdef…`, `ab/cdef….1`, …
    pub(crate) fn next(&mut self, key: Digest) -> String {
        let count = self.0.entry(key).or_default();
        let hex = key.hex();
        let variant = if *count == 0 { String::new() } else { format!(".{count}") };
        *count += 1;
        format!("{}/{}{variant}", &hex[..2], &hex[2..])
    }
}

impl Objects {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { dir: rustix::fs::open(dir, flags, Mode::empty())? })
    }

    /// Puts the object `name` at `leaf` in `parent`; false if there is none that can be used.
    pub(crate) fn take(
        &self,
        name: &str,
        meta: &Meta,
        size: u64,
        parent: BorrowedFd<'_>,
        leaf: &[u8],
    ) -> io::Result<bool> {
        let stat = match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            stat => stat?,
        };
        // After a power cut an object that was never synced may be short; it is replaced.
        let intact = stat.st_size as u64 == size
            && stat.st_mode & 0o7777 == meta.mode
            && (stat.st_uid, stat.st_gid) == (meta.uid, meta.gid)
            && mtime(&stat) == meta.mtime;
        if !intact || stat.st_nlink >= MAX_LINKS {
            return Ok(false);
        }
        match rustix::fs::linkat(&self.dir, name, parent, leaf, AtFlags::empty()) {
            Ok(()) => Ok(true),
            // Removed, or used up, by another process since we looked.
            Err(Errno::NOENT | Errno::MLINK) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Makes the file at `leaf` in `parent` the object `name`, or the object that file: another
    /// process may have been faster, and both images are to share it. One that cannot be used is
    /// replaced. `spare` is a directory of ours on the same file system.
    pub(crate) fn give(
        &self,
        name: &str,
        meta: &Meta,
        size: u64,
        (parent, leaf): (BorrowedFd<'_>, &[u8]),
        spare: &OwnedFd,
    ) -> io::Result<()> {
        let link = || rustix::fs::linkat(parent, leaf, &self.dir, name, AtFlags::empty());
        let linked = match link() {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(&self.dir, &name[..2], Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => link(),
                Err(cause) => Err(cause),
            },
            other => other,
        };
        if linked != Err(Errno::EXIST) {
            return Ok(linked?);
        }
        if self.take(name, meta, size, spare.as_fd(), b"object")? {
            rustix::fs::renameat(spare, "object", parent, leaf)?;
        } else {
            rustix::fs::linkat(parent, leaf, spare, "object", AtFlags::empty())?;
            rustix::fs::renameat(spare, "object", &self.dir, name)?;
        }
        // Renaming a link over another of the same inode leaves both names.
        let _ = rustix::fs::unlinkat(spare, "object", AtFlags::empty());
        Ok(())
    }

    /// Removes the objects that no image links to; gives their number and bytes. An install that
    /// is about to link one of them writes it anew, so no lock is needed.
    pub(crate) fn collect(&self) -> io::Result<(u64, u64)> {
        let (mut files, mut bytes) = (0, 0);
        for shelf in tree::names(&self.dir)? {
            let fd = rustix::fs::openat(
                &self.dir,
                shelf.as_slice(),
                OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            for name in tree::names(&fd)? {
                let stat = match rustix::fs::statat(fd.as_fd(), name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => stat?,
                };
                let unused =
                    stat.st_nlink == 1 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                if unused && remove(fd.as_fd(), &name)? {
                    files += 1;
                    bytes += stat.st_size as u64;
                }
            }
        }
        Ok((files, bytes))
    }
}

/// False if another process was faster.
fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}
