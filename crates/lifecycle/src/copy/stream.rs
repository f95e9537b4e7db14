//! Tar archives, to and from.

use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;
use spec::{Error, Result, ResultExt};

use super::Copied;
use super::tree::Meta;
use super::walk::Sink;

/// Writes an archive.
pub(super) struct Packing<'a> {
    builder: tar::Builder<&'a mut dyn Write>,
    base: PathBuf,
}

impl<'a> Packing<'a> {
    pub(super) fn new(out: &'a mut dyn Write, base: &Path) -> Self {
        Self { builder: tar::Builder::new(out), base: base.to_owned() }
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.builder.finish().and_then(|()| self.builder.get_mut().flush()).doing(|| "writing the archive")
    }

    fn whole(&self, path: &Path) -> PathBuf {
        // Joined with nothing, a file's name would end as a directory's.
        let whole = if path.as_os_str().is_empty() { self.base.clone() } else { self.base.join(path) };
        if whole.as_os_str().is_empty() { PathBuf::from(".") } else { whole }
    }
}

fn header(kind: tar::EntryType, meta: &Meta) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(meta.uid.into());
    header.set_gid(meta.gid.into());
    header.set_mtime(u64::try_from(meta.modified.0).unwrap_or(0));
    header.set_size(0);
    header
}

impl Sink for Packing<'_> {
    fn directory(&mut self, path: &Path, meta: &Meta) -> Result<()> {
        let mut header = header(tar::EntryType::Directory, meta);
        let whole = self.whole(path);
        self.builder.append_data(&mut header, whole, io::empty()).doing(|| "writing the archive")
    }

    fn leave(&mut self, _: &Path, _: &Meta) -> Result<()> {
        Ok(())
    }

    fn file(&mut self, path: &Path, meta: &Meta, length: u64, content: &mut dyn Read) -> Result<u64> {
        let mut header = header(tar::EntryType::Regular, meta);
        header.set_size(length);
        // The length was told: what has grown is cut, what has shrunk is filled up.
        let exact = content.take(length).chain(io::repeat(0)).take(length);
        let whole = self.whole(path);
        self.builder.append_data(&mut header, whole, exact).doing(|| "writing the archive")?;
        Ok(length)
    }

    fn link(&mut self, path: &Path, meta: &Meta, target: &Path) -> Result<()> {
        let mut header = header(tar::EntryType::Symlink, meta);
        let whole = self.whole(path);
        self.builder.append_link(&mut header, whole, target).doing(|| "writing the archive")
    }

    fn name(&mut self, path: &Path, first: &Path) -> Result<()> {
        let nobodys = Meta { mode: 0o644, uid: 0, gid: 0, modified: (0, 0), attributes: Vec::new() };
        let mut header = header(tar::EntryType::Link, &nobodys);
        let (whole, first) = (self.whole(path), self.whole(first));
        self.builder.append_link(&mut header, whole, first).doing(|| "writing the archive")
    }

    fn pipe(&mut self, path: &Path, meta: &Meta) -> Result<()> {
        let mut header = header(tar::EntryType::Fifo, meta);
        let whole = self.whole(path);
        self.builder.append_data(&mut header, whole, io::empty()).doing(|| "writing the archive")
    }
}

/// Hands the entries of an archive to `sink`.
pub(super) fn unpack(archive: &mut dyn Read, sink: &mut dyn Sink) -> Result<Copied> {
    let damaged = || "reading the archive";
    let mut copied = Copied::default();
    // The times of directories are set when nothing more comes into them.
    let mut directories = Vec::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().doing(damaged)? {
        let mut entry = entry.doing(damaged)?;
        let path = within(&entry.path().doing(damaged)?)?;
        let meta = meta(entry.header()).doing(damaged)?;
        let target = entry.link_name().doing(damaged)?.map(|target| target.into_owned());
        match (kind(entry.header().entry_type()), target) {
            (Kind::Is(FileType::Directory), _) => {
                sink.directory(&path, &meta)?;
                directories.push((path, meta));
            }
            (Kind::Is(FileType::RegularFile), _) => {
                let length = entry.size();
                let written = sink.file(&path, &meta, length, &mut entry)?;
                if written != length {
                    return Err(Error::user("the archive ends in the middle of a file"));
                }
                copied.bytes += written;
            }
            (Kind::Is(FileType::Symlink), Some(target)) => sink.link(&path, &meta, &target)?,
            (Kind::Is(FileType::Fifo), _) => sink.pipe(&path, &meta)?,
            (Kind::Name, Some(target)) => sink.name(&path, &within(&target)?)?,
            _ => {
                copied.skipped += 1;
                continue;
            }
        }
        copied.entries += 1;
    }
    directories.iter().rev().try_for_each(|(path, meta)| sink.leave(path, meta))?;
    Ok(copied)
}

enum Kind {
    Is(FileType),
    Name,
    Other,
}

fn kind(kind: tar::EntryType) -> Kind {
    match kind {
        tar::EntryType::Directory => Kind::Is(FileType::Directory),
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            Kind::Is(FileType::RegularFile)
        }
        tar::EntryType::Symlink => Kind::Is(FileType::Symlink),
        tar::EntryType::Fifo => Kind::Is(FileType::Fifo),
        tar::EntryType::Link => Kind::Name,
        _ => Kind::Other,
    }
}

fn meta(header: &tar::Header) -> io::Result<Meta> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    let none = || io::Error::other("an owner is out of range");
    Ok(Meta {
        mode: header.mode()? & 0o7777,
        uid: id(header.uid()?).ok_or_else(none)?,
        gid: id(header.gid()?).ok_or_else(none)?,
        modified: (i64::try_from(header.mtime()?).unwrap_or(0), 0),
        attributes: Vec::new(),
    })
}

/// Names in an archive stay below the place that it is unpacked to.
fn within(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => {
                return Err(Error::user(format!(
                    "the archive has a name that leads outside: {}",
                    path.display()
                )));
            }
        }
    }
    Ok(clean)
}
