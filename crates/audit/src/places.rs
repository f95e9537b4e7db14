//! Where a container can write: looked for in its directories rather than told by its table of mounts, as a
//! tree may be read-only but for one directory, and a part of a disk may have a limit of its own.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, StatxFlags, access, statfs, statvfs, statx};
use rustix::io::Errno;

use crate::cell::{Hints, errno};

/// Names of all that an attack makes begin with this, so that what a killed one has left is found.
pub const PREFIX: &str = ".tsubo-attack";

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
struct Reach {
    entries: usize,
    time: Duration,
}

const SHORT: Reach = Reach { entries: 30_000, time: Duration::from_millis(200) };
const LONG: Reach = Reach { entries: 200_000, time: Duration::from_secs(3) };

/// A directory that new files can be made in.
#[derive(Debug, Clone)]
pub struct Writable {
    /// Where.
    pub at: PathBuf,
    /// Whether it is only in memory.
    pub in_memory: bool,
    /// Whether it may outlive the container, as volumes and directories of the host do: what is made there is
    /// removed by who made it.
    pub stays: bool,
    /// Whether it is on a file that is mounted.
    is_image: bool,
    is_overlay: bool,
    device: u64,
}

impl Writable {
    /// What can still be had, bytes and files, if that is less than the disk has: it is then a limit that
    /// harms nobody when it is reached. A whole disk, whosever it is, is never filled.
    pub fn bounded(&self, hints: &Hints) -> Option<(u64, u64)> {
        let room = statvfs(&self.at).ok()?;
        let all = room.f_blocks * room.f_frsize;
        let of_host = hints.disks.iter().find(|(device, _)| *device == self.device);
        let is_bounded = match of_host {
            Some((_, bytes)) => all < *bytes,
            // What it writes to tells only its size: that of a disk of the host, or of less.
            None if self.is_overlay => all > 0 && !hints.disks.iter().any(|(_, bytes)| *bytes == all),
            // A host may itself be on a file that is mounted.
            None => self.is_image,
        };
        is_bounded.then_some((room.f_bavail * room.f_frsize, room.f_favail))
    }
}

/// What a search has found.
#[derive(Debug)]
pub struct Found {
    /// One directory of each file system, of each mount of it, of each part that has a size of its own: there
    /// quotas show.
    pub places: Vec<Writable>,
    /// Whether all was looked at.
    pub is_whole: bool,
}

/// Looks for them.
pub fn writable() -> Found {
    search(SHORT, |_, _| {})
}

/// Removes what killed attacks have left: how many files and directories went, and why one did not.
pub fn sweep() -> (u64, Option<Errno>) {
    let (mut removed, mut kept) = (0, None);
    let mut left = Vec::new();
    search(LONG, |dir, name| left.push(dir.join(name)));
    for path in left {
        match remove(&path) {
            // A directory that is mounted twice is searched twice.
            Ok(()) | Err(Errno::NOENT) => removed += 1,
            Err(cause) => kept = Some(cause),
        }
    }
    (removed, kept)
}

/// Never through a link.
fn remove(path: &Path) -> Result<(), Errno> {
    let is_dir = path.symlink_metadata().map_err(|cause| errno(&cause))?.is_dir();
    let removed = if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(|cause| errno(&cause))
}

/// A file without a name, or one that has lost it again: nothing of it stays.
///
/// # Errors
/// None can be made in this directory.
pub fn nameless(dir: &Path, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | more;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(dir, flags | OFlags::TMPFILE, mode) {
        // Not every file system knows such files, and not every filter.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {}
        made => return made.map(File::from),
    }
    let path = dir.join(format!("{PREFIX}-{}", std::process::id()));
    let file = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
    // It was made a moment ago.
    let _ = std::fs::remove_file(&path);
    Ok(File::from(file))
}

/// What is told of a mount: by its number, whether it is of a file (a loop device).
type Mounts = HashMap<u64, bool>;

/// A place is another one if one of these is another: number of the file system, of the mount, bytes, files.
type Key = (u64, u64, u64, u64);

struct Search<F> {
    mounts: Mounts,
    /// The number of the mount of `/`.
    root: u64,
    keys: HashSet<Key>,
    seen: HashSet<(u64, u64, u64)>,
    waiting: VecDeque<PathBuf>,
    found: Vec<Writable>,
    ours: F,
}

/// Directories in the order of their depth, from `/` and from every mount; `ours` hears of names of ours.
fn search(reach: Reach, ours: impl FnMut(&Path, &OsStr)) -> Found {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = || table.lines().filter_map(mount);
    let waiting = mounts().map(|(_, _, at)| at);
    let usual = ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "."].map(PathBuf::from);
    let mut search = Search {
        mounts: mounts().map(|(number, is_image, _)| (number, is_image)).collect(),
        root: number_of(Path::new("/")).map_or(0, |(_, _, mount)| mount),
        keys: HashSet::new(),
        seen: HashSet::new(),
        waiting: waiting.chain(usual).collect(),
        found: Vec::new(),
        ours,
    };
    let is_whole = search.run(reach);
    Found { places: search.found, is_whole }
}

impl<F: FnMut(&Path, &OsStr)> Search<F> {
    fn run(&mut self, reach: Reach) -> bool {
        let (end, mut entries) = (Instant::now() + reach.time, 0);
        while let Some(dir) = self.waiting.pop_front() {
            if Instant::now() >= end || entries > reach.entries {
                return false;
            }
            entries += self.visit(&dir);
        }
        true
    }

    /// How many entries it has.
    fn visit(&mut self, dir: &Path) -> usize {
        let Some(numbers) = number_of(dir) else { return 0 };
        let Ok(kind) = statfs(dir).map(|system| system.f_type as u64 & 0xffff_ffff) else { return 0 };
        if is_pseudo(kind) || !self.seen.insert(numbers) {
            return 0;
        }
        let (device, _, mount) = numbers;
        let stays = kind != OVERLAY || mount != self.root;
        self.try_out(dir, kind, device, mount, stays);
        let mut count = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            count += 1;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                // What is made in the container's own root goes with it.
                if stays {
                    (self.ours)(dir, &name);
                }
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.waiting.push_back(entry.path());
            }
        }
        count
    }

    fn try_out(&mut self, dir: &Path, kind: u64, device: u64, mount: u64, stays: bool) {
        // Where that cannot be asked it is tried.
        if let Err(Errno::ACCESS | Errno::ROFS) = access(dir, Access::WRITE_OK | Access::EXEC_OK) {
            return;
        }
        let (blocks, files) =
            statvfs(dir).map_or((0, 0), |room| (room.f_blocks * room.f_frsize, room.f_files));
        let key = (device, mount, blocks, files);
        if self.keys.contains(&key) || nameless(dir, OFlags::empty()).is_err() {
            return;
        }
        self.keys.insert(key);
        let is_image = self.mounts.get(&mount).is_some_and(|is_image| *is_image);
        let (in_memory, is_overlay) = (IN_MEMORY.contains(&kind), kind == OVERLAY);
        self.found.push(Writable { at: dir.to_owned(), in_memory, stays, is_image, is_overlay, device });
    }
}

/// The numbers of a directory's file system, its own, and its mount's.
fn number_of(dir: &Path) -> Option<(u64, u64, u64)> {
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
    match statx(CWD, dir, flags, StatxFlags::INO | StatxFlags::MNT_ID) {
        Ok(stat) => {
            let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
            Some((device, stat.stx_ino, stat.stx_mnt_id))
        }
        Err(_) => rustix::fs::lstat(dir).ok().map(|stat| (stat.st_dev, stat.st_ino, 0)),
    }
}

const OVERLAY: u64 = 0x794c_7630;
/// tmpfs, also as devtmpfs, and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// File systems that keep nothing, or are no business of storage: their kinds, as the kernel numbers them.
fn is_pseudo(kind: u64) -> bool {
    // proc, sysfs, cgroup, cgroup2, devpts, mqueue, securityfs, debugfs, tracefs, bpf, configfs, pstore,
    // binfmt_misc, efivarfs, nsfs, hugetlbfs, fusectl, autofs, selinuxfs.
    const PSEUDO: [u64; 19] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x1cd1,
        0x1980_0202,
        0x7363_6673,
        0x6462_6720,
        0x7472_6163,
        0xcafe_4a11,
        0x6265_6570,
        0x6165_676c,
        0x4249_4e4d,
        0xde5e_81e4,
        0x6e73_6673,
        0x9584_58f6,
        0x6573_5543,
        0x0187,
        0xf97c_ff8c,
    ];
    PSEUDO.contains(&kind)
}

/// The number of a mount, whether it is of a file, and where it is: of a line of mountinfo.
fn mount(line: &str) -> Option<(u64, bool, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let number = left.next()?.parse().ok()?;
    let at = left.nth(3)?.replace("\\040", " ");
    let is_image = right.split(' ').nth(1)?.starts_with("/dev/loop");
    Some((number, is_image, PathBuf::from(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn lines_of_mounts_are_read() {
        let line = "33 22 0:29 / /dev/sh\\040m rw,nosuid - tmpfs shm rw,size=65536k";
        assert_eq!(mount(line), Some((33, false, PathBuf::from("/dev/sh m"))));
        let image = "34 22 7:1 / /srv rw - ext4 /dev/loop1 rw";
        assert_eq!(mount(image), Some((34, true, PathBuf::from("/srv"))));
        assert_eq!(mount("nothing"), None);
    }

    /// In mounts of its own, with `/mnt` as a root of its own to look at.
    fn apart(work: impl FnOnce(&Path) -> Result<(), String>) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let child = sys::attack::bound_child(30, || {
            let made = sys::namespace::unshare(sys::namespace::MOUNT).is_ok()
                && shell("mount --make-rprivate / && mount -t tmpfs -o size=8m,nr_inodes=900 x /mnt");
            match made.then(|| work(Path::new("/mnt"))) {
                Some(Ok(())) => 0,
                Some(Err(why)) => {
                    println!("{why}");
                    1
                }
                None => 99,
            }
        });
        let end = sys::process::reap(child.expect("a child"), true).expect("its end");
        assert_eq!(end.map(|(_, code)| code), Some(0));
    }

    fn shell(script: &str) -> bool {
        Command::new("/bin/sh").args(["-e", "-c", script]).status().is_ok_and(|status| status.success())
    }

    /// What of `top` is found by somebody who is not root.
    fn found_by_user(top: &Path) -> Vec<PathBuf> {
        let _ = rustix::process::chroot(top).and_then(|()| rustix::process::chdir("/"));
        let user = rustix::process::Uid::from_raw(12345);
        let _ = rustix::thread::set_thread_res_uid(user, user, user);
        writable().places.into_iter().map(|place| place.at).collect()
    }

    #[test]
    fn a_directory_deep_in_a_tree_that_is_not_writable_is_found() {
        apart(|top| {
            let made = shell(
                "chmod 755 /mnt; mkdir -p /mnt/var/lib/app/data /mnt/usr/share/doc; chown -R 12345 /mnt/var/lib/app/data",
            );
            let found = found_by_user(top);
            let right = made && found == [PathBuf::from("/var/lib/app/data")];
            if right { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }

    #[test]
    fn every_mount_of_one_disk_is_found_and_a_directory_once() {
        apart(|top| {
            let made = shell(
                "cd /mnt; mkdir one two; mkdir -p disk/a disk/b; mount -t tmpfs y disk; mkdir disk/a disk/b; \
                 mount --bind disk/a one; mount --bind disk/b two; chmod 777 one two disk",
            );
            let mut found = found_by_user(top);
            found.retain(|at| at != Path::new("/"));
            found.sort();
            let right = made && found == ["/disk", "/one", "/two"].map(PathBuf::from);
            if right { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }

    #[test]
    fn an_overlay_over_less_than_a_disk_is_filled_to_its_limit_and_one_over_a_disk_is_not() {
        apart(|top| {
            let made = shell(
                "cd /mnt; mkdir low up work over; mount -t overlay -o lowerdir=low,upperdir=up,workdir=work x over",
            );
            let _ = rustix::process::chroot(top).and_then(|()| rustix::process::chdir("/"));
            let found = writable().places.into_iter().find(|place| place.at == Path::new("/over"));
            let bounded = |bytes| {
                let hints = Hints { disks: vec![(1, bytes)], ..Hints::default() };
                found.as_ref().and_then(|place| place.bounded(&hints))
            };
            let room = (bounded(1 << 40), bounded(8 << 20));
            let right = made && matches!(room, (Some((1.., 1..900)), None));
            if right { Ok(()) } else { Err(format!("{made} {found:?} {room:?}")) }
        });
    }

    #[test]
    fn what_a_killed_attack_has_left_is_removed_and_nothing_else() {
        apart(|top| {
            let made = shell(
                "cd /mnt; mkdir -p deep/in/.tsubo-attack-files; touch deep/in/.tsubo-attack-files/1; \
                 touch .tsubo-attack-one deep/kept; mkdir linked; touch linked/kept; ln -s ../linked deep/.tsubo-attack-link",
            );
            let _ = rustix::process::chroot(top).and_then(|()| rustix::process::chdir("/"));
            let swept = sweep();
            let left = ["deep/in/.tsubo-attack-files", ".tsubo-attack-one", "deep/.tsubo-attack-link"];
            let is_there = |path: &&str| Path::new("/").join(path).symlink_metadata().is_ok();
            let right = made
                && swept == (3, None)
                && !left.iter().any(is_there)
                && ["deep/kept", "linked/kept"].iter().all(is_there);
            if right { Ok(()) } else { Err(format!("{swept:?}")) }
        });
    }
}
