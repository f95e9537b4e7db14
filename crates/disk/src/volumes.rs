//! The home of one container's volumes.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use spec::{Error, Result, ResultExt};

use crate::record::Record;
use crate::{Kind, Room, Usage};

/// A directory whose entries are the volumes; or that holds, beside a record of it, what holds them.
#[derive(Debug)]
pub struct Volumes {
    dir: PathBuf,
    record: Record,
}

impl Volumes {
    /// Makes `dir`, with the parents that it lacks: under another name first, so that what is there
    /// is complete.
    ///
    /// # Errors
    /// Unsupported, with the reason and the way out, where this host cannot hold that limit.
    pub fn make(dir: &Path, room: Room, whole: bool) -> Result<Self> {
        if !room.is_unlimited() {
            return Err(Error::unsupported("a limit of disk cannot be held here"));
        }
        let making = || format!("making {}", dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(dir).doing(making)?;
        Ok(Self { dir: dir.to_owned(), record: Record { kind: Kind::Directory, room, whole } })
    }

    /// Those of `dir`; None if it is not there.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let plain = Record { kind: Kind::Directory, room: Room::default(), whole: false };
        let record = Record::read(dir)?.unwrap_or(plain);
        Ok(Some(Self { dir: dir.to_owned(), record }))
    }

    /// By what they are held.
    pub fn kind(&self) -> Kind {
        self.record.kind
    }

    /// How much they may be.
    pub fn room(&self) -> Room {
        self.record.room
    }

    /// A descriptor of the directory that holds them.
    ///
    /// # Errors
    /// Conflict, where they are in use already and cannot be twice.
    pub fn attach(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&self.dir, flags, Mode::empty()).map_err(std::io::Error::from);
        opened.doing(|| format!("opening {}", self.dir.display()))
    }

    /// Gives them another room, also while they are in use: then `used` is a descriptor inside.
    ///
    /// # Errors
    /// Unsupported, with the reason and the way out; nothing has changed then.
    pub fn change(&mut self, room: Room, _used: Option<BorrowedFd<'_>>) -> Result<()> {
        if room == self.record.room {
            return Ok(());
        }
        Err(Error::unsupported("these volumes were made without a limit"))
    }

    /// What is kept; `used` is a descriptor inside, if they are in use.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn usage(&self, _used: Option<BorrowedFd<'_>>) -> Result<Usage> {
        Ok(Usage { bytes: None, inodes: None, limit: self.record.room })
    }

    /// Removes them with all that they hold.
    ///
    /// # Errors
    /// Conflict, where they are in use.
    pub fn remove(self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.doing(|| format!("removing {}", self.dir.display())),
        }
    }
}
