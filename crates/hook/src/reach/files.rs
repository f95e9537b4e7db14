//! `fs.read`, `fs.write`, `fs.list`, `fs.exists`: files of the host below declared paths, which no symbolic link
//! leaves.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use script::mlua::{Lua, LuaString, Result, Table};
use script::refused;
use serde_json::json;

use super::{Host, not_allowed};

/// The largest file that is read or written.
const BYTES: u64 = 1 << 20;

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    let own = host.clone();
    table.raw_set("read", lua.create_function(move |lua, path: String| read(lua, &own, &path))?)?;
    let own = host.clone();
    let to_write = move |lua: &Lua, (path, text, options): (String, LuaString, Option<Table>)| {
        let is = |name: &str| {
            options
                .as_ref()
                .map_or(Ok(false), |options| options.get::<Option<bool>>(name).map(|is| is == Some(true)))
        };
        let replacing =
            options.as_ref().map_or(Ok(None), |options| options.get::<Option<LuaString>>("replacing"))?;
        if let Some(old) = replacing {
            if is("append")? || is("exclusive")? {
                return Err(refused(lua, "replacing excludes append and exclusive"));
            }
            return replace(lua, &own, &path, &old.as_bytes(), &text.as_bytes());
        }
        let how = match (is("append")?, is("exclusive")?) {
            (true, true) => return Err(refused(lua, "append and exclusive exclude each other")),
            (true, false) => How::Append,
            (false, true) => How::Exclusive,
            (false, false) => How::Whole,
        };
        write(lua, &own, &path, &text.as_bytes(), how)
    };
    table.raw_set("write", lua.create_function(to_write)?)?;
    let own = host.clone();
    table.raw_set("list", lua.create_function(move |lua, path: String| list(lua, &own, &path))?)?;
    let own = host.clone();
    table.raw_set("exists", lua.create_function(move |lua, path: String| exists(lua, &own, &path))?)?;
    Ok(table)
}

/// How something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// In place of what was there: who reads sees all of the one or all of the other.
    Whole,
    /// Behind it.
    Append,
    /// Only where nothing was: of many who try one succeeds.
    Exclusive,
}

/// Finds the declared path that `path` is below, and what is left of it.
fn place(lua: &Lua, host: &Host, path: &str, to_write: bool) -> Result<(PathBuf, PathBuf)> {
    let wanted = Path::new(path);
    let is_plain = wanted.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !wanted.is_absolute() || !is_plain || path.contains('\0') {
        return Err(refused(lua, format!("{path:?} is no absolute path without .. in it")));
    }
    let allow = host.allow();
    let readable = allow.read.iter().filter(|_| !to_write);
    let found = allow
        .write
        .iter()
        .chain(readable)
        .find_map(|base| wanted.strip_prefix(base).ok().map(|rest| (base.clone(), rest.to_owned())));
    found.ok_or_else(|| match to_write {
        true => not_allowed(lua, format!("writing {path}"), "write", path),
        false => not_allowed(lua, format!("reading {path}"), "read", path),
    })
}

fn open(lua: &Lua, host: &Host, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let to_write = flags.intersects(OFlags::WRONLY);
    let (base, rest) = place(lua, host, path, to_write)?;
    open_below(&base, &rest, flags).map_err(|errno| refused(lua, format!("{path}: {}", words(errno))))
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::XDEV | Errno::LOOP => "a symbolic link leads out of what is allowed".to_owned(),
        other => std::io::Error::from(other).to_string(),
    }
}

fn open_below(base: &Path, rest: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    // A pipe or a terminal is not waited for; what is only looked at is not opened.
    let careful =
        if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
    let flags = flags | careful | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o600) } else { Mode::empty() };
    let (dir, name) = parts(base, rest);
    let dir = rustix::fs::openat(CWD, dir, DIRECTORY, Mode::empty())?;
    rustix::fs::openat2(dir, name, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// From where it is looked for, and what: what leads to the first is not a script's.
fn parts(base: &Path, rest: &Path) -> (PathBuf, PathBuf) {
    match (rest.as_os_str().is_empty(), base.parent(), base.file_name()) {
        (false, ..) => (base.to_owned(), rest.to_owned()),
        // It is declared itself.
        (true, Some(above), Some(name)) => (above.to_owned(), PathBuf::from(name)),
        (true, ..) => (base.to_owned(), PathBuf::from(".")),
    }
}

/// A file, and nothing that could keep us waiting.
fn must_be_file(lua: &Lua, fd: &OwnedFd, path: &str) -> Result<()> {
    let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::RegularFile) => Ok(()),
        Ok(FileType::Directory) => Err(refused(lua, format!("{path} is a directory"))),
        Ok(_) => Err(refused(lua, format!("{path} is no ordinary file"))),
        Err(errno) => Err(refused(lua, format!("{path}: {}", words(errno)))),
    }
}

fn read(lua: &Lua, host: &Host, path: &str) -> Result<LuaString> {
    let fd = open(lua, host, path, OFlags::RDONLY)?;
    must_be_file(lua, &fd, path)?;
    let mut text = Vec::new();
    let count = File::from(fd).take(BYTES + 1).read_to_end(&mut text);
    match count {
        Ok(count) if count as u64 > BYTES => Err(refused(lua, format!("{path} is larger than 1 MiB"))),
        Ok(_) => lua.create_string(&text),
        Err(cause) => Err(refused(lua, format!("{path}: {cause}"))),
    }
}

/// Whether it was written: false only where something is there already, and it must not be.
fn write(lua: &Lua, host: &Host, path: &str, text: &[u8], how: How) -> Result<bool> {
    if text.len() as u64 > BYTES {
        return Err(refused(lua, format!("{path}: more than 1 MiB is not written at once")));
    }
    let (base, rest) = place(lua, host, path, true)?;
    let noted = json!({ "path": path, "bytes": text.len(), "append": how == How::Append });
    if !host.changes_to("fs.write", noted) {
        return Ok(true);
    }
    // Through a link, and behind what is there, it can only be written in place.
    let there = open_below(&base, &rest, OFlags::PATH | OFlags::NOFOLLOW);
    let is_link = there.as_ref().is_ok_and(|fd| {
        rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    });
    if how == How::Append || (is_link && how == How::Whole) {
        return in_place(lua, host, path, text, how).map(|()| true);
    }
    if let Ok(fd) = &there {
        if how == How::Exclusive {
            return Ok(false);
        }
        must_be_file(lua, fd, path)?;
    }
    match beside(&base, &rest, text, there.ok().as_ref(), how) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) if how == How::Exclusive => Ok(false),
        Err(errno) => Err(refused(lua, format!("{path}: {}", words(errno)))),
    }
}

/// Only where this was in it: of many who have seen the same one succeeds. Each locks the file that it has looked
/// at, and whoever finds another in its place then has come too late.
fn replace(lua: &Lua, host: &Host, path: &str, old: &[u8], text: &[u8]) -> Result<bool> {
    let (base, rest) = place(lua, host, path, true)?;
    let fd = match open_below(&base, &rest, OFlags::RDONLY | OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        opened => opened.map_err(|errno| refused(lua, format!("{path}: {}", words(errno))))?,
    };
    must_be_file(lua, &fd, path)?;
    let wrong = |errno: Errno| refused(lua, format!("{path}: {}", words(errno)));
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(false),
        locked => locked.map_err(wrong)?,
    }
    let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let now = open_below(&base, &rest, OFlags::PATH | OFlags::NOFOLLOW);
    let is_there = now.is_ok_and(|now| identity(&now).is_ok() && identity(&now) == identity(&fd));
    let mut there = Vec::new();
    let read = File::from(fd.try_clone().map_err(|cause| refused(lua, format!("{path}: {cause}")))?)
        .take(BYTES + 1)
        .read_to_end(&mut there);
    read.map_err(|cause| refused(lua, format!("{path}: {cause}")))?;
    // The lock is held until the new one has its name.
    if is_there && there == old { write(lua, host, path, text, How::Whole) } else { Ok(false) }
}

fn in_place(lua: &Lua, host: &Host, path: &str, text: &[u8], how: How) -> Result<()> {
    let append = if how == How::Append { OFlags::APPEND } else { OFlags::empty() };
    let fd = open(lua, host, path, OFlags::WRONLY | OFlags::CREATE | append)?;
    must_be_file(lua, &fd, path)?;
    let mut file = File::from(fd);
    let written =
        if how == How::Append { Ok(()) } else { file.set_len(0) }.and_then(|()| file.write_all(text));
    written.map_err(|cause| refused(lua, format!("{path}: {cause}")))
}

/// Into a file beside it, which then gets its name; whoever owned the old one owns the new one.
fn beside(
    base: &Path,
    rest: &Path,
    text: &[u8],
    old: Option<&OwnedFd>,
    how: How,
) -> std::result::Result<(), Errno> {
    let (from, whole) = parts(base, rest);
    let (Some(above), Some(name)) = (whole.parent(), whole.file_name()) else { return Err(Errno::ISDIR) };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let from = rustix::fs::openat(CWD, from, DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let dir = rustix::fs::openat2(from, above, DIRECTORY, Mode::empty(), resolve)?;
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())?;
    let new = format!(".tsubo-{:016x}", u64::from_ne_bytes(random));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&dir, &new, flags, Mode::from_raw_mode(0o600))?);
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut written = || {
        file.write_all(text).map_err(errno)?;
        if let Some(stat) = old.map(rustix::fs::fstat).transpose()? {
            let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            // Who may not give it away keeps it.
            let _ = rustix::fs::fchown(&file, Some(user), Some(group));
            rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o777))?;
        }
        if how == How::Exclusive {
            // A second name is given only where there is none, also on file systems of networks.
            return rustix::fs::linkat(&dir, &new, &dir, name, AtFlags::empty());
        }
        rustix::fs::renameat(&dir, &new, &dir, name)
    };
    let written = written();
    if written.is_err() || how == How::Exclusive {
        let _ = rustix::fs::unlinkat(&dir, &new, AtFlags::empty());
    }
    written
}

fn list(lua: &Lua, host: &Host, path: &str) -> Result<Vec<String>> {
    let fd = open(lua, host, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let entries =
        rustix::fs::Dir::new(fd).map_err(|errno| refused(lua, format!("{path}: {}", words(errno))))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").take(100_000).collect();
    names.sort();
    Ok(names)
}

fn exists(lua: &Lua, host: &Host, path: &str) -> Result<bool> {
    let (base, rest) = place(lua, host, path, false)?;
    match open_below(&base, &rest, OFlags::PATH) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(refused(lua, format!("{path}: {}", words(errno)))),
    }
}
