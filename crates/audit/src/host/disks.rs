//! Disks of the host: which there are, which of them a container can write to, and how much of them is
//! never taken.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::attack::Gauge;

/// File systems that keep nothing.
const PSEUDO: [&str; 21] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "securityfs",
    "debugfs",
    "tracefs",
    "configfs",
    "pstore",
    "bpf",
    "hugetlbfs",
    "fusectl",
    "binfmt_misc",
    "efivarfs",
    "autofs",
    "nsfs",
    "rpc_pipefs",
    "selinuxfs",
];

/// File systems whose other end may be dead: only asked where a container can write to them.
const FAR: [&str; 5] = ["nfs", "nfs4", "cifs", "9p", "fuse"];

/// A disk of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Somewhere on it.
    pub at: PathBuf,
    /// Its number.
    pub device: u64,
    /// Bytes that there are of it.
    pub bytes: u64,
    /// Bytes and files that must be left: half of what was.
    least: (u64, u64),
}

impl Disk {
    /// The one that this directory is on; None where it cannot be asked, or has no room at all.
    pub fn of(at: &Path) -> Option<Self> {
        let device = fs::metadata(at).ok()?.dev();
        let room = statvfs(at).ok().filter(|room| room.f_blocks > 0)?;
        let least = (room.f_bavail * room.f_frsize / 2, room.f_favail / 2);
        Some(Self { at: at.to_owned(), device, bytes: room.f_blocks * room.f_frsize, least })
    }

    /// What it has too little of by now.
    pub fn lacks(&self) -> Option<Gauge> {
        let (bytes, files) = self.left()?;
        match () {
            () if bytes < self.least.0 => Some(Gauge::Disk),
            () if files < self.least.1 => Some(Gauge::Inodes),
            () => None,
        }
    }

    /// What may still be taken, with a tenth of that kept; None of what it has no count of.
    pub fn room(&self, gauge: Gauge) -> Option<u64> {
        let (bytes, files) = self.left()?;
        let room = match gauge {
            Gauge::Disk => bytes.saturating_sub(self.least.0),
            Gauge::Inodes if self.least.1 > 0 => files.saturating_sub(self.least.1),
            _ => return None,
        };
        Some(room - room / 10)
    }

    #[cfg(test)]
    pub(super) fn beyond_its_line(&self) -> Self {
        Self { least: (u64::MAX, 0), ..self.clone() }
    }

    fn left(&self) -> Option<(u64, u64)> {
        let room = statvfs(&self.at).ok()?;
        Some((room.f_bavail * room.f_frsize, room.f_favail))
    }
}

/// All that the host has mounted, once each.
pub fn of_host() -> Vec<Disk> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let near = table.lines().filter_map(Mounted::read).filter(|one| !FAR.contains(&one.family()));
    // Disks of containers are parts of these.
    once(near.filter(|one| one.kind != "overlay").filter_map(|one| Disk::of(&one.at)))
}

/// Those of the host that the container of this process can write to, other than by images of its own.
pub fn written_by(pid: i32) -> Vec<Disk> {
    let ours = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let theirs = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let ours: Vec<Mounted> = ours.lines().filter_map(Mounted::read).collect();
    let of_ours = |one: Mounted| match one.upper {
        Some(upper) => Disk::of(&upper),
        None => Disk::of(&ours.iter().find(|own| own.number == one.number)?.at),
    };
    let theirs = theirs.lines().filter_map(Mounted::read);
    once(theirs.filter(|one| one.is_writable).filter_map(of_ours))
}

fn once(disks: impl Iterator<Item = Disk>) -> Vec<Disk> {
    disks.fold(Vec::new(), |mut all: Vec<Disk>, one| {
        if !all.iter().any(|other| other.device == one.device) {
            all.push(one);
        }
        all
    })
}

/// A line of a table of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    number: String,
    at: PathBuf,
    kind: String,
    is_writable: bool,
    /// Where an overlay writes to.
    upper: Option<PathBuf>,
}

impl Mounted {
    fn read(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(2);
        let (number, at, options) = (left.next()?, left.nth(1)?, left.next()?);
        let mut right = right.split(' ');
        let (kind, more) = (right.next()?, right.nth(1)?);
        let is = |options: &str, word| options.split(',').any(|option| option == word);
        let upper = more.split(',').find_map(|option| option.strip_prefix("upperdir="));
        (!PSEUDO.contains(&kind)).then(|| Self {
            number: number.to_owned(),
            at: plain(at),
            kind: kind.to_owned(),
            is_writable: is(options, "rw") && is(more, "rw"),
            upper: upper.map(plain),
        })
    }

    /// `fuse.sshfs` is one of `fuse`.
    fn family(&self) -> &str {
        self.kind.split('.').next().unwrap_or_default()
    }
}

/// Without the kernel's way to write spaces.
fn plain(path: &str) -> PathBuf {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    PathBuf::from(plain.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let line = "33 22 8:1 /a /s\\040v rw,nosuid shared:1 - ext4 /dev/sda1 rw,discard";
        let read = Mounted::read(line).expect("a mount");
        assert_eq!((read.number.as_str(), read.at.to_str(), read.is_writable), ("8:1", Some("/s v"), true));
        assert!(!Mounted::read(&line.replace("rw,nosuid", "ro")).expect("a mount").is_writable);
        assert!(!Mounted::read(&line.replace("rw,discard", "ro")).expect("a mount").is_writable);
        let over = "1 2 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/u,workdir=/w";
        assert_eq!(Mounted::read(over).expect("a mount").upper, Some(PathBuf::from("/var/u")));
        assert_eq!(Mounted::read("1 2 0:3 / /proc rw - proc proc rw"), None);
    }

    #[test]
    fn this_host_has_a_disk_and_we_can_write_to_it() {
        let all = of_host();
        assert!(!all.is_empty(), "{all:?}");
        if rustix::process::geteuid().is_root() {
            let ours = written_by(std::process::id() as i32);
            let tmp = Disk::of(&std::env::temp_dir()).expect("a disk");
            assert!(ours.iter().any(|one| one.device == tmp.device), "{ours:?}");
        }
    }

    #[test]
    fn half_of_what_was_left_is_never_taken() {
        let disk = Disk::of(&std::env::temp_dir()).expect("a disk");
        assert_eq!(disk.lacks(), None);
        let full = disk.beyond_its_line();
        assert_eq!((full.lacks(), full.room(Gauge::Disk)), (Some(Gauge::Disk), Some(0)));
        let many = Disk { least: (0, u64::MAX), ..disk };
        assert_eq!((many.lacks(), many.room(Gauge::Inodes)), (Some(Gauge::Inodes), Some(0)));
        assert_eq!(many.room(Gauge::Memory), None);
    }
}
