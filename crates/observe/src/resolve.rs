//! Walks a path as the kernel would do it for another process, and notes what the walk uses.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use spec::RootPath;
use spec::observation::Use;

use crate::mounts::{Meta, Mount, Places, handle, path_of};

/// The kernel's own limit for symlinks in one walk.
const MOST_LINKS: usize = 40;

/// Somewhere in the tree of files.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) fd: OwnedFd,
    pub(crate) meta: Meta,
    mount: Option<Arc<Mount>>,
    /// Where it is in the image; None if it is not part of it.
    pub(crate) place: Option<RootPath>,
}

impl Spot {
    /// What `fd` refers to, for process `tid`.
    pub(crate) fn new(places: &mut Places, tid: i32, fd: OwnedFd) -> Option<Self> {
        let meta = Meta::of(&fd).ok()?;
        let mount = places.mount(tid, &fd, &meta);
        let place = match (&mount, path_of(&fd)) {
            (Some(mount), Some(path)) => places.place(mount, &path),
            _ => None,
        };
        Some(Self { fd, meta, mount, place })
    }

    /// The entry `name`, just opened as `fd`.
    fn entry(&self, places: &mut Places, tid: i32, fd: OwnedFd, name: &[u8]) -> Option<Self> {
        let meta = Meta::of(&fd).ok()?;
        if meta.mount != self.meta.mount {
            return Self::new(places, tid, fd);
        }
        let place = self.place.as_ref().map(|place| place.join(name));
        Some(Self { fd, meta, mount: self.mount.clone(), place })
    }

    fn same(&self, other: &Self) -> bool {
        self.meta.mount == other.meta.mount && self.meta.same_file(&other.meta)
    }

    fn is(&self, kind: FileType) -> bool {
        self.meta.kind() == kind
    }

    fn in_proc(&self) -> bool {
        self.mount.as_ref().is_some_and(|mount| mount.is_proc())
    }

    /// Looking further could hang, or would tell nothing.
    fn is_opaque(&self) -> bool {
        self.mount.as_ref().is_none_or(|mount| mount.may_block())
    }
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum End {
    /// At a file.
    There(Spot),
    /// A component does not exist: the directory that was searched, whether it was the last
    /// component, the first missing path and the whole one.
    Missing {
        /// Place of the directory that was searched.
        parent: RootPath,
        /// Only the last component is missing.
        last: bool,
        /// The missing component and, if it is not the same, the whole path.
        paths: Vec<RootPath>,
    },
    /// Somewhere outside the image, or in error.
    Elsewhere,
}

/// A finished walk.
#[derive(Debug)]
pub(crate) struct Walk {
    /// What was used on the way.
    pub(crate) uses: Vec<(RootPath, Use)>,
    /// Where it ended.
    pub(crate) end: End,
}

/// A process whose paths are to be understood.
pub(crate) struct Walker<'a> {
    places: &'a mut Places,
    tid: i32,
    root: Spot,
    current: Spot,
    /// Components still to walk, the next one last.
    rest: Vec<Vec<u8>>,
    uses: Vec<(RootPath, Use)>,
    links: usize,
}

/// Walks `path` as a process did that is gone, from where it was: its root and working directory.
pub(crate) fn walk_from(
    places: &mut Places,
    tid: i32,
    (root, cwd): (OwnedFd, OwnedFd),
    path: &[u8],
    follow: bool,
) -> Option<Walk> {
    let start = if path.first() == Some(&b'/') { root.try_clone().ok()? } else { cwd };
    begin(places, tid, root, start, path, follow)
}

/// Walks `path` for process `tid`; relative to `base` (a path below its /proc directory, as
/// `cwd` or `fd/3`). `enclosed` makes the base the root (RESOLVE_IN_ROOT). None if the process
/// or the base is gone.
pub(crate) fn walk(
    places: &mut Places,
    tid: i32,
    base: &str,
    path: &[u8],
    follow: bool,
    enclosed: bool,
) -> Option<Walk> {
    let at = |name: &str| handle(&format!("/proc/{tid}/{name}")).ok();
    let root = if enclosed { at(base)? } else { places.root_of(tid)? };
    let start = if path.first() == Some(&b'/') { root.try_clone().ok()? } else { at(base)? };
    begin(places, tid, root, start, path, follow)
}

fn begin(
    places: &mut Places,
    tid: i32,
    root: OwnedFd,
    start: OwnedFd,
    path: &[u8],
    follow: bool,
) -> Option<Walk> {
    let root = Spot::new(places, tid, root)?;
    let current = Spot::new(places, tid, start)?;
    let mut walker = Walker { places, tid, root, current, rest: Vec::new(), uses: Vec::new(), links: 0 };
    walker.push(path);
    Some(walker.run(follow))
}

impl Walker<'_> {
    fn push(&mut self, path: &[u8]) {
        // A trailing slash demands a directory, as "." does.
        if path.len() > 1 && path.ends_with(b"/") {
            self.rest.push(b".".to_vec());
        }
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        self.rest.extend(names.rev().map(<[u8]>::to_vec));
    }

    fn run(mut self, follow: bool) -> Walk {
        while let Some(name) = self.rest.pop() {
            if self.current.is_opaque() {
                return self.finish(End::Elsewhere);
            }
            if !self.current.is(FileType::Directory) {
                self.note(Use::LookedAt);
                return match name.as_slice() {
                    // Nothing is missing: it is just no directory.
                    b"." | b".." => self.finish(End::Elsewhere),
                    _ => self.missing(&name),
                };
            }
            let stepped = match name.as_slice() {
                b"." => Ok(()),
                b".." => self.up(),
                _ => self.down(&name, follow),
            };
            match stepped {
                Ok(()) => {}
                Err(Errno::NOENT) => return self.missing(&name),
                Err(_) => return self.finish(End::Elsewhere),
            }
        }
        let Self { current, uses, .. } = self;
        Walk { uses, end: End::There(current) }
    }

    fn up(&mut self) -> Result<(), Errno> {
        // The directory must exist for `..` to work.
        self.note(Use::LookedAt);
        if self.current.same(&self.root) {
            return Ok(());
        }
        let fd = open_entry(&self.current.fd, b"..")?;
        self.current = Spot::new(self.places, self.tid, fd).ok_or(Errno::STALE)?;
        Ok(())
    }

    fn down(&mut self, name: &[u8], follow: bool) -> Result<(), Errno> {
        if self.current.in_proc() && (name == b"self" || name == b"thread-self") {
            // What these are depends on who asks.
            let fd = handle(&format!("/proc/{}", self.tid))?;
            self.current = Spot::new(self.places, self.tid, fd).ok_or(Errno::STALE)?;
            return Ok(());
        }
        let fd = open_entry(&self.current.fd, name)?;
        let entry = self.current.entry(self.places, self.tid, fd, name).ok_or(Errno::STALE)?;
        if !entry.is(FileType::Symlink) || (self.rest.is_empty() && !follow) {
            self.current = entry;
            return Ok(());
        }
        self.link(entry, name)
    }

    fn link(&mut self, link: Spot, name: &[u8]) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(&link.fd, "", Vec::new())?.into_bytes();
        if link.in_proc() && (target.first() == Some(&b'/') || target.contains(&b':')) {
            // A magic link leads to the very file, whatever its text says.
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&self.current.fd, name, flags, Mode::empty())?;
            self.current = Spot::new(self.places, self.tid, fd).ok_or(Errno::STALE)?;
            return Ok(());
        }
        if let Some(place) = link.place {
            self.uses.push((place, Use::Followed));
        }
        if target.first() == Some(&b'/') {
            let fd = self.root.fd.try_clone().map_err(|_| Errno::MFILE)?;
            self.current = Spot::new(self.places, self.tid, fd).ok_or(Errno::STALE)?;
        }
        self.push(&target);
        Ok(())
    }

    fn note(&mut self, how: Use) {
        if let Some(place) = &self.current.place {
            self.uses.push((place.clone(), how));
        }
    }

    fn missing(self, name: &[u8]) -> Walk {
        let Some(parent) = self.current.place.clone() else { return self.finish(End::Elsewhere) };
        let first = parent.join(name);
        let rest = self.rest.iter().rev().filter(|name| name.as_slice() != b".");
        let whole = rest.clone().all(|name| name.as_slice() != b"..");
        let whole = whole.then(|| rest.clone().fold(first.clone(), |path, name| path.join(name)));
        let last = rest.count() == 0;
        let mut paths = vec![first];
        paths.extend(whole.filter(|whole| *whole != paths[0]));
        self.finish(End::Missing { parent, last, paths })
    }

    fn finish(self, end: End) -> Walk {
        Walk { uses: self.uses, end }
    }
}

fn open_entry(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}
