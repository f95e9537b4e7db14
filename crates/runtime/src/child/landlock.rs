//! Landlock: opens the paths of the rules in the container's root and lays the rules on itself.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::place::find;
use crate::prepare::{Allowed, Rules};
use crate::report::{Fault, Part};

pub(super) fn restrict(root: BorrowedFd<'_>, rules: &Rules) -> Result<(), Fault> {
    for (item, allowed) in rules.paths.iter().enumerate() {
        let add = |errno| Fault { part: Part::AllowedPath, errno, item: item as u16 };
        allow(root, rules.set.as_fd(), allowed).map_err(add)?;
    }
    Ok(sys::landlock::restrict_self(rules.set.as_fd())?)
}

fn allow(root: BorrowedFd<'_>, set: BorrowedFd<'_>, allowed: &Allowed) -> Result<(), Errno> {
    let path = find(root, &allowed.path, false)?;
    let directory = FileType::from_raw_mode(rustix::fs::fstat(&path)?.st_mode) == FileType::Directory;
    let rights = if directory { allowed.rights } else { allowed.rights & sys::landlock::OF_FILES };
    sys::landlock::allow_path(set, path.as_fd(), rights)
}
