//! Groups that wait for their first process: whoever made them holds a lock on each directory, which
//! the kernel takes back however he ends. What nobody holds, and nobody is in, is forgotten.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use spec::{Result, ResultExt};

use crate::group::Group;
use crate::shared;

/// Says of a group that somebody waits with it, as long as this lives.
#[derive(Debug)]
pub struct Hold {
    group: Group,
    directories: Vec<File>,
}

impl Group {
    /// Holds it.
    ///
    /// # Errors
    /// When it is not there (any more).
    pub fn hold(&self) -> Result<Hold> {
        let hold = |directory: &Path| -> io::Result<File> {
            let file = File::open(directory)?;
            rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockShared))?;
            Ok(file)
        };
        let held = self.directories.iter().map(|(_, directory)| {
            hold(directory).doing(|| format!("holding the control group {}", directory.display()))
        });
        Ok(Hold { directories: held.collect::<Result<_>>()?, group: self.clone() })
    }

    /// Whether somebody does.
    pub fn is_held(&self) -> bool {
        let held = |directory: &Path| {
            let file = File::open(directory).ok()?;
            let tried = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            Some(tried == Err(Errno::WOULDBLOCK))
        };
        self.directories.iter().any(|(_, directory)| held(directory).unwrap_or(false))
    }
}

impl Hold {
    /// Whether all of what is held is where it was: somebody may have removed it, and have made
    /// another group of the same name.
    pub fn is_in_place(&self) -> bool {
        let mut directories = self.group.directories.iter().zip(&self.directories);
        directories.all(|((_, directory), held)| is_at(held, directory))
    }

    /// Removes what is held, as far as it is still there and nobody is in it: another group of the
    /// same name is somebody else's.
    pub fn remove(self) {
        for ((_, directory), held) in self.group.directories.iter().zip(&self.directories) {
            if is_at(held, directory) {
                // Who is in it keeps it.
                let _ = std::fs::remove_dir(directory);
                shared::remove_above(directory);
            }
        }
    }
}

fn is_at(held: &File, directory: &Path) -> bool {
    let inode = |status: std::fs::Metadata| (status.dev(), status.ino());
    let (held, there) = (held.metadata().map(inode), std::fs::metadata(directory).map(inode));
    held.is_ok_and(|held| there.is_ok_and(|there| there == held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_known_to_be_and_only_that_is_removed() {
        let mut bytes = [0; 6];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).expect("bytes");
        let id = spec::Id::from_bytes(bytes);
        let Ok(Some(group)) = Group::create(id) else {
            eprintln!("SKIPPED: no control groups can be made here");
            return;
        };
        let there = || group.directories.iter().filter(|(_, directory)| directory.exists()).count();
        assert!(!group.is_held());
        let hold = group.hold().expect("hold");
        assert!(group.is_held() && hold.is_in_place());
        drop(hold);
        assert!(!group.is_held(), "its holder has gone");

        let hold = group.hold().expect("hold");
        group.remove().expect("remove");
        let again = Group::create(id).expect("create").expect("again");
        assert!(!hold.is_in_place() && !group.is_held());
        hold.remove();
        assert_eq!(there(), group.directories.len(), "those are somebody else's");
        again.hold().expect("hold").remove();
        assert_eq!(there(), 0);
    }
}
