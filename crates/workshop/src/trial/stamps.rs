//! What every used path was before the run.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use spec::observation::{Observation, Stamp};
use spec::{Error, Result, RootPath};

/// Gives every path of `observation` its stamp from the root that the test was a copy of.
///
/// # Errors
/// When that root cannot be opened.
pub fn fill(root: &Path, observation: &mut Observation) -> Result<()> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::io(format!("opening {}", root.display()), errno.into()))?;
    for (path, used) in &mut observation.paths {
        used.stamp = stamp(&root, path);
    }
    Ok(())
}

/// The state of what is at `path`, not following a symlink there; None if nothing is.
pub fn stamp(root: &impl std::os::fd::AsFd, path: &RootPath) -> Option<Stamp> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(root, path.relative(), flags, Mode::empty(), resolve).ok()?;
    let stat = statat(&file, "", AtFlags::EMPTY_PATH).ok()?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Some(Stamp {
        mode: stat.st_mode,
        size: if directory { 0 } else { u64::try_from(stat.st_size).unwrap_or_default() },
        mtime: if directory { 0 } else { stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos) },
    })
}
