//! What holds an image to its limits, and counts.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use spec::{Result, ResultExt};

use super::shape::BLOCK;
use super::spares;
use crate::Room;
use crate::record::{Own, Record};

/// What the file system says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    /// For files, without what describes them.
    pub(super) blocks: u64,
    pub(super) blocks_used: u64,
    pub(super) inodes: u64,
    pub(super) inodes_used: u64,
}

impl Figures {
    /// Of the mounted one that `inside` is in: one call, exact.
    pub(super) fn of(inside: BorrowedFd<'_>) -> Result<Self> {
        let stat = rustix::fs::fstatvfs(inside).map_err(io::Error::from);
        let stat = stat.doing(|| "asking for the figures of an image")?;
        Ok(Self {
            blocks: stat.f_blocks,
            blocks_used: stat.f_blocks.saturating_sub(stat.f_bfree),
            inodes: stat.f_files,
            inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
        })
    }

    pub(super) fn bytes_used(&self) -> u64 {
        self.blocks_used * BLOCK
    }
}

/// Holds the bytes to the limit: whatever is beyond it is the file system's own.
pub(super) fn hold(inside: BorrowedFd<'_>, number: u32, record: &Record) -> Result<()> {
    match record.room.bytes {
        Some(bytes) => reserve(number, beyond(&Figures::of(inside)?, bytes, record.own)),
        None => Ok(()),
    }
}

fn beyond(figures: &Figures, bytes: u64, own: Own) -> u64 {
    figures.blocks.saturating_sub((bytes + own.bytes) / BLOCK)
}

/// One write, whatever it holds. It may leave less than nothing free.
fn reserve(number: u32, blocks: u64) -> Result<()> {
    let path = format!("/sys/fs/ext4/loop{number}/reserved_clusters");
    fs::write(&path, blocks.to_string()).doing(|| format!("writing {path}"))
}

/// Gives the mounted file system another room, for which it is large enough.
pub(super) fn change(inside: BorrowedFd<'_>, number: u32, record: &Record, room: Room) -> Result<Record> {
    let mut changed = Record { room, ..*record };
    if let Some(bytes) = room.bytes {
        let before = Figures::of(inside)?;
        // What is made beyond the limit takes blocks, however full it is; raised is at once.
        let most = bytes.max(record.room.bytes.unwrap_or(0)) + spares::room(&before, record, room);
        reserve(number, beyond(&before, most, record.own))?;
    }
    if let Err(error) = respare(inside, &mut changed) {
        hold(inside, number, record)?;
        return Err(error);
    }
    hold(inside, number, &changed)?;
    Ok(changed)
}

/// Makes as many spares as the room wants, and counts what they take as our own.
fn respare(inside: BorrowedFd<'_>, record: &mut Record) -> Result<()> {
    let figures = Figures::of(inside)?;
    let fixed = record.own.inodes.saturating_sub(record.spares);
    let spares = spares::wanted(record.room, fixed, figures.inodes);
    if spares == record.spares {
        return Ok(());
    }
    if spares.saturating_sub(record.spares) > figures.inodes - figures.inodes_used {
        return Err(spares::too_many_files());
    }
    let before = spares::size(inside)?;
    spares::set(inside, record.spares, spares)?;
    record.own.bytes += spares::size(inside)?.saturating_sub(before);
    record.own.inodes = fixed + spares;
    record.spares = spares;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_is_reserved() {
        let figures = Figures { blocks: 1000, blocks_used: 3, inodes: 0, inodes_used: 0 };
        let own = Own { bytes: 3 * BLOCK, inodes: 0 };
        assert_eq!(beyond(&figures, 100 * BLOCK, own), 897);
        assert_eq!(beyond(&figures, 5000 * BLOCK, own), 0);
    }
}
