//! How large an image is made for a room.

use spec::{Error, Result};

use crate::Room;

const MIB: u64 = 1 << 20;
/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
/// What one bitmap of a block describes; a file system is made of these.
pub(super) const GROUP: u64 = 8 * BLOCK * BLOCK;
/// As many inodes as the other bitmap describes.
const MOST_PER_GROUP: u64 = 8 * BLOCK;
/// As many as fill a block of their table.
const STEP: u64 = BLOCK / INODE;
/// Bytes of an inode.
const INODE: u64 = 256;
/// Inodes of ext4's own (10) and of ours (the directory of spares), and some that no count depends on.
const OWN_INODES: u64 = 16;
/// So many times the limit can it become without growing the file system.
const HEADROOM: u64 = 4;
/// And so many more inodes can there be; each of them is a file that has to be made.
const MORE_INODES: u64 = 1024;
/// Where nobody says how many: one for so many bytes, as `mke2fs` does it.
const BYTES_PER_INODE: u64 = 16 * 1024;
/// No file of ext4 is larger.
pub(super) const LARGEST: u64 = (1 << 44) - GROUP;

/// They have numbers of 32 bits, and some are our own.
const MOST_INODES: u64 = 1 << 31;

/// What the file system is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Of the file.
    pub(super) bytes: u64,
    pub(super) inodes: u64,
    pub(super) journal_mib: u64,
}

impl Shape {
    /// For `room`, on a disk of `host` bytes; `whole` without what would have to be reserved in vain.
    pub(super) fn of(room: Room, whole: bool, host: u64) -> Self {
        let bytes = room.bytes.unwrap_or(host).min(LARGEST / 2);
        let inodes = room.inodes.map(|inodes| inodes.saturating_add(inodes.min(MORE_INODES) + OWN_INODES));
        let journal_mib = (bytes / (256 * MIB)).clamp(4, 64);
        let tables = inodes.unwrap_or(bytes / BYTES_PER_INODE) * INODE;
        let least = bytes + tables + journal_mib * MIB + margin(bytes) + overhead(bytes);
        if whole {
            let inodes = inodes.unwrap_or(least / BYTES_PER_INODE);
            return Self { bytes: least.next_multiple_of(MIB), inodes, journal_mib };
        }
        let most = if room.bytes.is_some() { least.saturating_mul(HEADROOM).min(LARGEST) } else { least };
        let groups = groups(least.div_ceil(GROUP), most.div_ceil(GROUP), inodes);
        let inodes =
            inodes.map_or(groups * (GROUP / BYTES_PER_INODE), |wanted| per_group(wanted, groups) * groups);
        Self { bytes: groups * GROUP, inodes, journal_mib }
    }
}

/// What no image can be is refused, and never made smaller silently.
pub(super) fn possible(room: Room) -> Result<()> {
    let too_large = room.bytes.is_some_and(|bytes| bytes > LARGEST / 2);
    if too_large || room.inodes.is_some_and(|inodes| inodes > MOST_INODES) {
        return Err(Error::unsupported(
            "no image can be as large as that limit of disk: at most 8 TiB and 2 billion inodes",
        )
        .hint("mount the file system with project quotas (prjquota), or choose a smaller limit"));
    }
    Ok(())
}

/// What may not be given away: a file system without any spare block cannot write back what it
/// promised.
pub(super) fn margin(bytes: u64) -> u64 {
    (bytes / 50).clamp(4 * MIB, 64 * MIB)
}

/// Bitmaps, descriptors and room for more descriptors.
fn overhead(bytes: u64) -> u64 {
    bytes / 200 + MIB
}

/// How many groups, so that as few inodes as possible are too many: every group has equally many, and
/// each of those beyond the limit has to be made a file.
fn groups(least: u64, most: u64, inodes: Option<u64>) -> u64 {
    let Some(inodes) = inodes else { return most };
    let least = least.max(inodes.div_ceil(MOST_PER_GROUP));
    // Each has at least one step of them.
    let most = most.min(inodes / STEP).max(least);
    inodes.div_ceil(per_group(inodes, most)).max(least)
}

fn per_group(inodes: u64, groups: u64) -> u64 {
    inodes.div_ceil(groups).next_multiple_of(STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn shape(bytes: u64, inodes: u64) -> Shape {
        Shape::of(Room { bytes: Some(bytes), inodes: Some(inodes) }, false, 1 << 40)
    }

    #[test]
    fn few_inodes_are_too_many() {
        for (bytes, inodes) in
            [(10 * GIB, 500_000), (GIB, 100_000), (100 * GIB, 5_000_000), (10 * MIB, 1_000_000)]
        {
            let made = shape(bytes, inodes);
            assert!(made.inodes >= inodes + 11, "{made:?}");
            assert!(made.inodes - inodes < 4096 + inodes / 50, "{made:?} for {inodes}");
            assert!(made.bytes >= bytes + made.inodes * INODE && made.bytes % GROUP == 0, "{made:?}");
        }
        // Not more files to be made than there are groups with a block of inodes.
        assert!(shape(10 * GIB, 100).inodes < 2000);
    }

    #[test]
    fn there_is_headroom_unless_all_of_it_is_reserved() {
        assert!(shape(10 * GIB, 500_000).bytes > 39 * GIB);
        let room = Room { bytes: Some(10 * GIB), inodes: Some(500_000) };
        assert!(Shape::of(room, true, 1 << 40).bytes < 11 * GIB);
    }

    #[test]
    fn without_a_limit_of_bytes_it_is_as_large_as_the_disk() {
        let made = Shape::of(Room { bytes: None, inodes: Some(1000) }, false, 50 * GIB);
        assert!((50 * GIB..52 * GIB).contains(&made.bytes), "{made:?}");
        assert!(Shape::of(Room { bytes: None, inodes: Some(1000) }, false, u64::MAX).bytes <= LARGEST);
    }
}
