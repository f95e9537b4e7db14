//! One audit at a time, and what a killed one has left: a directory that is locked as long as its
//! audit lives. Containers end by themselves when their auditor does; the directory and the image that was
//! made for the audit are all that can stay, until the next one.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

/// The locked directory; it goes at the end.
#[derive(Debug)]
pub struct Work {
    dir: PathBuf,
    _lock: File,
}

impl Work {
    /// Takes the one below `root`, or below the usual place.
    ///
    /// # Errors
    /// Another audit is under way.
    pub fn take(root: Option<&Path>) -> Result<Self> {
        let dir = root.map_or_else(usual, Path::to_owned).join("audit");
        std::fs::create_dir_all(&dir).doing(|| format!("making {}", dir.display()))?;
        let lock = File::open(&dir).doing(|| format!("opening {}", dir.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::conflict("another audit is under way, and two would disturb each other")
                    .hint("wait for its end"));
            }
            locked => locked.map_err(std::io::Error::from).doing(|| format!("locking {}", dir.display()))?,
        }
        let work = Self { dir, _lock: lock };
        work.clear();
        Ok(work)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn clear(&self) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            // What cannot be removed is not in the way either.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.clear();
        // Another audit may have come.
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// The state directory where none is said.
pub fn usual() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/tsubo");
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share");
    data.unwrap_or_else(home).join("tsubo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_stays() {
        let dir = tempfile::tempdir().expect("tempdir");
        let one = Work::take(Some(dir.path())).expect("a place");
        std::fs::write(one.dir().join("left"), "x").expect("write");
        assert!(Work::take(Some(dir.path())).is_err());
        drop(one);
        assert!(!dir.path().join("audit").exists());
    }
}
