//! Namespaces that exist already, by their files on the host.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use spec::container::Namespace;
use spec::{Error, Result, ResultExt};

use super::{above_standard, c_path, flag};

/// NSFS_MAGIC.
const NAMESPACES: u64 = 0x6e73_6673;

/// Opens the namespace behind `path`, if it is one of this kind; its `CLONE_NEW…` comes along.
pub(super) fn enter(namespace: Namespace, path: &Path) -> Result<(u64, OwnedFd)> {
    let file = open(path)?;
    let wrong = |what: &str| {
        Error::user(format!("{} is {what}, not a {} namespace", path.display(), namespace.word()))
            .hint(format!("name a file like /proc/PID/ns/{}, or a bind mount of one", namespace.file()))
    };
    let kind = rustix::fs::fstatfs(&file).map_err(std::io::Error::from);
    if kind.doing(|| format!("looking at {}", path.display()))?.f_type as u64 != NAMESPACES {
        return Err(wrong("a file"));
    }
    match sys::namespace::kind(file.as_fd()) {
        Ok(kind) if kind == flag(namespace) => Ok((kind, file)),
        Ok(kind) => Err(wrong(
            Namespace::ALL.into_iter().find(|one| flag(*one) == kind).map_or("another kind", Namespace::word),
        )),
        Err(error) => Err(Error::io(format!("looking at {}", path.display()), error.into())),
    }
}

/// Without waiting for whoever may sit at the other end of a pipe of that name.
fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, c_path(path)?, flags, Mode::empty()) {
        Ok(file) => above_standard(file),
        Err(error) => {
            let failed = Err(std::io::Error::from(error))
                .doing(|| format!("opening the namespace {}", path.display()));
            failed.map_err(|failed: Error| match error {
                Errno::NOENT => failed.hint("the process or the bind mount that kept it is gone"),
                _ => failed,
            })
        }
    }
}
