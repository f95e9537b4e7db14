//! A larger file system, where the headroom does not do.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use spec::{Error, Result, ResultExt};
use sys::loop_device::LoopDevice;

use super::file::{self, Lock};
use super::limits::Figures;
use super::shape::{BLOCK, GROUP, LARGEST, margin};
use crate::Room;
use crate::record::Record;

/// CAP_SYS_RESOURCE, which it takes to enlarge a mounted file system.
const SYS_RESOURCE: u32 = 24;

/// How many bytes the file has to get in addition for `room`; None if it is large enough.
pub(super) fn needed(figures: &Figures, record: &Record, room: Room) -> Result<Option<u64>> {
    let bytes = room.bytes.map_or(0, |bytes| bytes + record.own.bytes + margin(bytes));
    let missing = bytes.saturating_sub(figures.blocks * BLOCK);
    let inodes = room.inodes.unwrap_or(0) + (record.own.inodes - record.spares);
    let missing_inodes = inodes.saturating_sub(figures.inodes);
    if missing == 0 && missing_inodes == 0 {
        return Ok(None);
    }
    // What describes a group is less than a sixteenth of it, unless it is full of inodes.
    let for_bytes = (missing + missing / 16).div_ceil(GROUP);
    let per_group = figures.inodes / (figures.blocks * BLOCK).div_ceil(GROUP).max(1);
    let groups = for_bytes.max(missing_inodes.div_ceil(per_group.max(1)));
    if groups.saturating_mul(GROUP) > LARGEST - (figures.blocks * BLOCK).min(LARGEST) {
        return Err(
            Error::unsupported("no image can be as large as that").hint("choose a smaller limit of disk")
        );
    }
    Ok(Some(groups * GROUP))
}

/// While it is mounted: its file, the device and the file system, in this order.
pub(super) fn mounted(
    path: &Path,
    device: &LoopDevice,
    inside: BorrowedFd<'_>,
    more: u64,
    whole: bool,
) -> Result<()> {
    let capabilities = sys::capability::permitted().map_err(io::Error::from);
    let capabilities = capabilities.doing(|| "asking for capabilities")?;
    if capabilities & (1 << SYS_RESOURCE) == 0 {
        return Err(not_now("this process lacks the capability SYS_RESOURCE"));
    }
    let bytes = enlarge(path, more, whole)?;
    device.follow_size().map_err(io::Error::from).doing(|| format!("enlarging {}", path.display()))?;
    match sys::ext4::resize(inside, bytes / BLOCK) {
        Err(Errno::PERM) => Err(not_now("the kernel does not let this process do it")),
        Err(Errno::NOTSUP) => Err(not_now("this kernel cannot do it")),
        result => result.map_err(io::Error::from).doing(|| format!("enlarging {}", path.display())),
    }
}

/// While nobody uses it.
pub(super) fn unmounted(path: &Path, lock: &Lock, more: u64, whole: bool) -> Result<()> {
    let program = file::program("resize2fs")?;
    enlarge(path, more, whole)?;
    // It has the lock too, and is not interrupted with us: while it writes nobody mounts the image,
    // whatever becomes of this process.
    let mut command = Command::new(program);
    command.arg("-f").arg(path).stdin(lock.again()?).process_group(0);
    file::run(&mut command).doing(|| format!("enlarging {}", path.display()))
}

/// Of the file alone, in whole groups; tells its new size.
fn enlarge(path: &Path, more: u64, whole: bool) -> Result<u64> {
    let bytes = (file::size(path)? + more).next_multiple_of(GROUP);
    let file = File::options().write(true).open(path).doing(|| format!("opening {}", path.display()))?;
    file.set_len(bytes).map_err(|error| file::too_large(path, bytes, error))?;
    if whole {
        file::reserve(&file, path, bytes)?;
    }
    Ok(bytes)
}

fn not_now(reason: &str) -> Error {
    Error::unsupported(format!(
        "the image of these volumes is too small for that, and cannot grow now: {reason}"
    ))
    .hint("stop the container first: then it can grow")
}
