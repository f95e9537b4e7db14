//! Unpacking foreign root file systems, for `tsubo dev --from`.
//!
//! A tar (plain, gzip, xz, zstd), an OCI layout in a directory, an OCI archive, or what
//! `docker save` writes (packed too): told apart by what is in them, never by their names.

mod images;
mod layer;

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::blobs::{Blobs, check};
use crate::input::{self, Window, bad};
use crate::tarball::Reader;
use crate::tree::Tree;
use crate::{limits, stream};

use images::Layer;
use layer::Layers;

pub use crate::oci::Config;

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Files and symlinks that were made, with those that a later layer replaced.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was left out, for people.
    pub warnings: Vec<String>,
    /// How the image wants to be run; a plain tar does not say.
    pub config: Option<Config>,
}

/// Unpacks `from` into the directory `into`, which is absent or empty. `progress` is told the
/// packed bytes that are done, and all. After a failure `into` is as it was.
pub fn unpack(from: &Path, into: &Path, progress: &dyn Fn(u64, u64)) -> Result<Imported> {
    let unpacking = || format!("unpacking {}", from.display());
    if from.is_dir() {
        let blobs = Blobs::directory(from)?;
        if blobs.find("oci-layout").doing(unpacking)?.is_none() {
            return Err(Error::user(format!("{} is a directory, but not an OCI layout", from.display())));
        }
        let target = Target::new(into)?;
        return image(&blobs, target, progress).doing(unpacking);
    }
    let file = input::open(from)?;
    let target = Target::new(into)?;
    self::file(file, target, progress).doing(unpacking)
}

/// What the first bytes of a stream turn out to be.
enum Found {
    /// An archive of an image, now in a file of its own.
    Image(File),
    Tree(Box<Imported>),
}

fn file(file: File, target: Target, progress: &dyn Fn(u64, u64)) -> Result<Imported> {
    let window = Window::whole(file.try_clone().doing(|| "reading it")?).doing(|| "reading it")?;
    let total = window.len();
    if total == 0 {
        return Err(Error::user("it is empty"));
    }
    let plain = holds_image(&start(&window)?);
    if plain {
        return image(&Blobs::archive(file)?, target, progress);
    }
    let limit = limits::unpacked(total, limits::IMPORT);
    let (found, _) = stream::unpacked(window, limit, &|done| progress(done, total), |pieces| {
        let first = pieces.peek().map_err(|cause| bad("reading it", cause))?;
        if holds_image(first) {
            target.spool(pieces).map(Found::Image)
        } else {
            tree(pieces, &target).map(|imported| Found::Tree(Box::new(imported)))
        }
    })?;
    match found {
        Found::Tree(imported) => {
            target.keep();
            Ok(*imported)
        }
        Found::Image(file) => image(&Blobs::archive(file)?, target, progress),
    }
}

/// Unpacks a plain tar.
fn tree(pieces: &mut stream::Pieces<'_>, target: &Target) -> Result<Imported> {
    let mut layers = Layers::new(Tree::new(target.open()?), false);
    layers.apply(pieces, true)?;
    layers.finish(None)
}

/// Unpacks an image, layer by layer.
fn image(blobs: &Blobs, target: Target, progress: &dyn Fn(u64, u64)) -> Result<Imported> {
    let image = images::read(blobs)?;
    let mut layers = Layers::new(Tree::new(target.open()?), true);
    let total = image.layers.iter().map(|layer| layer.window.len()).sum();
    let (mut before, mut room) = (0, limits::IMPORT);
    for (number, Layer { window, packed, unpacked }) in image.layers.into_iter().enumerate() {
        let name = || format!("layer {}", number + 1);
        let size = window.len();
        let limit = limits::unpacked(size, room);
        let ((), sums) = stream::unpacked(window, limit, &|done| progress(before + done, total), |pieces| {
            layers.apply(pieces, false)
        })
        .doing(name)?;
        if let Some(packed) = packed {
            check(&packed, &sums.packed, &name())?;
        }
        check(&unpacked, &sums.unpacked, &name())?;
        before += size;
        room = room.saturating_sub(sums.bytes);
    }
    let imported = layers.finish(image.config)?;
    target.keep();
    Ok(imported)
}

/// The first bytes of a file.
fn start(window: &Window) -> Result<Vec<u8>> {
    let part = window.part(0, window.len().min(16 << 10)).unwrap_or_else(|| window.clone());
    input::bounded(part, 16 << 10, "the first bytes")
}

/// Whether these are the first bytes of a tar that holds an image rather than a root file system.
fn holds_image(start: &[u8]) -> bool {
    let mut reader = Reader::lenient(start);
    while let Ok(Some(entry)) = reader.next() {
        let name = String::from_utf8_lossy(&entry.path.as_bytes()[1..]).into_owned();
        let first = name.split('/').next().unwrap_or_default();
        let hex = first.get(..64).is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if hex || matches!(first, "blobs" | "oci-layout" | "index.json" | "manifest.json" | "repositories") {
            return true;
        }
        if !name.is_empty() {
            return false;
        }
    }
    false
}

/// The directory to unpack into; put back as it was unless kept.
struct Target {
    path: PathBuf,
    made: bool,
    kept: bool,
}

impl Target {
    fn new(path: &Path) -> Result<Self> {
        let making = || format!("making {}", path.display());
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => return Ok(Self { path: path.to_owned(), made: true, kept: false }),
            Err(rustix::io::Errno::EXIST) => {}
            Err(cause) => return Err(Error::io(making(), cause.into())),
        }
        let mut entries = std::fs::read_dir(path).doing(making)?;
        match entries.next() {
            None => Ok(Self { path: path.to_owned(), made: false, kept: false }),
            Some(_) => Err(Error::new(ErrorKind::Conflict, format!("{} is not empty", path.display()))),
        }
    }

    fn open(&self) -> Result<std::os::fd::OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&self.path, flags, Mode::empty()).map_err(io::Error::from);
        fd.doing(|| format!("opening {}", self.path.display()))
    }

    /// Unpacks an archive into a file without a name, where it can be read in any order.
    fn spool(&self, pieces: &mut stream::Pieces<'_>) -> Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let spooling = || "unpacking the archive";
        let fd = rustix::fs::open(&self.path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from);
        let mut file = File::from(fd.doing(spooling)?);
        io::copy(pieces, &mut file).map_err(|cause| bad(spooling(), cause))?;
        file.flush().and_then(|()| file.rewind()).doing(spooling)?;
        Ok(file)
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // The failure that led here is the one to report.
        if self.made {
            let _ = std::fs::remove_dir_all(&self.path);
            return;
        }
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let _ = if is_dir {
                std::fs::remove_dir_all(entry.path())
            } else {
                std::fs::remove_file(entry.path())
            };
        }
    }
}
