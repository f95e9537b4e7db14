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
    #[serde(default)]
    pub(crate) own: Own,
    /// Files of an image that only keep others from being made.
    #[serde(default)]
    pub(crate) spares: u64,
}

/// What is counted although it is no volume's: the directory of the volumes, and in an image what
/// holds the limits. It is given to the container on top.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Own {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

impl Record {
    /// Of volumes that hold nothing yet.
    pub(crate) fn new(kind: Kind, room: Room) -> Self {
        Self { kind, room, whole: false, own: Own::default(), spares: 0 }
    }

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
                .hint("what is beside it may be fine: move the directory away and start the container anew")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = r#"{"kind":{"project":{"id":7}},"room":{"bytes":4096,"inodes":null}}"#;
        fs::write(dir.path().join(FILE), text).expect("written");
        let record = Record::read(dir.path()).expect("read").expect("there");
        assert_eq!(record, Record::new(Kind::Project { id: 7 }, Room { bytes: Some(4096), inodes: None }));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_damage_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Record::read(dir.path()).expect("none"), None);
        let record = Record { spares: 3, ..Record::new(Kind::Image, Room::default()) };
        record.write(dir.path()).expect("written");
        assert_eq!(Record::read(dir.path()).expect("read"), Some(record));
        fs::write(dir.path().join(FILE), "{").expect("written");
        assert!(Record::read(dir.path()).expect_err("damaged").chain().contains("%room is damaged"));
    }
}
