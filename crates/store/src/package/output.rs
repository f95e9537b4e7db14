//! The package file in the making: it has no name until it is complete.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use spec::{Digest, Error, Result, ResultExt};

use crate::blobs::blob_name;
use crate::tarball::{BLOCK, END, member, padding};

/// How the spare names start that are needed where a file cannot be nameless.
const SPARE: &str = ".tsubo-pack-";

/// An outer archive, written member by member.
pub(super) struct Output {
    file: File,
    directory: OwnedFd,
    name: Vec<u8>,
    spare: String,
    /// The file bears the spare name: it goes when this is dropped.
    named: bool,
    size: u64,
    shown: PathBuf,
}

impl Output {
    /// Starts the file that will be at `path`.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let invalid = || Error::user(format!("{} is not a name for a file", path.display()));
        let name = path.file_name().ok_or_else(invalid)?.as_bytes().to_vec();
        if path.is_dir() {
            return Err(Error::user(format!("{} is a directory", path.display())));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let creating = || format!("creating {}", path.display());
        let open = || -> io::Result<_> {
            let directory = rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            remove_leftovers(parent);
            let spare = format!("{SPARE}{}-{}", std::process::id(), directory.as_raw_fd());
            let (file, named) = nameless(&directory, &spare)?;
            Ok((directory, spare, file, named))
        };
        let (directory, spare, file, named) = open().doing(creating)?;
        Ok(Self { file, directory, name, spare, named, size: 0, shown: path.to_owned() })
    }

    /// Adds a directory or a file that is in memory.
    pub(super) fn member(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_all(&member(name, content.len() as u64))?;
        self.write_all(content)?;
        self.pad(content.len() as u64)
    }

    /// Adds a blob.
    pub(super) fn blob(&mut self, digest: &Digest, content: &[u8]) -> io::Result<()> {
        self.member(&blob_name(digest), content)
    }

    /// Starts a member whose name and size are known only after it is written; gives its place.
    pub(super) fn start(&mut self) -> io::Result<u64> {
        self.write_all(&[0; BLOCK])?;
        Ok(self.size)
    }

    /// Ends the blob that was started at `place`.
    pub(super) fn end(&mut self, place: u64, digest: &Digest) -> io::Result<u64> {
        let size = self.size - place;
        self.pad(size)?;
        self.file.write_all_at(&member(&blob_name(digest), size), place - BLOCK as u64)?;
        Ok(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.write_all(&END[..padding(size)])
    }

    /// Makes the file durable and gives it its name; gives its size.
    pub(super) fn publish(mut self) -> Result<u64> {
        let finish = |output: &mut Self| -> io::Result<()> {
            output.write_all(&END)?;
            output.file.sync_all()?;
            output.rename()?;
            rustix::fs::fsync(&output.directory)?;
            Ok(())
        };
        finish(&mut self).doing(|| format!("writing {}", self.shown.display()))?;
        Ok(self.size)
    }

    fn rename(&mut self) -> io::Result<()> {
        if !self.named {
            match self.link(&self.name) {
                Err(Errno::EXIST) => {
                    self.link(self.spare.as_bytes())?;
                    self.named = true;
                }
                linked => return Ok(linked?),
            }
        }
        rustix::fs::renameat(&self.directory, self.spare.as_str(), &self.directory, self.name.as_slice())?;
        self.named = false;
        Ok(())
    }

    fn link(&self, name: &[u8]) -> rustix::io::Result<()> {
        let source = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
        rustix::fs::linkat(CWD, source, &self.directory, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.named {
            // Nothing more can be done than to try.
            let _ = rustix::fs::unlinkat(&self.directory, self.spare.as_str(), AtFlags::empty());
        }
    }
}

/// A file without a name, which vanishes with its writer, where the file system has such.
fn nameless(directory: &OwnedFd, spare: &str) -> io::Result<(File, bool)> {
    let mode = Mode::from_raw_mode(0o666);
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE, mode) {
        Ok(fd) => Ok((fd.into(), false)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
            let fd = rustix::fs::openat(directory, spare, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            Ok((fd.into(), true))
        }
        Err(cause) => Err(cause.into()),
    }
}

/// Removes what killed processes left under spare names. Failing to is no reason not to pack.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(SPARE)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
