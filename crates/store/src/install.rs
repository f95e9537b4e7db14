//! From the layer of a package to a tree of links into objects.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use spec::{Digest, Error, Result, ResultExt, RootPath};

use crate::input::bad;
use crate::meta::{Kind, Meta, portable_xattr};
use crate::objects::{Objects, Taken};
use crate::stream::Pieces;
use crate::tarball::{Entry, Reader, What};
use crate::tree::{Tree, failed};

/// Files up to this size are hashed in memory, so that one that exists is not written at all.
const IN_MEMORY: u64 = 4 << 20;

/// What was unpacked.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// A digest of each path; hard links share that of their target.
    pub(crate) seals: BTreeMap<RootPath, Digest>,
}

/// Unpacks the layer in `pieces` into the empty directory `root`. `spare` is another directory on
/// the same file system.
pub(crate) fn unpack(
    pieces: &mut Pieces<'_>,
    root: &Path,
    objects: &Objects,
    spare: &OwnedFd,
) -> Result<Unpacked> {
    let opening = || format!("opening {}", root.display());
    let fd = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let tree = Tree::new(fd.map_err(io::Error::from).doing(opening)?);
    let (taken, done) = (Taken::default(), Unpacked::default());
    let mut unpacker = Unpacker { tree, objects, spare, taken, done, content: Vec::new() };
    let mut reader = Reader::strict(pieces);
    while let Some(entry) = reader.next()? {
        unpacker.entry(entry, &mut reader)?;
    }
    if !reader.ended() {
        return Err(Error::user("the layer is truncated: it has no end mark"));
    }
    let Unpacker { tree, mut done, .. } = unpacker;
    for (path, meta) in tree.finish()? {
        done.seals.insert(path, meta.seal(Kind::Directory.tag(), b""));
    }
    Ok(done)
}

struct Unpacker<'a> {
    tree: Tree,
    objects: &'a Objects,
    spare: &'a OwnedFd,
    taken: Taken,
    done: Unpacked,
    /// The content of the current file, if it is small.
    content: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: Entry, data: &mut dyn Read) -> Result<()> {
        let Entry { path, what, meta } = entry;
        check(&path, &what, &meta)?;
        let seal = match what {
            What::Directory => return self.tree.directory(&path, meta),
            What::File { size } => self.file(&path, &meta, size, data)?,
            What::Symlink { target } => {
                self.tree.symlink(&path, &meta, &target)?;
                self.done.files += 1;
                Meta { mode: 0o777, ..meta }.seal(b'l', &target)
            }
            What::Hardlink { target } => {
                self.tree.hardlink(&path, &target, false)?;
                let unknown =
                    || Error::user(format!("entry {path} is a hard link to {target}, which is not a file"));
                *self.done.seals.get(&target).ok_or_else(unknown)?
            }
            What::Fifo => {
                self.tree.fifo(&path, &meta)?;
                meta.seal(Kind::Fifo.tag(), b"")
            }
            What::Device => return Err(refused(&path, "is a device node")),
        };
        self.done.seals.insert(path, seal);
        Ok(())
    }

    fn file(&mut self, path: &RootPath, meta: &Meta, size: u64, data: &mut dyn Read) -> Result<Digest> {
        self.done.files += 1;
        self.done.bytes += size;
        if size > IN_MEMORY {
            let hash = self.tree.file(path, meta, size, data)?;
            return self.exchange(path, meta, size, &hash);
        }
        self.content.resize(size as usize, 0);
        data.read_exact(&mut self.content)
            .map_err(|cause| bad(format!("reading the data of entry {path}"), cause))?;
        let seal = meta.seal(Kind::File.tag(), &Sha256::digest(&self.content));
        let name = self.taken.next(seal);
        let (parent, leaf) = self.tree.place(path)?;
        if self.objects.take(&name, meta, size, parent, leaf).map_err(|cause| failed(path, cause))? {
            return Ok(seal);
        }
        self.tree.file(path, meta, size, &mut self.content.as_slice())?;
        self.share(path, &name, meta, size)?;
        Ok(seal)
    }

    /// Puts the object in place of a file that was written already, or makes that the object.
    fn exchange(&mut self, path: &RootPath, meta: &Meta, size: u64, hash: &[u8; 32]) -> Result<Digest> {
        let seal = meta.seal(Kind::File.tag(), hash);
        let name = self.taken.next(seal);
        self.share(path, &name, meta, size)?;
        Ok(seal)
    }

    fn share(&mut self, path: &RootPath, name: &str, meta: &Meta, size: u64) -> Result<()> {
        let place = self.tree.place(path)?;
        self.objects.give(name, meta, size, place, self.spare).map_err(|cause| failed(path, cause))
    }
}

/// What a package never holds, because `tsubo pack` never writes it.
fn check(path: &RootPath, what: &What, meta: &Meta) -> Result<()> {
    if let Some(name) = meta.xattrs.keys().find(|name| !portable_xattr(name)) {
        return Err(refused(path, &format!("has the xattr {:?}", name.escape_ascii().to_string())));
    }
    if path.name().is_some_and(|name| name.starts_with(b".wh.")) {
        return Err(refused(path, "is a whiteout"));
    }
    if matches!(what, What::Symlink { .. } | What::Fifo) && !meta.xattrs.is_empty() {
        return Err(refused(path, "has xattrs, but is no file or directory"));
    }
    Ok(())
}

fn refused(path: &RootPath, why: &str) -> Error {
    Error::user(format!("entry {path} {why}, which no package may hold"))
}

/// The text of the `seals` file.
pub(crate) fn seals_text(seals: &BTreeMap<RootPath, Digest>) -> String {
    let mut text = String::with_capacity(seals.len() * 100);
    for (path, seal) in seals {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{} {path}", seal.hex());
    }
    text
}
