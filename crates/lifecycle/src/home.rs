//! The state directory.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use spec::{Error, ErrorKind, Id, Result, ResultExt};

use crate::rootless::Rootless;

/// Where everything is kept: what must survive a reboot, and what must not.
#[derive(Debug, Clone)]
pub struct Home {
    lib: PathBuf,
    run: PathBuf,
}

impl Home {
    /// Opens the state directory: /var/lib/tsubo with /run/tsubo, an ordinary user's own, or `root`
    /// with `root/run`. Both are made, for nobody else, where they are missing.
    ///
    /// # Errors
    /// Denied without root or a user namespace of one's own.
    pub fn open(root: Option<&Path>, own: Option<&Rootless>) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new(ErrorKind::Denied, "this takes root, or a user namespace")
                .hint("try again with sudo"));
        }
        let home = match (root, own) {
            (Some(root), _) => Self { lib: root.to_owned(), run: root.join("run") },
            (None, Some(own)) => Self { lib: own.lib.clone(), run: own.run.clone() },
            (None, None) => Self { lib: "/var/lib/tsubo".into(), run: "/run/tsubo".into() },
        };
        // Mostly both are there; to look is cheaper than to try.
        for dir in [&home.lib, &home.run].into_iter().filter(|dir| !dir.is_dir()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.doing(|| format!("making the state directory {}", dir.display()))?;
        }
        if let (None, Some(_), Some(above)) = (root, own, home.run.parent()) {
            must_be_own(above)?;
        }
        Ok(home)
    }

    /// One whose directories are known, and there: as a process of its keeper is told.
    pub fn at(lib: &Path, run: &Path) -> Self {
        Self { lib: lib.to_owned(), run: run.to_owned() }
    }

    /// What must survive a reboot.
    pub fn lib(&self) -> &Path {
        &self.lib
    }

    /// What must not.
    pub fn run(&self) -> &Path {
        &self.run
    }
}

/// An ordinary user's run directory may lie in /tmp: somebody else who was there first could lay out
/// in it what we would take for our own containers.
fn must_be_own(dir: &Path) -> Result<()> {
    let meta = std::fs::symlink_metadata(dir).doing(|| format!("looking at {}", dir.display()))?;
    // In our user namespace we are root.
    if meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o002 == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, format!("{} is not yours alone", dir.display()))
        .hint("set XDG_RUNTIME_DIR to a directory of yours that nobody else can write"))
}

/// A new container's id, random.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn new_id() -> Result<Id> {
    let mut bytes = [0; 6];
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    got.map_err(|errno| Error::io("asking for random bytes", errno.into()))?;
    Ok(Id::from_bytes(bytes))
}
