//! Reading what a user gave: files that may be anything.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use spec::{Digest, Error, Result, ResultExt};

use crate::limits;

/// Opens a regular file; never blocks on a FIFO, never opens a device.
pub(crate) fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let reading = || format!("reading {}", path.display());
    let meta = std::fs::metadata(path).doing(reading)?;
    if !meta.is_file() {
        return Err(Error::user(format!("{} is not a regular file", path.display())));
    }
    let file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from).doing(reading)?);
    match file.metadata().doing(reading)?.is_file() {
        true => Ok(file),
        false => Err(Error::user(format!("{} is not a regular file", path.display()))),
    }
}

/// What went wrong while reading input: our own error if one travelled inside, an I/O error if the
/// kernel said so, otherwise damaged input.
pub(crate) fn bad(what: impl Into<String>, cause: io::Error) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => error,
        Err(cause) if cause.raw_os_error().is_some() => Error::io(what, cause),
        Err(cause) => Error::user(what).because(cause),
    }
}

/// A part of a file, read by position: several can be read at once.
#[derive(Clone)]
pub(crate) struct Window {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Window {
    pub(crate) fn new(file: Arc<File>, at: u64, len: u64) -> Self {
        Self { file, at, end: at.saturating_add(len) }
    }

    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::new(Arc::new(file), 0, len))
    }

    pub(crate) fn len(&self) -> u64 {
        self.end - self.at
    }

    /// The part of this window that starts `offset` bytes in.
    pub(crate) fn part(&self, offset: u64, len: u64) -> Option<Self> {
        let at = self.at.checked_add(offset)?;
        let end = at.checked_add(len)?;
        (end <= self.end).then(|| Self { file: self.file.clone(), at, end })
    }
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.len()).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buf[..want], self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

/// A reader that can pass over bytes, cheaply where it can seek.
pub(crate) trait Skip: Read + Sized {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.by_ref().take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Skip for Window {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += bytes;
        Ok(())
    }
}

impl Skip for &[u8] {}

/// Everything in `source`, which must not be more than `limit` bytes.
pub(crate) fn bounded(source: impl Read, limit: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes).map_err(|cause| bad(format!("reading {what}"), cause))?;
    if bytes.len() as u64 > limit {
        return Err(Error::user(format!("{what} is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// A JSON document of bounded size (serde_json bounds the nesting at 128).
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    if bytes.len() as u64 > limits::JSON {
        return Err(Error::user(format!("{what} is larger than {} bytes", limits::JSON)));
    }
    serde_json::from_slice(bytes).map_err(|cause| Error::user(format!("{what} is not valid")).because(cause))
}

/// The digest of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_json_is_refused_without_exhausting_the_stack() {
        let deep = "[".repeat(1_000_000);
        assert!(json::<serde_json::Value>(deep.as_bytes(), "x").is_err());
    }

    #[test]
    fn large_json_is_refused() {
        let large = vec![b' '; limits::JSON as usize + 1];
        let error = json::<serde_json::Value>(&large, "index.json").expect_err("too large");
        assert!(error.chain().contains("index.json is larger"));
    }
}
