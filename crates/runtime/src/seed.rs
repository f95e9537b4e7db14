//! Copies directory trees with everything that an inode holds: what a fresh tmpfs or volume starts
//! with. Works on descriptors only, so a symlink in the source leads nowhere.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use spec::container::Users;

use crate::owners;

/// Deeper trees are refused: each level holds two descriptors open.
const MAX_DEPTH: usize = 200;

/// Copies the content of the directory `from` into the directory `to`, and the attributes of
/// `from` itself. Sockets and device nodes are left out; hard links become copies.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    copy_tree_for(None, from, to)
}

/// The same, with the owners that the container's users are on the host.
///
/// # Errors
/// Whoever has no place there, with the path.
pub fn copy_tree_for(users: Option<&Users>, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    Copier { users, path: PathBuf::new() }.directory(from, to, 0)
}

/// What a copy of a directory takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// In whole pages, as a tmpfs counts.
    pub bytes: u64,
    /// Files, directories and links, the directory itself among them.
    pub inodes: u64,
}

/// Measures what [`copy_tree`] would copy from the directory `from`.
pub fn measure_tree(from: BorrowedFd<'_>) -> io::Result<Size> {
    let mut size = Size::default();
    measure_directory(from, &mut size, 0)?;
    Ok(size)
}

fn measure_directory(from: BorrowedFd<'_>, size: &mut Size, depth: usize) -> io::Result<()> {
    check_depth(depth)?;
    size.inodes += 1;
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let status = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            measure_directory(open(from, name, OFlags::DIRECTORY)?.as_fd(), size, depth + 1)?;
        } else {
            size.inodes += 1;
            size.bytes += (status.st_size as u64).next_multiple_of(PAGE);
        }
    }
    Ok(())
}

/// No page of a tmpfs is smaller; where they are larger, the room that is left for growth is less.
const PAGE: u64 = 4096;

fn check_depth(depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("directories are nested more than {MAX_DEPTH} deep")));
    }
    Ok(())
}

/// A copy in progress.
struct Copier<'a> {
    users: Option<&'a Users>,
    /// Below the directory that is copied.
    path: PathBuf,
}

impl Copier<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        check_depth(depth)?;
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.path.push(OsStr::from_bytes(name.to_bytes()));
                self.entry(from, to, name, depth)?;
                self.path.pop();
            }
        }
        self.named(copy_attributes(self.users, from, to))
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> io::Result<()> {
        let status = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let (source, target) = (open(from, name, OFlags::DIRECTORY)?, open(to, name, OFlags::DIRECTORY)?);
            return self.directory(source.as_fd(), target.as_fd(), depth + 1);
        }
        self.named(copy_single(self.users, from, to, name, &status))
    }

    /// A refusal says which file it is about.
    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match error.raw_os_error() {
            // The file is not to blame where memory or space is short.
            Some(_) => error,
            None if self.path.as_os_str().is_empty() => error,
            None => io::Error::other(format!("{}: {error}", self.path.display())),
        })
    }
}

/// Copies what is no directory.
fn copy_single(
    users: Option<&Users>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    status: &Stat,
) -> io::Result<()> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => copy_file(users, from, to, name),
        FileType::Symlink => {
            rustix::fs::symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, name)?;
            own(users, to, name, status)
        }
        FileType::Fifo => {
            rustix::fs::mknodat(to, name, FileType::Fifo, Mode::from_raw_mode(status.st_mode & 0o7777), 0)?;
            own(users, to, name, status)
        }
        _ => Ok(()),
    }
}

fn open(at: BorrowedFd<'_>, name: &CStr, kind: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | kind;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn copy_file(users: Option<&Users>, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut source = std::fs::File::from(open(from, name, OFlags::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = std::fs::File::from(rustix::fs::openat(to, name, flags, Mode::RUSR)?);
    io::copy(&mut source, &mut target)?;
    copy_attributes(users, source.as_fd(), target.as_fd())
}

fn own(users: Option<&Users>, at: BorrowedFd<'_>, name: &CStr, status: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(users, status)?;
    Ok(rustix::fs::chownat(at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn owner(users: Option<&Users>, status: &Stat) -> io::Result<(Option<Uid>, Option<Gid>)> {
    let (uid, gid) = (owners::user(users, status.st_uid)?, owners::group(users, status.st_gid)?);
    Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
}

/// Copies owner, mode, extended attributes and times from one open file or directory to another;
/// owners become those that the container's users are on the host.
pub(crate) fn copy_attributes(
    users: Option<&Users>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
) -> io::Result<()> {
    let status = rustix::fs::fstat(from)?;
    let (uid, gid) = owner(users, &status)?;
    // The owner first: changing it clears set-id bits and file capabilities.
    rustix::fs::fchown(to, uid, gid)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    copy_xattrs(users, from, to)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(status.st_atime as _, status.st_atime_nsec as _),
        last_modification: time(status.st_mtime as _, status.st_mtime_nsec as _),
    };
    Ok(rustix::fs::futimens(to, &times)?)
}

fn copy_xattrs(users: Option<&Users>, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = [0_u8; 0];
    let size = match rustix::fs::flistxattr(from, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        size => size?,
    };
    let mut names = vec![0_u8; size];
    let filled = rustix::fs::flistxattr(from, &mut names)?;
    for name in names[..filled].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // Those belong to the layers of an overlay, not to the file.
        if !name.to_bytes().starts_with(b"trusted.overlay.") {
            copy_xattr(users, from, to, name)?;
        }
    }
    Ok(())
}

fn copy_xattr(
    users: Option<&Users>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
) -> io::Result<()> {
    let mut value = vec![0_u8; 65536];
    let size = rustix::fs::fgetxattr(from, name, &mut value)?;
    value.truncate(size);
    owners::shift_attribute(users, name, &mut value)?;
    match rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty()) {
        // tmpfs knows no user.* attributes before Linux 6.6.
        Err(Errno::OPNOTSUPP) if name.to_bytes().starts_with(b"user.") => Ok(()),
        result => Ok(result?),
    }
}
