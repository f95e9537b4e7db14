//! Empty files, one for each inode that an image has beyond its limit.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use spec::{Error, ErrorKind, Result, ResultExt};

use super::limits::Figures;
use super::shape::BLOCK;
use crate::Room;
use crate::record::Record;

/// Where they are, out of every container's sight. Their names are their numbers, from 0 on.
const DIRECTORY: &str = "%spares";

/// More take too long to make.
const MOST: u64 = 4_000_000;

/// How many there have to be, of `inodes` of which `fixed` are neither they nor volumes'.
pub(super) fn wanted(room: Room, fixed: u64, inodes: u64) -> u64 {
    room.inodes.map_or(0, |limit| inodes.saturating_sub(fixed).saturating_sub(limit))
}

/// Bytes that their directory may grow by.
pub(super) fn room(figures: &Figures, record: &Record, room: Room) -> u64 {
    let more = wanted(room, record.own.inodes - record.spares, figures.inodes).saturating_sub(record.spares);
    // Entries of at most 16 bytes, in blocks that are half full, and an index.
    (more / 100 + 16) * BLOCK
}

/// Makes a place for them, in a new image.
pub(super) fn make_directory(root: BorrowedFd<'_>) -> Result<()> {
    let made = rustix::fs::mkdirat(root, DIRECTORY, Mode::RWXU).map_err(io::Error::from);
    made.doing(|| "making the directory of spare inodes")
}

/// Makes or removes as many as there are too few or too many of them: all, or none.
pub(super) fn set(root: BorrowedFd<'_>, from: u64, to: u64) -> Result<()> {
    if to > from + MOST {
        return Err(Error::unsupported(format!(
            "{} inodes would have to be taken away one by one",
            to - from
        ))
        .hint("copy what the volumes hold, remove them and start the container anew with this limit"));
    }
    if from == to {
        return Ok(());
    }
    let directory = open(root)?;
    for number in from..to {
        if let Err(error) = make(&directory, number) {
            remove(&directory, from..number).doing(|| "removing spare inodes")?;
            return Err(not_made(error));
        }
    }
    remove(&directory, to..from).doing(|| "removing spare inodes")
}

/// Makes those that a power failure took along, which are the last of them, and removes what a killed
/// command made too many.
pub(super) fn restore(root: BorrowedFd<'_>, spares: u64) -> Result<()> {
    if size(root)? == 0 {
        make_directory(root)?;
    }
    let (mut there, mut beyond) = (spares, spares);
    while there > 0 && !exists(root, there - 1)? {
        there -= 1;
    }
    while exists(root, beyond)? {
        beyond += 1;
    }
    set(root, beyond, spares)?;
    match set(root, there, spares) {
        // Volumes hold files instead: nobody can make more of them.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        result => result,
    }
}

/// Bytes of their directory; none where it is gone.
pub(super) fn size(root: BorrowedFd<'_>) -> Result<u64> {
    match rustix::fs::statat(root, DIRECTORY, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(0),
        stat => stat.map(|stat| stat.st_blocks as u64 * 512).map_err(io::Error::from).doing(looking),
    }
}

fn looking() -> &'static str {
    "looking for spare inodes"
}

fn exists(root: BorrowedFd<'_>, number: u64) -> Result<bool> {
    match rustix::fs::statat(root, format!("{DIRECTORY}/{number}"), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        stat => stat.map(|_| true).map_err(io::Error::from).doing(looking),
    }
}

fn open(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(root, DIRECTORY, flags, Mode::empty()).map_err(io::Error::from);
    opened.doing(|| "opening the directory of spare inodes")
}

fn make(directory: &OwnedFd, number: u64) -> rustix::io::Result<()> {
    rustix::fs::mknodat(directory, number.to_string(), FileType::RegularFile, Mode::empty(), 0)
}

/// From the last on: what is left is always without gaps.
fn remove(directory: &OwnedFd, numbers: std::ops::Range<u64>) -> io::Result<()> {
    for number in numbers.rev() {
        rustix::fs::unlinkat(directory, number.to_string(), AtFlags::empty())?;
    }
    Ok(())
}

pub(super) fn too_many_files() -> Error {
    Error::conflict("the volumes hold more files than that")
        .hint("remove some of them, or choose a higher limit of inodes")
}

fn not_made(error: Errno) -> Error {
    match error {
        Errno::NOSPC => too_many_files(),
        error => Error::io("making spare inodes", error.into()),
    }
}
