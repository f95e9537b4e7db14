//! An installed image and its record on disk.
//!
//! `images/DIGEST/` holds `root/` (the tree), `image.json` (the record) and `seals` (one line for
//! each path: a digest of all its metadata and content, and the path).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use spec::portable::Portable;
use spec::{Digest, Error, Name, Result, ResultExt};

use crate::input;

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
    /// [`Self::installed`] exactly: which of several images a name means.
    pub(crate) stamp: SystemTime,
}

/// What `image.json` holds. When the image was installed last is the file's time of modification:
/// that changes in one step, without a new file in a directory that is being removed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) digest: Digest,
    pub(crate) portable: Portable,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// The version of the record.
pub(crate) const VERSION: u32 = 1;

impl Record {
    /// Writes the record; gives the time that it bears.
    pub(crate) fn write(&self, dir: &Path) -> Result<SystemTime> {
        let path = dir.join(RECORD);
        let invalid = |cause| Error::internal("writing an image's record").because(cause);
        let bytes = serde_json::to_vec_pretty(self).map_err(invalid)?;
        let now = SystemTime::now();
        let write = || -> io::Result<_> {
            let mut file = File::create(&path)?;
            file.write_all(&bytes)?;
            // Finer than the kernel's own clock for files, which ticks every few milliseconds.
            file.set_modified(now)?;
            Ok(now)
        };
        write().doing(|| format!("writing {}", path.display()))
    }

    pub(crate) fn into_image(self, dir: PathBuf, stamp: SystemTime) -> Image {
        Image {
            digest: self.digest,
            name: self.portable.name.clone(),
            portable: self.portable,
            tree: dir.join("root"),
            bytes: self.bytes,
            files: self.files,
            installed: stamp.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            dir,
            stamp,
        }
    }
}

impl Image {
    /// Reads the image in `dir`; None if there is none.
    pub(crate) fn read(dir: PathBuf) -> Result<Option<Self>> {
        Self::read_mentioning(dir, "")
    }

    /// Reads the image in `dir` if its record mentions `word` anywhere; None as well if not.
    pub(crate) fn read_mentioning(dir: PathBuf, word: &str) -> Result<Option<Self>> {
        let path = dir.join(RECORD);
        let reading = || format!("reading {}", path.display());
        let read = || -> io::Result<_> {
            let mut file = File::open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((bytes, file.metadata()?.modified()?))
        };
        let (bytes, stamp) = match read() {
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            read => read.doing(reading)?,
        };
        let mentions =
            |bytes: &[u8]| word.is_empty() || bytes.windows(word.len()).any(|part| part == word.as_bytes());
        if !mentions(&bytes) {
            return Ok(None);
        }
        let damaged = |error: Error| {
            Error::internal(format!("the record of the image in {} is damaged", dir.display()))
                .because(error)
                .hint("install the package again, or remove it with `tsubo rmi` and its digest")
        };
        let record: Record = input::json(&bytes, "the record").map_err(damaged)?;
        Ok(Some(record.into_image(dir, stamp)))
    }

    /// Makes this the image that its name means.
    pub(crate) fn renew(&mut self) -> Result<()> {
        let path = self.dir.join(RECORD);
        let now = SystemTime::now();
        let touch = || File::open(&path)?.set_modified(now);
        touch().doing(|| format!("renewing {}", path.display()))?;
        self.installed = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.stamp = now;
        Ok(())
    }
}

pub(crate) const RECORD: &str = "image.json";
