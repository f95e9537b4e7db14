//! The file by which engines learn a process's number.

use std::path::{Path, PathBuf};

use spec::{Result, ResultExt};

/// As it was asked for.
pub(crate) fn asked(path: Option<&str>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Writes it whole: nobody reads half a number.
///
/// # Errors
/// What the file system says.
pub(crate) fn write(path: &Path, pid: i32) -> Result<()> {
    let written = crate::record::whole(path, pid.to_string().as_bytes(), 0o644);
    written.doing(|| format!("writing the pid file {}", path.display()))
}
