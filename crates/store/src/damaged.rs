//! Images whose record cannot be read: they stand in nobody's way, and can be removed or replaced.

use std::path::{Path, PathBuf};

use spec::{Digest, Error};

/// An image without a record that makes sense.
#[derive(Debug)]
pub struct Damaged {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its root file system, on the host: a container may be running on it.
    pub tree: PathBuf,
    /// What is wrong.
    pub error: Error,
}

impl Damaged {
    /// The one in `dir`, which `error` tells of; None where that is not called like an image, or
    /// has been removed meanwhile.
    pub(crate) fn new(dir: &Path, error: Error) -> Option<Self> {
        let hex = dir.file_name()?.to_str()?;
        let digest = format!("sha256:{hex}").parse().ok().filter(|_| dir.is_dir())?;
        Some(Self { digest, tree: dir.join("root"), error })
    }

    /// What is said where the record is missing.
    pub(crate) fn without_record(dir: &Path) -> Error {
        Error::internal(format!("the image in {} has no record", dir.display()))
    }
}
