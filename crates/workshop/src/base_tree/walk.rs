//! Reading a whole tree into memory: getdents and stat by descriptor, two threads.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Kind, Meta, Node};

/// What the first thread reads by itself before the rest is shared out: on real roots the third
/// level has enough directories of even size.
const SHARED_BELOW: usize = 3;
/// Directories nested deeper are refused: each level holds one descriptor.
const MAX_DEPTH: usize = 400;
const THREADS: usize = 2;
/// What the kernel fills these with is not the container's.
const FOREIGN: [&[u8]; 3] = [b"proc", b"sys", b"dev"];

/// One directory that is still to be read: the names that lead to it.
type Place = Vec<Box<[u8]>>;

/// Reads the tree below `root`.
pub(super) fn walk(root: BorrowedFd<'_>) -> io::Result<Node> {
    let stat = rustix::fs::fstat(root)?;
    let mut later = Vec::new();
    let top = reopen(root)?;
    let entries = Reader::new().directory(top.as_fd(), 0, &mut Some((&mut later, Vec::new())))?;
    let mut top = Node { meta: meta(&stat), kind: Kind::Directory(entries) };
    for (index, entries) in read_shared(root, &later)? {
        if let Some(node) = later[index].iter().try_fold(&mut top, |node, name| entry_mut(node, name)) {
            node.kind = Kind::Directory(entries);
        }
    }
    Ok(top)
}

type Entries = Vec<(Box<[u8]>, Node)>;

/// Reads `places` with several threads; each takes the next one that nobody has begun.
fn read_shared(root: BorrowedFd<'_>, places: &[Place]) -> io::Result<Vec<(usize, Entries)>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Ok(Vec::with_capacity(places.len())));
    let work = || {
        let mut reader = Reader::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = places.get(index) else { return };
            let read = reader.place(root, place);
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match (read, done.as_mut()) {
                (Ok(entries), Ok(done)) => done.push((index, entries)),
                (Err(error), _) => *done = Err(error),
                (_, Err(_)) => return,
            }
        }
    };
    thread::scope(|scope| {
        (1..THREADS).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn entry_mut<'a>(node: &'a mut Node, name: &[u8]) -> Option<&'a mut Node> {
    let Kind::Directory(entries) = &mut node.kind else { return None };
    let index = entries.binary_search_by(|(entry, _)| entry.as_ref().cmp(name)).ok()?;
    Some(&mut entries[index].1)
}

/// Reads directories with one buffer.
struct Reader {
    buffer: Vec<MaybeUninit<u8>>,
}

/// The list of what is left for the other threads, and the place where the reader is.
type Shared<'a> = Option<(&'a mut Vec<Place>, Place)>;

impl Reader {
    fn new() -> Self {
        Self { buffer: vec![MaybeUninit::uninit(); 64 * 1024] }
    }

    fn place(&mut self, root: BorrowedFd<'_>, place: &Place) -> io::Result<Entries> {
        let path = place.join(&b'/');
        match open_directory(root, &path)? {
            Some(directory) => self.directory(directory.as_fd(), place.len(), &mut None),
            None => Ok(Vec::new()),
        }
    }

    fn directory(
        &mut self,
        at: BorrowedFd<'_>,
        depth: usize,
        shared: &mut Shared<'_>,
    ) -> io::Result<Entries> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("directories are nested deeper than {MAX_DEPTH}")));
        }
        let names = self.names(at)?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            // A name that is gone again was never part of the base.
            if let Some(node) = self.node(at, &name, depth, shared)? {
                entries.push((name, node));
            }
        }
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(entries)
    }

    fn names(&mut self, at: BorrowedFd<'_>) -> io::Result<Vec<Box<[u8]>>> {
        let mut names = Vec::new();
        let mut raw = RawDir::new(at, &mut self.buffer);
        while let Some(entry) = raw.next() {
            let entry = match entry {
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    fn node(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        depth: usize,
        shared: &mut Shared<'_>,
    ) -> io::Result<Option<Node>> {
        let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link(rustix::fs::readlinkat(at, name, [])?.into_bytes().into()),
            FileType::Directory => Kind::Directory(self.below(at, name, depth, shared)?),
            FileType::Fifo => Kind::Pipe,
            _ => Kind::Special,
        };
        Ok(Some(Node { meta: meta(&stat), kind }))
    }

    /// The entries of the directory `name`, or none and a note for later.
    fn below(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        depth: usize,
        shared: &mut Shared<'_>,
    ) -> io::Result<Entries> {
        if depth == 0 && FOREIGN.contains(&name) {
            return Ok(Vec::new());
        }
        if let Some((later, here)) = shared {
            here.push(name.into());
            if here.len() >= SHARED_BELOW {
                later.push(here.clone());
                here.pop();
                return Ok(Vec::new());
            }
        }
        let entries = match open_directory(at, name)? {
            Some(directory) => self.directory(directory.as_fd(), depth + 1, shared)?,
            None => Vec::new(),
        };
        if let Some((_, here)) = shared {
            here.pop();
        }
        Ok(entries)
    }
}

/// Opens a directory for listing. None if it is gone, or closed to us: what we cannot read the
/// service, which ran with our rights, could not read either.
fn open_directory(at: BorrowedFd<'_>, path: &[u8]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(at, path, flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A descriptor that can be listed, from one that only names the directory.
fn reopen(root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[allow(clippy::unnecessary_cast, reason = "the types of stat's fields differ between architectures")]
fn meta(stat: &Stat) -> Meta {
    Meta {
        mode: stat.st_mode as u32,
        size: stat.st_size as u64,
        mtime: (stat.st_mtime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64),
        inode: (stat.st_dev as u64, stat.st_ino as u64),
        links: stat.st_nlink as u64,
    }
}
