//! Held by an image: a file with ext4 in it, on a loop device, on whatever file system it lies.
//!
//! The file is larger than the room, and sparse. What holds the limits can be changed at any time:
//!
//! * bytes: the file system reserves all blocks beyond the limit (`reserved_clusters`), for itself
//!   and not for root, who is as limited as anybody;
//! * inodes: those beyond the limit are empty files that nobody sees (`spares`).
//!
//! The file's lock is held by the loop device itself, so it is mounted once, and for exactly as long as
//! something uses it: nothing is left to be cleaned up by whoever is killed.

mod file;
mod grow;
mod limits;
mod mount;
mod shape;
mod spares;
mod superblock;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::AtFlags;
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::record::{Own, Record};
use crate::{Kind, Room, files};
pub(crate) use file::Lock;
use limits::Figures;
use mount::Mounted;
use shape::Shape;

/// Less is no file system.
pub(crate) const LEAST_BYTES: u64 = 64 * 1024;

/// The image, beside the record.
const FILE: &str = "%image";

/// Makes an image in `dir`, whose volumes hold nothing yet. It is mounted for that already, as by
/// [`attach`].
pub(crate) fn make(dir: &Path, room: Room, whole: bool) -> Result<(Record, OwnedFd)> {
    shape::possible(room)?;
    let host = files::size_of_host(files::directory(dir)?).doing(|| "asking for the size of the disk")?;
    let path = dir.join(FILE);
    file::make(&path, &Shape::of(room, whole, host), whole)?;
    let mounted = Mounted::new(&path, Lock::take(&path)?, whole)?;
    let mut record = Record { whole, ..Record::new(Kind::Image, room) };
    // What is lost and found, we know.
    let _ = rustix::fs::unlinkat(&mounted, "lost+found", AtFlags::REMOVEDIR);
    spares::make_directory(mounted.as_fd())?;
    let empty = Figures::of(mounted.as_fd())?;
    record.spares = spares::wanted(room, empty.inodes_used, empty.inodes);
    spares::set(mounted.as_fd(), 0, record.spares)?;
    let empty = Figures::of(mounted.as_fd())?;
    record.own = Own { bytes: empty.bytes_used(), inodes: empty.inodes_used };
    limits::hold(mounted.as_fd(), mounted.number(), &record)?;
    Ok((record, mounted.into_fd()))
}

/// A mount of the image, attached nowhere, that holds the limits.
pub(crate) fn attach(dir: &Path, record: &Record) -> Result<OwnedFd> {
    let path = dir.join(FILE);
    let lock = Lock::take(&path)?;
    // Somebody else may have changed it while it was ours to wait.
    let record = &Record::read(dir)?.unwrap_or(*record);
    let mounted = Mounted::new(&path, lock, record.whole)?;
    if record.room.inodes.is_some() {
        // A power failure may have taken some along.
        spares::restore(mounted.as_fd(), record.spares)?;
    }
    // It may have grown under a command that was killed then.
    match limits::change(mounted.as_fd(), mounted.number(), record, record.room) {
        Ok(held) if held != *record => held.write(dir)?,
        // Volumes hold files instead, as above.
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        held => held.map(drop)?,
    }
    Ok(mounted.into_fd())
}

/// Gives it another room, whether somebody uses it or not.
pub(crate) fn change(dir: &Path, record: &Record, room: Room) -> Result<Record> {
    if room.bytes.is_none() && record.room.bytes.is_some() {
        return Err(Error::unsupported("these volumes are in an image, which has a size")
            .hint("say how many bytes they may be"));
    }
    shape::possible(room)?;
    let path = dir.join(FILE);
    match Lock::try_take(&path)? {
        Some(lock) => change_unused(&path, lock, record, room),
        None => match Mounted::again(&path, record.whole)? {
            Some(mounted) => change_used(&path, &mounted, record, room),
            // Whoever had it is gone.
            None => change_unused(&path, Lock::take(&path)?, record, room),
        },
    }
}

/// By a mount of its root of our own: in what a container sees of it, it can lay anything in the way.
fn change_used(path: &Path, mounted: &Mounted, record: &Record, room: Room) -> Result<Record> {
    let figures = Figures::of(mounted.as_fd())?;
    if let Some(size) = grow::needed(&figures, record, room)? {
        grow::mounted(path, mounted.device(), mounted.as_fd(), size, record.whole)?;
    }
    limits::change(mounted.as_fd(), mounted.number(), record, room)
}

fn change_unused(path: &Path, lock: Lock, record: &Record, room: Room) -> Result<Record> {
    let mounted = Mounted::new(path, lock, record.whole)?;
    let figures = Figures::of(mounted.as_fd())?;
    let mounted = match grow::needed(&figures, record, room)? {
        None => mounted,
        Some(size) => {
            // Its journal is written back by that: it can be changed by a program.
            drop(mounted);
            let lock = Lock::take(path)?;
            grow::unmounted(path, &lock, size, record.whole)?;
            Mounted::new(path, lock, record.whole)?
        }
    };
    limits::change(mounted.as_fd(), mounted.number(), record, room)
}

/// What the file system counted, with what is our own.
pub(crate) fn usage(
    dir: &Path,
    record: &Record,
    used: Option<BorrowedFd<'_>>,
) -> Result<(Option<u64>, Option<u64>)> {
    let path = dir.join(FILE);
    let figures = match used {
        Some(used) => Figures::of(used)?,
        None => match superblock::figures(&path)? {
            Some(figures) => figures,
            // It was mounted when the host went down: to mount it puts it in order.
            None => {
                let lock = Lock::take_within(&path, Duration::from_millis(500))?;
                Figures::of(Mounted::new(&path, lock, record.whole)?.as_fd())?
            }
        },
    };
    Ok((Some(figures.bytes_used()), Some(figures.inodes_used)))
}

/// Nobody uses it while this is held; None if it is gone.
pub(crate) fn lock(dir: &Path) -> Result<Option<Lock>> {
    let path = dir.join(FILE);
    if path.exists() { Lock::take(&path).map(Some) } else { Ok(None) }
}
