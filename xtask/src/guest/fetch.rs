//! Debian packages that are looked into, not installed: unpacked below `target/guest`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Result};
use crate::{apt, house};

/// A folder of ours below `target/guest`, which is there afterwards.
pub(super) fn home(name: &str) -> Result<PathBuf> {
    let home = house::target().join("guest").join(name);
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    Ok(home)
}

/// Downloads a package and unpacks it into `to`.
pub(super) fn unpack(package: &str, to: &Path) -> Result {
    let download = || {
        let mut command = Command::new("apt-get");
        shell::read(command.args(["download", "-qq", package]).current_dir(to)).map(drop)
    };
    if download().is_err() {
        // What is known of the archive may be too old.
        apt::update()?;
        download()?;
    }
    let files = fs::read_dir(to)?.flatten().map(|entry| entry.path());
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        shell::read(Command::new("dpkg-deb").arg("-x").arg(&file).arg(to))?;
        fs::remove_file(file)?;
    }
    Ok(())
}
