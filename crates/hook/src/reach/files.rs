//! `fs.read`, `fs.write`, `fs.list`, `fs.exists`: files of the host below declared paths, which no symbolic link
//! leaves.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
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
        let append = options.is_some_and(|options| options.get::<bool>("append").unwrap_or(false));
        write(lua, &own, &path, &text.as_bytes(), append)
    };
    table.raw_set("write", lua.create_function(to_write)?)?;
    let own = host.clone();
    table.raw_set("list", lua.create_function(move |lua, path: String| list(lua, &own, &path))?)?;
    let own = host.clone();
    table.raw_set("exists", lua.create_function(move |lua, path: String| exists(lua, &own, &path))?)?;
    Ok(table)
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
    let (dir, name) = match (rest.as_os_str().is_empty(), base.parent(), base.file_name()) {
        (false, ..) => (base.to_owned(), rest.to_owned()),
        // It is declared itself.
        (true, Some(above), Some(name)) => (above.to_owned(), PathBuf::from(name)),
        (true, ..) => (base.to_owned(), PathBuf::from(".")),
    };
    let dir =
        rustix::fs::openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::openat2(dir, name, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
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

fn write(lua: &Lua, host: &Host, path: &str, text: &[u8], append: bool) -> Result<()> {
    if text.len() as u64 > BYTES {
        return Err(refused(lua, format!("{path}: more than 1 MiB is not written at once")));
    }
    place(lua, host, path, true)?;
    if !host.changes_to("fs.write", json!({ "path": path, "bytes": text.len(), "append": append })) {
        return Ok(());
    }
    let how = if append { OFlags::APPEND } else { OFlags::empty() };
    let fd = open(lua, host, path, OFlags::WRONLY | OFlags::CREATE | how)?;
    must_be_file(lua, &fd, path)?;
    let mut file = File::from(fd);
    let written = if append { Ok(()) } else { file.set_len(0) }.and_then(|()| file.write_all(text));
    written.map_err(|cause| refused(lua, format!("{path}: {cause}")))
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
