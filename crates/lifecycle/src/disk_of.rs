//! The disk that a path is on, as control groups count it: a whole disk, never a partition.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use spec::resources::DeviceNumber;
use spec::{Error, Result, ResultExt};

/// `/dev/sda`, `8:0`, or any path on it.
///
/// # Errors
/// A path that does not exist, or that is on no disk of its own (tmpfs, overlay, network).
pub fn path(path: &str) -> Result<DeviceNumber> {
    if let Ok(number) = path.parse() {
        return Ok(number);
    }
    let meta = std::fs::metadata(path).doing(|| format!("finding the disk of {path}"))?;
    let device = if meta.file_type().is_block_device() { meta.rdev() } else { meta.dev() };
    let number = DeviceNumber { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
    let found = whole(number).or_else(|| whole(source_of(device)?));
    found.ok_or_else(|| {
        Error::unsupported(format!("{path} is on no disk whose transfers could be limited"))
            .hint("give a path of a file system on a disk, or the disk itself (lsblk), as in /dev/sda or 8:0")
    })
}

/// The disk itself, where the number is one of its partitions.
fn whole(number: DeviceNumber) -> Option<DeviceNumber> {
    let place = std::fs::canonicalize(format!("/sys/dev/block/{number}")).ok()?;
    let disk = if place.join("partition").exists() { place.parent()?.to_owned() } else { place };
    std::fs::read_to_string(disk.join("dev")).ok()?.trim().parse().ok()
}

/// File systems over several devices (btrfs) have a number that is no device's: the first of theirs.
fn source_of(device: u64) -> Option<DeviceNumber> {
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&wanted))?;
    let source: PathBuf = line.split_once(" - ")?.1.split(' ').nth(1)?.into();
    let meta =
        std::fs::metadata(Path::new(&source)).ok().filter(|meta| meta.file_type().is_block_device())?;
    let device = meta.rdev();
    Some(DeviceNumber { major: rustix::fs::major(device), minor: rustix::fs::minor(device) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_without_a_disk_are_refused() {
        assert!(path("/proc").expect_err("procfs").hints()[0].contains("lsblk"));
        assert!(path("/no/such/path").is_err());
        assert_eq!(path("8:16").expect("number"), DeviceNumber { major: 8, minor: 16 });
    }

    #[test]
    fn the_disk_of_the_root() {
        match path("/") {
            Ok(disk) => assert!(Path::new(&format!("/sys/dev/block/{disk}/queue")).exists(), "{disk}"),
            Err(error) => println!("SKIPPED: the root is on no disk: {error}"),
        }
    }
}
