//! What is kept of a container, in its directory.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lifecycle::Pinned;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::oci::{Bundle, State, Status};
use spec::{Error, Result, ResultExt};

use crate::groups::Groups;

/// All of it, once there is a process.
const STATE: &str = "state.json";

/// Before: what a killed `create` leaves outside its directory.
const CLAIM: &str = "claim.json";

/// What a byte opens the start by, and where its failure is told.
pub(crate) const LATCH: &str = "latch";
/// See [`LATCH`].
pub(crate) const REPORT: &str = "report";

/// All that a directory has, mostly.
pub(crate) const FILES: [&str; 4] = [STATE, CLAIM, LATCH, REPORT];

/// A container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// Where its bundle is.
    pub(crate) directory: PathBuf,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
    /// The user who made it.
    pub(crate) owner: u32,
    /// Its first process.
    pub(crate) init: Option<Pinned>,
    /// It goes on from an image: that is no program which was executed.
    #[serde(default)]
    pub(crate) restored: bool,
    /// Its users' namespace was made by an ordinary user, who entered it first.
    #[serde(default)]
    pub(crate) rootless: bool,
    /// Its control groups.
    pub(crate) groups: Groups,
    /// Everything that its bundle says.
    pub(crate) bundle: Bundle,
}

/// Where its control groups will be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// As the bundle says.
    pub(crate) cgroups_path: Option<String>,
    /// They are systemd's.
    pub(crate) systemd: bool,
    /// Those directories of a path that somebody named which are not there yet: one that is killed
    /// when it has just made one has no time to mark it as its own.
    pub(crate) missing: Vec<PathBuf>,
}

impl Record {
    /// The document about it, for hooks and for who asks.
    pub(crate) fn state(&self, status: Status) -> State {
        let mut state = State::new(&self.id, status, self.directory.clone());
        state.pid = self.init.map(|init| init.pid).filter(|_| status != Status::Stopped);
        state.annotations.clone_from(&self.bundle.annotations);
        state
    }

    /// Keeps it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write(&self, place: &Path) -> Result<()> {
        write(&place.join(STATE), self)
    }

    /// Reads one back; None if there is none.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn read(place: &Path) -> Result<Option<Self>> {
        read(&place.join(STATE))
    }
}

impl Claim {
    /// Keeps it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write(&self, place: &Path) -> Result<()> {
        write(&place.join(CLAIM), self)
    }

    /// Reads one back; None if there is none.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn read(place: &Path) -> Result<Option<Self>> {
        read(&place.join(CLAIM))
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value);
    let text =
        text.map_err(|cause| Error::internal(format!("encoding {}", path.display())).because(cause))?;
    whole(path, &text, 0o600).doing(|| format!("writing {}", path.display()))
}

/// Writes to another name and renames: a reader sees all of it or nothing.
pub(crate) fn whole(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let fresh = path.with_file_name(name);
    let create = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
    let file = create().or_else(|error| match error.kind() {
        // A killed command has left it, or somebody has put it there: it is not written to.
        ErrorKind::AlreadyExists => fs::remove_file(&fresh).and_then(|()| create()),
        _ => Err(error),
    });
    let written = file.and_then(|mut file| file.write_all(bytes));
    let renamed = written.and_then(|()| fs::rename(&fresh, path));
    if renamed.is_err() {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&fresh);
    }
    renamed
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        text => text.doing(|| format!("reading {}", path.display()))?,
    };
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|cause| Error::internal(format!("{} is damaged", path.display())).because(cause))
}
