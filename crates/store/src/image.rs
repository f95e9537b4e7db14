//! An installed image and its record on disk.
//!
//! `images/DIGEST/` holds `root/` (the tree), `image.json` (the record) and `seals` (one line for
//! each path: a digest of all its metadata and content, and the path).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use spec::portable::Portable;
use spec::{Digest, Error, Name, Result, ResultExt};

use crate::{input, staging};

/// A package as it is installed on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its name.
    pub name: Name,
    /// How to run it.
    pub portable: Portable,
    /// Its root file system, on the host. Never to be written to.
    pub tree: PathBuf,
    /// Bytes of its files, one with several names counted once.
    pub bytes: u64,
    /// Its files and symlinks.
    pub files: u64,
    /// When it was installed last, in seconds since 1970.
    pub installed: u64,
    /// Its directory in the store.
    pub dir: PathBuf,
    /// [`Self::installed`] in nanoseconds: which of several images a name means.
    pub(crate) stamp: u64,
}

/// What `image.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) digest: Digest,
    pub(crate) portable: Portable,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    /// Nanoseconds since 1970.
    pub(crate) installed: u64,
}

/// The version of the record.
pub(crate) const VERSION: u32 = 1;

impl Record {
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join("image.json");
        let invalid = |cause| Error::internal("writing an image's record").because(cause);
        let bytes = serde_json::to_vec_pretty(self).map_err(invalid)?;
        staging::write_whole(&path, &bytes).doing(|| format!("writing {}", path.display()))
    }

    pub(crate) fn into_image(self, dir: PathBuf) -> Image {
        Image {
            digest: self.digest,
            name: self.portable.name.clone(),
            portable: self.portable,
            tree: dir.join("root"),
            bytes: self.bytes,
            files: self.files,
            installed: self.installed / 1_000_000_000,
            dir,
            stamp: self.installed,
        }
    }
}

impl Image {
    /// Reads the image in `dir`; None if there is none.
    pub(crate) fn read(dir: PathBuf) -> Result<Option<Self>> {
        let path = dir.join("image.json");
        let bytes = match std::fs::read(&path) {
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            bytes => bytes.doing(|| format!("reading {}", path.display()))?,
        };
        let damaged = |error: Error| {
            Error::internal(format!("the record of the image in {} is damaged", dir.display()))
                .because(error)
                .hint("remove that directory and install the package again")
        };
        let record: Record = input::json(&bytes, "the record").map_err(damaged)?;
        Ok(Some(record.into_image(dir)))
    }

    /// Makes this the image that its name means.
    pub(crate) fn renew(mut self) -> Result<Self> {
        self.stamp = now();
        self.installed = self.stamp / 1_000_000_000;
        let (digest, portable) = (self.digest, self.portable.clone());
        let record =
            Record { version: VERSION, digest, portable, bytes: self.bytes, files: self.files, installed: self.stamp };
        record.write(&self.dir)?;
        Ok(self)
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
