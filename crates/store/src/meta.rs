//! What an inode holds beside its content: taken from a file system, put onto one, hashed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use sha2::{Digest as _, Sha256};
use spec::{Digest, RootPath};

/// Everything but type and content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    /// Permissions with set-id and sticky bits (0o7777).
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A point in time, as the kernel has it: `nanos` count forward from `secs`, which may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Time {
    pub(crate) secs: i64,
    pub(crate) nanos: u32,
}

/// What kind of thing an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink(Vec<u8>),
    Fifo,
    /// Device nodes and sockets.
    Other,
}

/// An inode as found in a tree.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    pub(crate) meta: Meta,
    pub(crate) size: u64,
    pub(crate) links: u64,
    /// Device and number, which names of one file share.
    pub(crate) identity: (u64, u64),
}

impl Meta {
    /// Of something that nobody described: root's, and of no time, so that it is always the same.
    pub(crate) fn plain(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Puts everything onto an open file or directory. Owner first, because changing it clears
    /// set-id bits and capabilities; time last, because the others do not touch it but writing does.
    pub(crate) fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        rustix::fs::fchown(fd, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())?;
        }
        rustix::fs::futimens(fd, &self.times())?;
        Ok(())
    }

    /// Puts owner and time onto a symlink, or onto whatever cannot be opened, by its name.
    pub(crate) fn apply_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(dir, name, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)), flags)?;
        rustix::fs::utimensat(dir, name, &self.times(), flags)?;
        Ok(())
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime.secs, tv_nsec: self.mtime.nanos.into() };
        Timestamps { last_access: time, last_modification: time }
    }

    /// A digest of type, metadata and `content` (the digest of a file's bytes, a link's target).
    pub(crate) fn seal(&self, tag: u8, content: &[u8]) -> Digest {
        let mut hash = Sha256::new();
        hash.update([b'1', tag]);
        hash.update(self.mode.to_le_bytes());
        hash.update(self.uid.to_le_bytes());
        hash.update(self.gid.to_le_bytes());
        hash.update(self.mtime.secs.to_le_bytes());
        hash.update(self.mtime.nanos.to_le_bytes());
        for part in self.xattrs.iter().flat_map(|(name, value)| [name, value]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update([0xff; 8]); // no length of an xattr looks like this
        hash.update(content);
        Digest::from_bytes(hash.finalize().into())
    }
}

impl Kind {
    /// What tells the kinds apart in [`Meta::seal`].
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Self::Directory => b'd',
            Self::File => b'f',
            Self::Symlink(_) => b'l',
            Self::Fifo => b'p',
            Self::Other => b'o',
        }
    }
}

/// Whether an xattr belongs to the file rather than to a host, its file systems or its policy:
/// capabilities, ACLs and what users attach. Overlay's own marks are never wanted.
pub(crate) fn portable_xattr(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}

/// Looks at one path beneath `root`, following no symlink.
pub(crate) fn examine(root: BorrowedFd<'_>, path: &RootPath) -> io::Result<Inode> {
    let fd = open(root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&fd)?;
    let (kind, xattrs) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (Kind::Directory, xattrs(&open(root, path, OFlags::DIRECTORY)?)?),
        FileType::RegularFile => (Kind::File, xattrs(&open(root, path, OFlags::NONBLOCK)?)?),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&fd, "", Vec::new())?.into_bytes();
            (Kind::Symlink(target), BTreeMap::new())
        }
        FileType::Fifo => (Kind::Fifo, BTreeMap::new()),
        _ => (Kind::Other, BTreeMap::new()),
    };
    let meta =
        Meta { mode: mode_of(&kind, &stat), uid: stat.st_uid, gid: stat.st_gid, mtime: mtime(&stat), xattrs };
    let identity = (stat.st_dev, stat.st_ino);
    Ok(Inode { kind, meta, size: stat.st_size as u64, links: stat.st_nlink, identity })
}

/// Symlinks have no mode worth keeping: the kernel always says 0777.
fn mode_of(kind: &Kind, stat: &Stat) -> u32 {
    if matches!(kind, Kind::Symlink(_)) { 0o777 } else { stat.st_mode & 0o7777 }
}

pub(crate) fn mtime(stat: &Stat) -> Time {
    Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }
}

/// Opens `path` beneath `root` for reading (or as `flags` say), following no symlink at all.
pub(crate) fn open(root: impl AsFd, path: &RootPath, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(root, path.relative(), flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// The portable xattrs of an open file.
fn xattrs(fd: &OwnedFd) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let size = match rustix::fs::flistxattr_query(fd) {
        Err(rustix::io::Errno::OPNOTSUPP) | Ok(0) => return Ok(BTreeMap::new()),
        size => size?,
    };
    let mut names = vec![0_u8; size];
    let length = rustix::fs::flistxattr(fd, &mut names[..])?;
    names.truncate(length);
    let wanted = names.split(|byte| *byte == 0).filter(|name| portable_xattr(name));
    wanted.map(|name| Ok((name.to_vec(), xattr(fd, name)?))).collect()
}

fn xattr(fd: &OwnedFd, name: &[u8]) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fgetxattr_query(fd, name)?;
    let mut value = vec![0_u8; size];
    if size > 0 {
        let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
        value.truncate(length);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_changes_the_seal() {
        let base = Meta::plain(0o644);
        let mut seals = vec![base.seal(b'f', b"x"), base.seal(b'f', b"y"), base.seal(b'd', b"x")];
        let mut push = |change: fn(&mut Meta)| {
            let mut meta = base.clone();
            change(&mut meta);
            seals.push(meta.seal(b'f', b"x"));
        };
        push(|m| m.mode = 0o4755);
        push(|m| m.uid = 1);
        push(|m| m.gid = 1);
        push(|m| m.mtime.secs = -1);
        push(|m| m.mtime.nanos = 1);
        push(|m| drop(m.xattrs.insert(b"user.a".to_vec(), b"b".to_vec())));
        push(|m| drop(m.xattrs.insert(b"user.ab".to_vec(), b"".to_vec())));
        let distinct: std::collections::BTreeSet<_> = seals.iter().collect();
        assert_eq!(distinct.len(), seals.len());
    }

    #[test]
    fn overlay_and_host_xattrs_are_not_portable() {
        for name in
            ["trusted.overlay.opaque", "user.overlay.opaque", "security.selinux", "trusted.x", "system.x", ""]
        {
            assert!(!portable_xattr(name.as_bytes()), "{name}");
        }
        assert!(portable_xattr(b"security.capability") && portable_xattr(b"user.x"));
    }
}
