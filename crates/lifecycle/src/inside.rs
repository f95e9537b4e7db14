//! What a running container has at a path, reached from outside.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use spec::{Error, Result, ResultExt, RootPath};

/// A directory of the container, whatever it has laid there meanwhile.
pub(crate) fn directory(pid: i32, at: &RootPath) -> Result<OwnedFd> {
    let root = File::open(format!("/proc/{pid}/root")).doing(|| "opening its root")?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(&root, at.relative(), flags, Mode::empty(), resolve);
    found.map_err(|errno| Error::io(format!("opening {at} in the container"), errno.into()))
}
