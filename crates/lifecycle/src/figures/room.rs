//! Disk and inodes: of the state directory's file system, and of those that are a container's own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ::disk::Volumes;
use rustix::fs::{Mode, OFlags, ResolveFlags, StatVfs};
use serde::Serialize;
use spec::RootPath;
use spec::container::Spec;

use super::roster;
use crate::pinned::Pinned;

/// File systems that answer by themselves. One of a container's making (FUSE) could keep whoever asks
/// waiting for ever.
const ASKED: [&str; 7] = ["tmpfs", "ext4", "ext3", "ext2", "xfs", "btrfs", "overlay"];

/// What is used of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Where it is mounted, inside; of the host, a directory in it.
    pub at: PathBuf,
    /// Its kind.
    pub kind: String,
    /// Bytes.
    #[serde(rename = "used_bytes")]
    pub used: u64,
    /// Bytes; None where it has no limit of its own.
    #[serde(rename = "size_bytes")]
    pub size: Option<u64>,
    /// Files, directories and what else has a name.
    pub used_inodes: u64,
    /// The most there may be; None where there is no limit.
    pub inodes: Option<u64>,
}

impl Room {
    fn of(at: PathBuf, kind: &str, vfs: &StatVfs) -> Self {
        let limit = |number: u64| (number > 0).then_some(number);
        Self {
            at,
            kind: kind.to_owned(),
            used: vfs.f_blocks.saturating_sub(vfs.f_bfree) * vfs.f_frsize,
            size: limit(vfs.f_blocks * vfs.f_frsize),
            used_inodes: vfs.f_files.saturating_sub(vfs.f_ffree),
            inodes: limit(vfs.f_files),
        }
    }
}

/// The file system of a directory of the host.
pub(super) fn of_state(dir: &Path) -> Option<Room> {
    let vfs = rustix::fs::statvfs(dir).ok()?;
    Some(Room::of(dir.to_owned(), "host", &vfs))
}

/// A line of mountinfo.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    device: &'a str,
    point: PathBuf,
    writable: bool,
    kind: &'a str,
}

/// `36 35 0:31 ROOT POINT OPTIONS … - TYPE SOURCE SUPER-OPTIONS`
fn line(text: &str) -> Option<Line<'_>> {
    let (mount, file_system) = text.split_once(" - ")?;
    let fields: Vec<&str> = mount.split(' ').collect();
    let (device, point, options) = (fields.get(2)?, fields.get(4)?, fields.get(5)?);
    Some(Line {
        device,
        point: unescaped(point),
        writable: options.split(',').any(|option| option == "rw"),
        kind: file_system.split(' ').next()?,
    })
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, more @ ..] = rest {
        let escaped = more.get(..3).and_then(octal).filter(|_| *first == b'\\');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &more[3..] } else { more };
    }
    OsString::from_vec(bytes).into()
}

/// As in mountinfo.
pub(crate) fn device_name(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// The devices of the host's own file systems.
pub(crate) fn devices_of_host() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(line).map(|line| line.device.to_owned()).collect()
}

/// The file systems of a process that can be written to and are not the host's.
pub(super) fn of_process(pid: i32, host: &BTreeSet<String>) -> Vec<Room> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let Ok(root) = File::open(format!("/proc/{pid}/root")) else { return Vec::new() };
    let own = |line: &Line<'_>| line.writable && ASKED.contains(&line.kind) && !host.contains(line.device);
    let mut seen = BTreeSet::new();
    let lines = mounts.lines().filter_map(line).filter(own);
    lines.filter(|line| seen.insert(line.device)).filter_map(|line| ask(&root, &line)).collect()
}

/// What the volumes of a container hold, the first of which it sees at `at`.
pub(super) fn of_volumes(first: Pinned, dir: &Path, at: &RootPath) -> Option<Room> {
    let volumes = Volumes::open(dir).ok()??;
    let inside = crate::inside::directory(first, at).ok()?;
    let usage = volumes.usage(Some(inside.as_fd())).ok()?;
    Some(Room {
        at: at.as_path().to_owned(),
        kind: "volumes".to_owned(),
        used: usage.bytes?,
        size: usage.limit.bytes,
        used_inodes: usage.inodes.unwrap_or(0),
        inodes: usage.limit.inodes,
    })
}

/// How full the fullest of a container's own file systems is, in percent; None where none has a limit.
pub fn fullest(spec: &Spec, first: i32) -> Option<f64> {
    let mut rooms = of_process(first, &devices_of_host());
    let volumes = roster::kept(spec).zip(Pinned::of(first).ok());
    rooms.extend(volumes.and_then(|((dir, at), first)| of_volumes(first, &dir, &at)));
    let share = |used: u64, size: Option<u64>| size.map(|size| used as f64 * 100.0 / size.max(1) as f64);
    let shares =
        rooms.iter().flat_map(|room| [share(room.used, room.size), share(room.used_inodes, room.inodes)]);
    shares.flatten().max_by(f64::total_cmp)
}

/// The way is gone inside its root, whatever the container has laid on it.
fn ask(root: &File, line: &Line<'_>) -> Option<Room> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(root, &line.point, flags, Mode::empty(), inside).ok()?;
    let device = rustix::fs::fstat(&found).ok()?.st_dev;
    let device = device_name(device);
    if device != line.device {
        // Something else lies over it.
        return None;
    }
    Some(Room::of(line.point.clone(), line.kind, &rustix::fs::fstatvfs(&found).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let text = r"36 35 0:31 / /a\040b rw,nosuid shared:1 - tmpfs none rw,size=4k";
        let expected = Line { device: "0:31", point: "/a b".into(), writable: true, kind: "tmpfs" };
        assert_eq!(line(text), Some(expected));
        assert!(!line("1 2 0:1 / / ro - ext4 /dev/x rw").expect("a line").writable);
        assert_eq!(line("nonsense"), None);
    }

    #[test]
    fn we_have_nothing_of_our_own() {
        assert_eq!(of_process(std::process::id() as i32, &devices_of_host()), []);
    }
}
