//! Held by the quota group of a btrfs subvolume. It counts bytes, not inodes.

use std::ffi::CStr;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use spec::{Error, Result, ResultExt};
use sys::btrfs;

use crate::files::{self, INNER};
use crate::record::{Own, Record};
use crate::{Kind, Room};

/// [`INNER`] for the kernel.
const NAME: &CStr = c"%volumes";

/// Makes the volumes of `dir` a subvolume; None where that is not possible, or quotas are off.
pub(crate) fn make(dir: &Path, room: Room) -> Result<Option<Record>> {
    let home = files::directory(dir)?;
    if room.inodes.is_some() || !files::is_btrfs(&home) || !counts(home.as_fd()) {
        return Ok(None);
    }
    let made = btrfs::create(home.as_fd(), NAME).map_err(io::Error::from);
    made.doing(|| format!("making a subvolume in {}", dir.display()))?;
    let volumes = files::directory(&dir.join(INNER))?;
    let system = btrfs::file_system(home.as_fd()).map_err(io::Error::from).doing(|| "looking at btrfs")?;
    let own = Own { bytes: counted(volumes.as_fd())?.max(system.node.into()), inodes: 0 };
    let record = Record { own, ..Record::new(Kind::Subvolume, room) };
    limit(volumes.as_fd(), &record)?;
    Ok(Some(record))
}

/// Whether quotas are enabled.
fn counts(inside: BorrowedFd<'_>) -> bool {
    btrfs::file_system(inside).is_ok_and(|system| groups(system.identity).is_dir())
}

/// Gives them another room: one call, whatever they hold.
pub(crate) fn change(dir: &Path, record: &Record, room: Room) -> Result<Record> {
    if room.inodes.is_some() {
        return Err(Error::unsupported("quota groups of btrfs count bytes, not inodes").hint(
            "limit the bytes; or copy what the volumes hold, remove them and start the container anew with \
             a limit of inodes, for which it gets an image",
        ));
    }
    let changed = Record { room, ..*record };
    limit(files::directory(&dir.join(INNER))?.as_fd(), &changed)?;
    Ok(changed)
}

/// What btrfs counted, with what is not yet on the disk.
pub(crate) fn usage(dir: &Path) -> Result<(Option<u64>, Option<u64>)> {
    let volumes = files::directory(&dir.join(INNER))?;
    counted(volumes.as_fd()).map(|bytes| (Some(bytes), None))
}

/// A subvolume goes at once, however much it holds.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    let home = files::directory(dir)?;
    let Ok(volumes) = files::directory(&dir.join(INNER)) else { return Ok(()) };
    let number = btrfs::number(volumes.as_fd());
    drop(volumes);
    match btrfs::destroy(home.as_fd(), NAME) {
        // With others in it, or in use as somebody's mount: the slow way may do.
        Err(Errno::NOTEMPTY | Errno::PERM) => {
            let inner = dir.join(INNER);
            fs::remove_dir_all(&inner).doing(|| format!("removing {}", inner.display()))?;
        }
        result => result
            .map_err(io::Error::from)
            .doing(|| format!("removing the subvolume of {}", dir.display()))?,
    }
    if let Ok(number) = number {
        // Mostly the kernel still removes what was in it. What is left then is a group of nobody,
        // whose number is never used again.
        let _ = btrfs::forget(home.as_fd(), number);
    }
    Ok(())
}

fn limit(volumes: BorrowedFd<'_>, record: &Record) -> Result<()> {
    let bytes = record.room.bytes.map(|bytes| bytes.saturating_add(record.own.bytes));
    btrfs::limit(volumes, bytes).map_err(io::Error::from).doing(|| "limiting a quota group of btrfs")
}

/// What is on the disk, and what was promised to what is not there yet.
fn counted(volumes: BorrowedFd<'_>) -> Result<u64> {
    let group = || {
        let number = btrfs::number(volumes)?;
        Ok(groups(btrfs::file_system(volumes)?.identity).join(format!("0_{number}")))
    };
    let group = io::Result::doing(group(), || "looking for a quota group of btrfs")?;
    let parts = ["referenced", "rsv_data", "rsv_meta_pertrans", "rsv_meta_prealloc"];
    parts.iter().map(|part| figure(&group.join(part))).sum()
}

fn figure(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).doing(|| format!("reading {}", path.display()))?;
    text.trim().parse().map_err(|_| Error::internal(format!("{} holds no number", path.display())))
}

fn groups(identity: [u8; 16]) -> PathBuf {
    let mut path = String::from("/sys/fs/btrfs/");
    for (at, byte) in identity.iter().enumerate() {
        let dash = if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
        // Into a string it never fails.
        let _ = write!(path, "{dash}{byte:02x}");
    }
    PathBuf::from(path).join("qgroups")
}
