//! What is written down beside the volumes: by what they are held, and how much they may be.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use spec::{Error, Result, ResultExt};

use crate::{Kind, Room};

/// No volume has a name with a `%` that is not followed by `25` or `2f`.
const FILE: &str = "%room";

/// The content of `%room`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) room: Room,
    /// The room is reserved on the host's disk.
    #[serde(default)]
    pub(crate) whole: bool,
}

impl Record {
    /// Of `dir`; None where there is none, which is a plain directory.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.doing(|| format!("reading {}", path.display()))?,
        };
        let record = serde_json::from_slice(&text);
        record.map(Some).map_err(|cause| {
            Error::internal(format!("{} is damaged", path.display()))
                .because(cause)
                .hint("the volumes beside it may be fine: move them away and start the container anew")
        })
    }

    /// Readers see the old or the new content, also after a power failure.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|cause| Error::internal(format!("encoding {FILE}")).because(cause))?;
        let path = dir.join(FILE);
        write_whole(&path, &dir.join("%room.new"), &text).doing(|| format!("writing {}", path.display()))
    }
}

fn write_whole(path: &Path, temporary: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
