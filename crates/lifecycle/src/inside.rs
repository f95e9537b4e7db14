//! What a running container has at a path, reached from outside.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use spec::{Error, Result, ResultExt, RootPath};

use crate::pinned::Pinned;

/// File systems that answer by themselves. One of a container's making (FUSE) could keep whoever asks
/// waiting for ever: TMPFS_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC.
const ANSWER: [u64; 5] = [0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630];

/// A directory of the container of this first process, whatever it has laid there meanwhile.
pub(crate) fn directory(first: Pinned, at: &RootPath) -> Result<OwnedFd> {
    let held = first.find()?;
    let gone = || Error::conflict("the container has just ended");
    let root = File::open(format!("/proc/{}/root", first.pid)).doing(|| "opening its root")?;
    // The number has not changed hands meanwhile.
    if held.is_none() || first.find()?.is_none() {
        return Err(gone());
    }
    let io = |errno: rustix::io::Errno| Error::io(format!("opening {at} in the container"), errno.into());
    let open = |dir: &OwnedFd, path: &std::path::Path, flags| {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(dir, path, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let found = open(&root.into(), at.relative(), OFlags::PATH).map_err(io)?;
    let kind = rustix::fs::fstatfs(&found).map_err(io)?.f_type as u64;
    if !ANSWER.contains(&kind) {
        return Err(Error::conflict(format!("something else was mounted over {at}")));
    }
    open(&found, std::path::Path::new("."), OFlags::RDONLY | OFlags::NONBLOCK).map_err(io)
}
