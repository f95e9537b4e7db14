//! Making the directories of a path.
//!
//! What we make bears a mark, so that whoever removes it later, even after a crash, knows it from
//! what was there before.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use spec::{Error, Result, ResultExt};

use super::{Breadth, Place, enable, tree};
use crate::group::Group;
use crate::layout::{NEEDED, Version};
use crate::path::{GroupPath, Mounted};

/// Only root can set the first; version 2 has the second for everybody else.
const MARKS: [&str; 2] = ["trusted.tsubo", "user.tsubo"];

/// Others may remove an empty parent just when we go into it.
const TRIES: usize = 10;

/// Makes the group in one hierarchy; and whether it is a new one.
pub(super) fn make(
    at: &Mounted,
    path: &GroupPath,
    breadth: Breadth,
    required: &BTreeSet<String>,
) -> Result<(Place, bool)> {
    let base = path.base(at);
    let directory = base.join(path.below());
    let doing = || format!("making the control group {}", directory.display());
    let way = Way { at, base: &base, breadth, required };
    let mut fresh = way.walk(path.below());
    for _ in 1..TRIES {
        match &fresh {
            Err(error) if error.kind() == spec::ErrorKind::NotFound => fresh = way.walk(path.below()),
            _ => break,
        }
    }
    let fresh = fresh.doing(doing)?;
    let controllers = enable::controllers(&at.hierarchy, &directory);
    Ok((Place { version: at.hierarchy.version, controllers, directory, base }, fresh))
}

struct Way<'a> {
    at: &'a Mounted,
    base: &'a Path,
    breadth: Breadth,
    required: &'a BTreeSet<String>,
}

impl Way<'_> {
    fn walk(&self, below: &Path) -> Result<bool> {
        let mut directory = self.base.to_owned();
        let mut components = below.components().peekable();
        while let Some(name) = components.next() {
            let done = self.step(&mut directory, name.as_os_str().as_ref(), components.peek().is_none());
            let done = match done {
                Ok(Some(fresh)) => self.pass_on(below).map(|()| Some(fresh)),
                done => done,
            };
            match done {
                Ok(Some(fresh)) => return Ok(fresh),
                Ok(None) => {}
                Err(error) => {
                    tree::remove_empty(&directory, self.base);
                    return Err(error);
                }
            }
        }
        Ok(false)
    }

    /// Lets version 2's controllers reach the last level. Only now that it is there can nobody
    /// remove one above it and make it anew without them.
    fn pass_on(&self, below: &Path) -> Result<()> {
        if self.at.hierarchy.version == Version::One {
            return Ok(());
        }
        let wanted = (self.breadth == Breadth::Needed).then_some(&NEEDED[..]);
        let mut directory = self.base.to_owned();
        for name in below.components() {
            enable::enable(&directory, wanted, self.required)?;
            directory.push(name);
        }
        Ok(())
    }

    /// One level down; at the last one whether it is new.
    fn step(&self, directory: &mut PathBuf, name: &Path, last: bool) -> Result<Option<bool>> {
        directory.push(name);
        let made = match fs::create_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && last => take_over(self.at, directory)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::ROFS.raw_os_error()) => {
                return Err(Error::new(
                    spec::ErrorKind::Denied,
                    "the file system of control groups is read-only",
                )
                .because(error));
            }
            made => made.map(|()| true).doing(|| format!("making {}", directory.display()))?,
        };
        if made {
            mark(directory);
        }
        if self.at.hierarchy.controllers.iter().any(|name| name == "cpuset") {
            let filled = fill_cpuset(directory, self.base);
            filled.map_err(gone).doing(|| format!("filling {}", directory.display()))?;
        }
        Ok(last.then_some(made))
    }
}

/// Version 1 gives a new group no processor and no memory node, and lets nobody into such a one.
/// The group above may be as new, made by somebody else just now: then it is filled too.
pub(crate) fn fill_cpuset(directory: &Path, base: &Path) -> io::Result<()> {
    for file in ["cpuset.mems", "cpuset.cpus"] {
        let list = || fs::read_to_string(directory.join(file)).map(|list| list.trim().to_owned());
        let Some(above) =
            directory.parent().filter(|_| directory != base && list().is_ok_and(|list| list.is_empty()))
        else {
            continue;
        };
        fill_cpuset(above, base)?;
        fs::write(directory.join(file), fs::read_to_string(above.join(file))?.trim())?;
    }
    Ok(())
}

/// A group that is there already: one of ours that was left behind is made anew, so that it has
/// nothing of its former life; one of somebody else is used if nobody is in it.
fn take_over(at: &Mounted, directory: &Path) -> Result<bool> {
    let who = tree::processes([directory].into_iter());
    if !who.is_empty() {
        return Err(Error::conflict(format!(
            "the control group {} has processes {who:?}",
            directory.display()
        ))
        .hint("give the container a path of its own"));
    }
    if is_marked(directory) {
        tree::remove_tree(directory).doing(|| format!("removing the old {}", directory.display()))?;
        fs::create_dir(directory).doing(|| format!("making {}", directory.display()))?;
        return Ok(true);
    }
    let group = Group { directories: vec![(at.hierarchy.version, directory.to_owned())], ..Group::default() };
    if group.is_frozen() {
        return Err(Error::conflict(format!("the control group {} is frozen", directory.display()))
            .hint("whoever came in would be frozen too: thaw it first"));
    }
    Ok(false)
}

/// Without the mark the group still works; it only stays when its container is gone.
fn mark(directory: &Path) {
    let set = |name: &&str| setxattr(directory, *name, b"1", XattrFlags::empty()).is_ok();
    let _ = MARKS.iter().any(set);
}

/// Whether it was made here.
pub(super) fn is_marked(directory: &Path) -> bool {
    let mut value = [0u8; 8];
    MARKS.iter().any(|name| getxattr(directory, *name, &mut value).is_ok())
}

/// A file of a group that somebody has just removed says ENODEV.
pub(super) fn gone(error: io::Error) -> io::Error {
    if is_gone(&error) { io::Error::new(ErrorKind::NotFound, error) } else { error }
}

/// For the errors that mean it is gone already.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}
