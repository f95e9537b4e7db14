//! A root file system that is copied from or to: this host's, or a container's.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

/// One range of a map of ids: first inside, first outside, how many.
type Range = (u32, u32, u32);

/// A root, and how its owners are counted.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// How paths in it are shown: `web:` for a container's.
    prefix: String,
    uids: Vec<Range>,
    gids: Vec<Range>,
    /// What could be written to instead of what is read-only.
    pub(super) writable: Vec<String>,
    /// It is a container's: what comes out of it is not trusted.
    pub(super) foreign: bool,
}

/// Owner, mode, time and attributes of a file, with ids as its tree counts them.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: (i64, i64),
    pub(super) attributes: Vec<(CString, Vec<u8>)>,
}

impl Tree {
    /// This host's.
    ///
    /// # Errors
    /// When its root cannot be opened.
    pub fn host() -> Result<Self> {
        let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let root = root.map_err(io::Error::from).doing(|| "opening the root")?;
        Ok(Self::of(root, String::new()))
    }

    pub(super) fn of(root: OwnedFd, prefix: String) -> Self {
        Self { root, prefix, uids: Vec::new(), gids: Vec::new(), writable: Vec::new(), foreign: false }
    }

    /// Its owners are those of the user namespace of this process.
    pub(super) fn with_users_of(mut self, pid: i32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            std::fs::read_to_string(&path).doing(|| format!("reading {path}")).map(|text| ranges(&text))
        };
        (self.uids, self.gids) = (read("uid_map")?, read("gid_map")?);
        Ok(self)
    }

    /// Files are made as its own root makes them: where its owners are shown to the kernel through
    /// an idmapped mount, nobody else can.
    pub(super) fn become_its_root(&self) -> Result<()> {
        let (uid, gid) = (outside(&self.uids, 0), outside(&self.gids, 0));
        if (uid, gid) == (0, 0) {
            return Ok(());
        }
        sys::process::set_file_owner(uid, gid)
            .map_err(io::Error::from)
            .doing(|| "becoming the container's root")
    }

    /// Opens something in it, never outside.
    pub(super) fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // A name that changes while it is looked up is tried again, as openat2(2) advises.
        loop {
            match rustix::fs::openat2(&self.root, relative(path), flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// The directory that holds `path`, and the last component.
    pub(super) fn parent(&self, path: &Path) -> Result<OwnedFd> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let opened = self.open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        opened.map_err(|errno| self.failed("opening", parent, errno.into()))
    }

    /// What is there; None if nothing is.
    pub(super) fn kind(&self, path: &Path, follow: bool) -> Result<Option<FileType>> {
        let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        match self.open(path, flags, Mode::empty()) {
            Ok(found) => {
                self.stat(found.as_fd(), path).map(|status| Some(FileType::from_raw_mode(status.st_mode)))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.failed("looking at", path, error.into())),
        }
    }

    pub(super) fn stat(&self, file: BorrowedFd<'_>, path: &Path) -> Result<Stat> {
        rustix::fs::fstat(file).map_err(|errno| self.failed("looking at", path, errno.into()))
    }

    /// How the tree's own users count.
    pub(super) fn meta(&self, status: &Stat, attributes: Vec<(CString, Vec<u8>)>) -> Meta {
        Meta {
            mode: status.st_mode & 0o7777,
            uid: inside(&self.uids, status.st_uid),
            gid: inside(&self.gids, status.st_gid),
            modified: (status.st_mtime, status.st_mtime_nsec as i64),
            attributes,
        }
    }

    /// The owner as the kernel counts.
    pub(super) fn owner(&self, meta: &Meta) -> (u32, u32) {
        (outside(&self.uids, meta.uid), outside(&self.gids, meta.gid))
    }

    /// A path as people write it.
    pub(super) fn shown(&self, path: &Path) -> String {
        format!("{}{}", self.prefix, path.display())
    }

    pub(super) fn missing(&self, path: &Path) -> Error {
        Error::not_found(format!("{} does not exist", self.shown(path)))
    }

    pub(super) fn failed(&self, what: &str, path: &Path, cause: io::Error) -> Error {
        let read_only = cause.kind() == io::ErrorKind::ReadOnlyFilesystem;
        let error = Error::io(format!("{what} {}", self.shown(path)), cause);
        match (read_only, self.writable.is_empty()) {
            (true, false) => {
                error.hint(format!("it is read-only there; these are writable: {}", self.writable.join(", ")))
            }
            (true, true) if self.foreign => error
                .hint("nothing is writable there; a volume (-v, or one that the package declares) would be"),
            _ => error,
        }
    }
}

/// From the root, whatever was typed.
fn relative(path: &Path) -> PathBuf {
    Path::new(".").join(path.strip_prefix("/").unwrap_or(path))
}

/// The lines of /proc/PID/uid_map.
fn ranges(text: &str) -> Vec<Range> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().map(|field| field.parse::<u32>().ok());
        Some((fields.next()??, fields.next()??, fields.next()??))
    };
    text.lines().filter_map(line).collect()
}

fn outside(ranges: &[Range], id: u32) -> u32 {
    let found = ranges.iter().find(|(inside, _, count)| id >= *inside && id - inside < *count);
    found.map_or(id, |(inside, outside, _)| outside + (id - inside))
}

fn inside(ranges: &[Range], id: u32) -> u32 {
    let found = ranges.iter().find(|(_, outside, count)| id >= *outside && id - outside < *count);
    found.map_or(id, |(inside, outside, _)| inside + (id - outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_mapped_both_ways() {
        let map = ranges("         0     100000      65536\n     65536 1 1\n");
        assert_eq!((outside(&map, 33), inside(&map, 100_033)), (100_033, 33));
        assert_eq!((outside(&map, 65_536), inside(&map, 1)), (1, 65_536));
        assert_eq!((outside(&map, 70_000), inside(&[], 5)), (70_000, 5));
    }

    #[test]
    fn paths_are_taken_from_the_root() {
        for (typed, expected) in
            [("/etc/x", "./etc/x"), ("etc", "./etc"), ("/", "."), ("", "."), ("/a/.", "./a")]
        {
            assert_eq!(relative(Path::new(typed)), Path::new(expected), "{typed}");
        }
    }
}
