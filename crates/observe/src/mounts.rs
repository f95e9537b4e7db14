//! Which place in the container's image a file is, however it was reached: through a bind mount,
//! in a mount namespace of a process's own, below a chroot.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use spec::{Error, ResultExt, RootPath};

/// What identifies a file and the mount through which it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) mount: u64,
    pub(crate) inode: u64,
    pub(crate) device: (u32, u32),
    pub(crate) mode: u32,
    pub(crate) links: u32,
}

impl Meta {
    /// Of what `fd` refers to; never asks a remote or FUSE server.
    pub(crate) fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        Self::at(fd, "", AtFlags::EMPTY_PATH)
    }

    /// Of `path` below `base`, not following a symlink at its end.
    pub(crate) fn at<P: rustix::path::Arg>(
        base: impl AsFd,
        path: P,
        flags: AtFlags,
    ) -> rustix::io::Result<Self> {
        /// STATX_MNT_ID.
        const MOUNT: u32 = 0x1000;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::from_bits_retain(MOUNT);
        let raw = rustix::fs::statx(base, path, flags | AtFlags::STATX_DONT_SYNC, wanted)?;
        Ok(Self::from(&raw))
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// The same file, by whatever mount.
    pub(crate) fn same_file(&self, other: &Self) -> bool {
        (self.inode, self.device) == (other.inode, other.device)
    }
}

impl From<&Statx> for Meta {
    fn from(raw: &Statx) -> Self {
        Self {
            mount: raw.stx_mnt_id,
            inode: raw.stx_ino,
            device: (raw.stx_dev_major, raw.stx_dev_minor),
            mode: u32::from(raw.stx_mode),
            links: raw.stx_nlink,
        }
    }
}

/// The path of an open file as the kernel tells it: from the root of the mount namespace.
pub(crate) fn path_of(fd: impl AsFd) -> Option<Vec<u8>> {
    link(&format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Reads a link of /proc.
pub(crate) fn link(path: &str) -> Option<Vec<u8>> {
    Some(rustix::fs::readlink(path, Vec::new()).ok()?.into_bytes())
}

/// A descriptor that names a file without opening it.
pub(crate) fn handle(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// A file system that is part of the container's image.
#[derive(Debug)]
struct Watched {
    device: (u32, u32),
    /// What of it is the image: the directory that was given.
    root: RootPath,
    /// Where that lies in the image.
    at: RootPath,
}

/// One mount, as some mount namespace has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    id: u64,
    device: (u32, u32),
    root: RootPath,
    point: RootPath,
    kind: String,
}

impl Mount {
    /// procfs: its symlinks are not what they seem.
    pub(crate) fn is_proc(&self) -> bool {
        self.kind == "proc"
    }

    /// Looking up a name in it could wait for a process, perhaps for one that we hold.
    pub(crate) fn may_block(&self) -> bool {
        ["fuse", "nfs", "9p", "cifs", "smb", "autofs", "afs", "ceph"].iter().any(|k| self.kind.starts_with(k))
    }
}

/// The mounts of one namespace at one moment.
#[derive(Debug)]
struct Table {
    read: Instant,
    mounts: HashMap<u64, Arc<Mount>>,
}

/// After a call that changes mounts was let go, nothing is remembered for this long: the change
/// happens some time after.
const SETTLING: Duration = Duration::from_millis(10);
/// How long the table of another namespace is believed (its number may be given again).
const BELIEVED: Duration = Duration::from_millis(50);

/// Translates what processes see into places in the image.
#[derive(Debug)]
pub(crate) struct Places {
    watched: Vec<Watched>,
    root: OwnedFd,
    /// The same as the container's first process has it.
    home_root: Option<OwnedFd>,
    init: i32,
    home: Table,
    others: HashMap<Vec<u8>, Table>,
    /// When what changes views was last let go.
    changed: Instant,
}

impl Places {
    /// The image is what is mounted at `mounts`, in the caller's mount namespace, seen from `root`.
    pub(crate) fn new(root: &Path, mounts: &[PathBuf]) -> spec::Result<Self> {
        let own = Table::read("/proc/thread-self", &RootPath::root())
            .ok_or_else(|| Error::internal("reading the list of own mounts"))?;
        let watched = mounts.iter().map(|path| watched(root, path, &own)).collect::<spec::Result<_>>()?;
        let doing = || format!("opening the root {}", root.display());
        let handle = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let root = handle.map_err(std::io::Error::from).doing(doing)?;
        let changed = Instant::now();
        Ok(Self { watched, root, home_root: None, init: 0, home: own, others: HashMap::new(), changed })
    }

    /// The container's first process exists, and its mounts.
    pub(crate) fn begin(&mut self, init: i32) -> spec::Result<()> {
        self.init = init;
        let doing = || format!("opening the root of process {init}");
        let root = handle(&format!("/proc/{init}/root")).map_err(std::io::Error::from).doing(doing)?;
        self.home_root = Some(root);
        let table = self.read_table(init);
        self.home = table.ok_or_else(|| Error::internal(format!("reading the mounts of process {init}")))?;
        Ok(())
    }

    /// A call that changes mounts or roots is about to happen.
    pub(crate) fn unsettle(&mut self) {
        self.changed = Instant::now();
    }

    /// Whether nothing changed lately.
    pub(crate) fn settled(&self) -> bool {
        self.changed.elapsed() > SETTLING
    }

    /// The root of the image, in our own view.
    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The container's first process has not ended.
    pub(crate) fn init_lives(&self) -> bool {
        handle(&format!("/proc/{}/root", self.init)).is_ok()
    }

    /// The root of process `tid`; if it is gone, that of the container's first process.
    pub(crate) fn root_of(&self, tid: i32) -> Option<OwnedFd> {
        let home = || self.home_root.as_ref()?.try_clone().ok();
        handle(&format!("/proc/{tid}/root")).ok().or_else(home)
    }

    /// The mount through which process `tid` reached `file`.
    pub(crate) fn mount(&mut self, tid: i32, file: impl AsFd, meta: &Meta) -> Option<Arc<Mount>> {
        if !self.current(&self.home)
            && let Some(table) = self.read_table(self.init)
        {
            self.home = table;
        }
        if let Some(mount) = self.home.mounts.get(&meta.mount) {
            return Some(mount.clone());
        }
        self.foreign(tid, meta).or_else(|| self.guess(file, meta))
    }

    /// Where a file is whose path in its own namespace is `path`; None if not in the image.
    pub(crate) fn place(&self, mount: &Mount, path: &[u8]) -> Option<RootPath> {
        let watched = self.watched.iter().find(|watched| watched.device == mount.device)?;
        let path = RootPath::strict(path)?;
        let inside = under(&mount.root, path.below(&mount.point)?);
        Some(under(&watched.at, inside.below(&watched.root)?))
    }

    /// Whether it was read after the last change had settled.
    fn current(&self, table: &Table) -> bool {
        table.read > self.changed + SETTLING
    }

    /// In the table of the process's own mount namespace.
    fn foreign(&mut self, tid: i32, meta: &Meta) -> Option<Arc<Mount>> {
        let namespace = link(&format!("/proc/{tid}/ns/mnt"))?;
        let believed = |table: &&Table| self.current(table) && table.read.elapsed() < BELIEVED;
        if let Some(table) = self.others.get(&namespace).filter(believed)
            && let Some(mount) = table.mounts.get(&meta.mount)
        {
            return Some(mount.clone());
        }
        let table = self.read_table(tid)?;
        let mount = table.mounts.get(&meta.mount).cloned();
        self.others.insert(namespace, table);
        mount
    }

    /// A mount that no table shows, because a chroot hides it or its namespace is gone: is the
    /// file where its path says, as seen from the image's root?
    fn guess(&self, file: impl AsFd, meta: &Meta) -> Option<Arc<Mount>> {
        let path = RootPath::strict(&path_of(file)?)?;
        let there = Meta::at(&self.root, path.relative(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let watched = self.watched.iter().filter(|watched| path.is_within(&watched.at));
        let watched = watched.max_by_key(|watched| watched.at.as_bytes().len())?;
        let (device, root, point) = (watched.device, watched.root.clone(), watched.at.clone());
        let mount = Mount { id: meta.mount, device, root, point, kind: String::new() };
        there.same_file(meta).then(|| Arc::new(mount))
    }

    fn read_table(&self, tid: i32) -> Option<Table> {
        // The table is written from the process's root; the paths of files are not.
        let root = RootPath::strict(&link(&format!("/proc/{tid}/root"))?)?;
        Table::read(&format!("/proc/{tid}"), &root)
    }
}

/// `rest` below `base`.
fn under(base: &RootPath, rest: &[u8]) -> RootPath {
    let names = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    names.fold(base.clone(), |path, name| path.join(name))
}

fn watched(root: &Path, path: &Path, own: &Table) -> spec::Result<Watched> {
    let shown = path.display();
    let doing = || format!("looking at {shown}");
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let fd = fd.map_err(std::io::Error::from).doing(doing)?;
    let meta = Meta::of(&fd).map_err(std::io::Error::from).doing(doing)?;
    let nowhere = || Error::internal(format!("{shown} is in none of this process's mounts"));
    let mount = own.mounts.get(&meta.mount).ok_or_else(nowhere)?;
    // The directory need not be the root of its mount.
    let real = path_of(&fd).and_then(|path| RootPath::strict(&path)).ok_or_else(nowhere)?;
    let inside = under(&mount.root, real.below(&mount.point).ok_or_else(nowhere)?);
    let at = path.strip_prefix(root).ok().and_then(|rest| RootPath::strict(rest.as_os_str().as_bytes()));
    let at = at.ok_or_else(|| Error::internal(format!("{shown} is not below {}", root.display())))?;
    Ok(Watched { device: mount.device, root: inside, at })
}

impl Table {
    fn read(process: &str, root: &RootPath) -> Option<Self> {
        let read = Instant::now();
        let text = std::fs::read(format!("{process}/mountinfo")).ok()?;
        let mounts = text.split(|byte| *byte == b'\n').filter_map(|line| parse(line, root));
        Some(Self { read, mounts: mounts.map(|mount| (mount.id, Arc::new(mount))).collect() })
    }
}

/// One line of mountinfo.
fn parse(line: &[u8], prefix: &RootPath) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next();
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
    let id = number(next()?)?;
    next()?;
    let mut device = next()?.split(|byte| *byte == b':').filter_map(number);
    let device = (u32::try_from(device.next()?).ok()?, u32::try_from(device.next()?).ok()?);
    let root = RootPath::strict(&unescape(next()?))?;
    let point = RootPath::strict(&unescape(next()?))?;
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(Mount { id, device, root, point: under(prefix, point.below(&RootPath::root())?), kind })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = b"36 35 98:0 /mnt1 /a\\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse(line, &"/jail".parse().expect("path")).expect("valid");
        assert_eq!((mount.id, mount.device, mount.kind.as_str()), (36, (98, 0), "ext3"));
        assert_eq!(mount.root.to_string(), "/mnt1");
        assert_eq!(mount.point.to_string(), "/jail/a b");
        assert_eq!(parse(b"", &RootPath::root()), None);
    }
}
