//! The home of one container's volumes.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use spec::{Error, Result, ResultExt};

use crate::record::Record;
use crate::{Kind, Room, Usage, files, image, project, subvolume};

/// An exbibyte: sums of these are still numbers.
const MOST: u64 = 1 << 60;

/// A directory whose entries are the volumes; or that holds, beside a record of it, what holds them.
/// It may be given another name at any time, and is opened anew then.
#[derive(Debug)]
pub struct Volumes {
    dir: PathBuf,
    record: Record,
}

impl Volumes {
    /// Makes `dir`, with the parents that it lacks: under another name first, so that what is there
    /// is complete. With `whole` the room is the container's from now on, whatever others write;
    /// else it is taken from the host as it is used, and given back.
    ///
    /// # Errors
    /// Unsupported, with the reason and the way out, where this host cannot hold that limit.
    pub fn make(dir: &Path, room: Room, whole: bool) -> Result<Self> {
        Self::make_attached(dir, room, whole).map(|(volumes, _)| volumes)
    }

    /// The same, and at once what [`attach`](Self::attach) gives, for which an image would be mounted
    /// a second time.
    ///
    /// # Errors
    /// As with both of them.
    pub fn make_attached(dir: &Path, room: Room, whole: bool) -> Result<(Self, OwnedFd)> {
        if room.is_unlimited() {
            make_directory(dir, 0o755)?;
            let record = Record::new(Kind::Directory, room);
            return Ok((Self::of(dir, record), files::directory(dir)?));
        }
        possible(dir, room)?;
        let new = Self::unfinished(dir)?;
        make_directory(&new, 0o700)?;
        let made = hold(&new, room, whole).and_then(|(record, fd)| {
            record.write(&new)?;
            fs::rename(&new, dir).doing(|| format!("naming {}", dir.display()))?;
            Ok((Self::of(dir, record), fd))
        });
        if made.is_err() {
            // The first failure is the one to tell.
            let _ = Self::unfinished(dir);
        }
        made
    }

    fn of(dir: &Path, record: Record) -> Self {
        Self { dir: dir.to_owned(), record }
    }

    /// The name under which `dir` is made, without what a killed command may have left there.
    fn unfinished(dir: &Path) -> Result<PathBuf> {
        let new = beside(dir, "new");
        if let Some(left) = Self::open(&new)? {
            left.remove_here()?;
        }
        Ok(new)
    }

    /// Those of `dir`; None if it is not there.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let plain = Record::new(Kind::Directory, Room::default());
        let record = Record::read(dir)?.unwrap_or(plain);
        Ok(Some(Self::of(dir, record)))
    }

    /// By what they are held.
    pub fn kind(&self) -> Kind {
        self.record.kind
    }

    /// Whether their room was taken from the disk when they were made.
    pub fn is_reserved(&self) -> bool {
        self.record.whole
    }

    /// How much they may be.
    pub fn room(&self) -> Room {
        self.record.room
    }

    /// A descriptor of the directory that holds them. For an image it is a mount that is attached
    /// nowhere: it ends with its last descriptor, and with what was attached of it. Entries whose
    /// names begin with a `%` that is not followed by `25` or `2f` are not volumes.
    ///
    /// # Errors
    /// Conflict, where they are in use already and cannot be twice.
    pub fn attach(&self) -> Result<OwnedFd> {
        match self.record.kind {
            Kind::Directory => files::directory(&self.dir),
            Kind::Project { .. } | Kind::Subvolume => {
                // As it is written, whatever a killed command has left.
                self.enforce(&self.record, self.record.room)?;
                files::directory(&self.dir.join(files::INNER))
            }
            Kind::Image => image::attach(&self.dir, &self.record),
        }
    }

    /// Gives them another room, also while they are in use. It is raised even when it is full, and
    /// lowered below what is used in bytes.
    ///
    /// # Errors
    /// Unsupported, with the reason and the way out; nothing has changed then.
    pub fn change(&mut self, room: Room) -> Result<()> {
        // Said again it is enforced again: a command that was killed may have stopped between the two.
        if room == self.record.room && self.record.kind == Kind::Directory {
            return Ok(());
        }
        sensible(room)?;
        let before = self.record;
        let changed = self.enforce(&before, room)?;
        if let Err(error) = changed.write(&self.dir) {
            // What holds and what is written are to agree, if they can.
            let _ = self.enforce(&changed, before.room);
            return Err(error);
        }
        self.record = changed;
        Ok(())
    }

    fn enforce(&self, record: &Record, room: Room) -> Result<Record> {
        match record.kind {
            Kind::Directory => Err(made_without()),
            Kind::Project { id } => project::change(&self.dir, id, record, room),
            Kind::Subvolume => subvolume::change(&self.dir, record, room),
            Kind::Image => image::change(&self.dir, record, room),
        }
    }

    /// What is kept; `used` is a descriptor inside, if they are in use.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn usage(&self, used: Option<BorrowedFd<'_>>) -> Result<Usage> {
        let counted = match self.record.kind {
            Kind::Directory => (None, None),
            Kind::Project { id } => project::usage(&self.dir, id)?,
            Kind::Subvolume => subvolume::usage(&self.dir)?,
            Kind::Image => image::usage(&self.dir, &self.record, used)?,
        };
        let own = self.record.own;
        Ok(Usage {
            bytes: counted.0.map(|bytes| bytes.saturating_sub(own.bytes)),
            inodes: counted.1.map(|inodes| inodes.saturating_sub(own.inodes)),
            limit: self.record.room,
        })
    }

    /// Removes them with all that they hold, from their name at once.
    ///
    /// # Errors
    /// Conflict, where an image is in use.
    pub fn remove(self) -> Result<()> {
        let _lock = match self.record.kind {
            Kind::Image => image::lock(&self.dir)?,
            _ => None,
        };
        let gone = beside(&self.dir, "gone");
        if gone != self.dir {
            if let Some(left) = Self::open(&gone)? {
                left.remove_here()?;
            }
            fs::rename(&self.dir, &gone).doing(|| format!("removing {}", self.dir.display()))?;
        }
        Self::of(&gone, self.record).remove_here()
    }

    fn remove_here(self) -> Result<()> {
        match self.record.kind {
            Kind::Directory | Kind::Image => {}
            Kind::Project { id } => project::remove(&self.dir, id)?,
            Kind::Subvolume => subvolume::remove(&self.dir)?,
        }
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.doing(|| format!("removing {}", self.dir.display())),
        }
    }

    /// Removes what killed commands have left beside `dir`, of which nobody makes or removes any now;
    /// says what there was.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn sweep(dir: &Path) -> Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        for left in LEFT.map(|what| beside(dir, what)) {
            if let Some(volumes) = Self::open(&left)? {
                volumes.remove_here()?;
                removed.push(left);
            }
        }
        Ok(removed)
    }
}

/// What half of it may be left of, by the end of its name.
const LEFT: [&str; 2] = ["new", "gone"];

/// `%NAME.what`, the name of no container.
fn beside(dir: &Path, what: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("%{name}.{what}"))
}

/// The name of which `path` is what a killed command has left.
pub fn left_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix('%')?;
    LEFT.iter().find_map(|what| name.strip_suffix(what)?.strip_suffix('.'))
}

fn make_directory(dir: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(dir);
    made.doing(|| format!("making {}", dir.display()))
}

/// Whatever holds it.
fn sensible(room: Room) -> Result<()> {
    if room.bytes.is_some_and(|bytes| bytes < image::LEAST_BYTES) || room.inodes == Some(0) {
        return Err(Error::user("a limit of disk is at least 64 KiB and one inode"));
    }
    if room.bytes.max(room.inodes).is_some_and(|most| most > MOST) {
        return Err(Error::user("no disk is as large as that limit").hint("leave the limit out"));
    }
    Ok(())
}

/// What is refused before anything is done.
fn possible(dir: &Path, room: Room) -> Result<()> {
    sensible(room)?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::conflict(format!("{} is there already", dir.display())));
    }
    if !files::is_host_root() {
        return Err(Error::unsupported("a limit of disk takes the host's root: nobody else may set quotas or mount images")
            .hint("run it as root, or keep what is written in memory, where its size is limited (a volume of type tmpfs)"));
    }
    Ok(())
}

/// The best that the file system of `dir` offers, attached. Quotas reserve nothing.
fn hold(dir: &Path, room: Room, whole: bool) -> Result<(Record, OwnedFd)> {
    if !whole {
        let record = match project::make(dir, room)? {
            None => subvolume::make(dir, room)?,
            record => record,
        };
        if let Some(record) = record {
            return Ok((record, files::directory(&dir.join(files::INNER))?));
        }
    }
    image::make(dir, room, whole)
}

fn made_without() -> Error {
    Error::unsupported(
        "these volumes were made without a limit, and every file would have to be visited to set one",
    )
    .hint("copy what they hold, remove them (tsubo rm --volumes) and start the container anew with a limit")
}
