//! What the state directory knows of a development container.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use spec::{Error, ErrorKind, Name, Result, ResultExt, RootPath};

/// The record of a development container (`dev.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Format version, 1.
    pub version: u32,
    /// Its name.
    pub name: Name,
    /// What it was made from, as typed: `host`, a path, `debian:bookworm`.
    pub base: String,
    /// When it was made, seconds since 1970 UTC.
    pub created: u64,
    /// Its layers; the first is the root's.
    pub layers: Vec<Layer>,
    /// Paths of the host that are shown although they would be hidden.
    pub see: Vec<RootPath>,
}

/// A file system of the base and the directory that takes the changes to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Layer {
    /// Where it is mounted inside.
    pub at: RootPath,
    /// The base's directory on the host.
    pub lower: PathBuf,
    /// Below the container's directory: holds `upper` and `work`.
    pub dir: PathBuf,
}

impl Record {
    /// Whether it stands over the host's own root.
    pub fn is_over_host(&self) -> bool {
        self.base == "host" && self.layers.first().is_some_and(|layer| layer.lower == Path::new("/"))
    }

    /// Reads the record in `dir`.
    ///
    /// # Errors
    /// Not found, or made by a newer version.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("dev.json");
        let text = std::fs::read(&path).doing(|| format!("reading {}", path.display()))?;
        let record: Self = serde_json::from_slice(&text).map_err(|cause| {
            Error::internal(format!("{} is damaged", path.display()))
                .because(cause)
                .hint("remove it with tsubo rm --dev NAME")
        })?;
        if record.version != 1 {
            return Err(Error::unsupported(format!("{} was made by a newer tsubo", path.display()))
                .hint("use that version"));
        }
        Ok(record)
    }

    /// Writes the record durably: to a temporary name, then renamed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|cause| Error::internal("writing dev.json").because(cause))?;
        write_durably(&dir.join("dev.json"), &text)
    }
}

/// Writes `content` so that after a crash `path` holds either all of it or what it held before.
///
/// # Errors
/// What the file system says; the temporary file is removed.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The write failed already; that is the error to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written.doing(|| format!("writing {}", path.display()))
}

/// The process that has the lock. It writes its number just after it has got it, so that there may
/// be none for a moment.
fn holder(path: &Path) -> String {
    for _ in 0..100 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if !text.trim().is_empty() {
            return text;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    "(unknown)".to_owned()
}

/// The right to use a development container, held by one command at a time.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `name` in `locks`, or says who has it.
    ///
    /// # Errors
    /// Conflict, with the other command's process id.
    pub fn take(locks: &Path, name: &Name) -> Result<Self> {
        super::stack::make_dir(locks)?;
        let path = locks.join(name);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.doing(|| format!("opening {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = holder(&path);
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("development container {name} is in use by process {}", holder.trim()),
            )
            .hint("wait until that command ends, or end it"));
        }
        let noted = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        noted.doing(|| format!("writing {}", path.display()))?;
        Ok(Self { _file: file })
    }
}
