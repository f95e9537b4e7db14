//! Descriptors and locks, with errors that name the file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use spec::{Result, ResultExt};

/// The directory of volumes, beside the record, where the file system itself holds the limit: what
/// is beside it is not counted.
pub(crate) const INNER: &str = "%volumes";

/// A descriptor of the directory `path`.
pub(crate) fn directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    opened.doing(|| format!("opening {}", path.display()))
}

/// A file of ours that is only there to be locked, or to remember a little; locked.
pub(crate) fn locked(path: &Path) -> Result<File> {
    let open = || {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    io::Result::doing(open(), || format!("locking {}", path.display()))
}

/// BTRFS_SUPER_MAGIC.
const BTRFS: u32 = 0x9123_683e;

/// Whether `inside` is on a btrfs.
pub(crate) fn is_btrfs(inside: impl AsFd) -> bool {
    // Its type and width differ between architectures.
    rustix::fs::fstatfs(inside).is_ok_and(|stat| stat.f_type as u32 == BTRFS)
}

/// Whether this is root of the host: nobody else mounts file systems or sets quotas.
pub(crate) fn is_host_root() -> bool {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    rustix::process::geteuid().is_root() && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(whole)
}

/// Bytes of all of the file system that `inside` is in.
pub(crate) fn size_of_host(inside: impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(inside)?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}
