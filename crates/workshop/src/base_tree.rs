//! The base of a package, read once: every name, type, owner's view and link target of the
//! development container's root.
//!
//! The cut asks thousands of questions of the base ("where does this symlink lead", "what lies
//! beside this module", "how large is it all"). One walk answers them all from memory, so that no
//! question can be led out of the base by a symlink, and all answers agree with one another.

mod walk;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use spec::{Result, ResultExt, RootPath};

/// How many symlinks the kernel follows in one path before it gives up (ELOOP).
const MAX_LINKS: usize = 40;

/// A root file system, as it was when it was read.
pub struct BaseTree {
    root: OwnedFd,
    top: Node,
}

/// A name in the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What stat says.
    pub meta: Meta,
    /// Its type and, for directories and links, what is in it.
    pub kind: Kind,
}

/// The type of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory and its entries, by name.
    Directory(Vec<(Box<[u8]>, Node)>),
    /// A regular file.
    File,
    /// A symlink and its target, as it is written.
    Link(Box<[u8]>),
    /// A named pipe.
    Pipe,
    /// A socket or a device: never part of a package.
    Special,
}

/// What stat says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Type and permissions.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime: i64,
    /// The file system and the inode on it: two names with the same are hard links.
    pub inode: (u64, u64),
    /// How many names it has.
    pub links: u64,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The symlinks that are walked, in this order, each where it really lies.
    pub links: Vec<RootPath>,
    /// Where the path ends; what is missing is appended as it was written.
    pub end: RootPath,
    /// Whether the end exists.
    pub found: bool,
}

impl Node {
    /// The entries, if it is a directory.
    pub fn entries(&self) -> &[(Box<[u8]>, Self)] {
        match &self.kind {
            Kind::Directory(entries) => entries,
            _ => &[],
        }
    }

    /// The entry called `name`.
    pub fn entry(&self, name: &[u8]) -> Option<&Self> {
        let entries = self.entries();
        let index = entries.binary_search_by(|(entry, _)| entry.as_ref().cmp(name)).ok()?;
        Some(&entries[index].1)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Whether it counts as a file in a report: a regular file or a symlink.
    pub fn counts(&self) -> bool {
        matches!(self.kind, Kind::File | Kind::Link(_))
    }
}

impl BaseTree {
    /// Reads the root file system at `base`. The contents of /proc, /sys and /dev are left out:
    /// they belong to whoever runs the container.
    pub fn read(base: &Path) -> Result<Self> {
        let root =
            rustix::fs::openat(CWD, base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(std::io::Error::from)
                .doing(|| format!("opening the root {}", base.display()))?;
        let top = walk::walk(root.as_fd()).doing(|| format!("reading the root {}", base.display()))?;
        Ok(Self { root, top })
    }

    /// The node at `path`, no component of which is a symlink.
    pub fn node(&self, path: &RootPath) -> Option<&Node> {
        components(path).try_fold(&self.top, |node, name| node.entry(name))
    }

    /// Follows `path` to its end as the kernel would in this root.
    pub fn resolve(&self, path: &RootPath) -> Way {
        self.follow(path, true)
    }

    /// Follows `path`, but for a symlink at its end.
    pub fn resolve_entry(&self, path: &RootPath) -> Way {
        self.follow(path, false)
    }

    /// The end of `path` with all symlinks followed, if it exists.
    pub fn real(&self, path: &RootPath) -> Option<RootPath> {
        let way = self.resolve(path);
        way.found.then_some(way.end)
    }

    fn follow(&self, path: &RootPath, last_too: bool) -> Way {
        let mut todo: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        todo.reverse();
        let mut trail = vec![&self.top];
        let mut way = Way { links: Vec::new(), end: RootPath::root(), found: true };
        while let Some(name) = todo.pop() {
            if name == b".." {
                way.end = way.end.parent().unwrap_or_else(RootPath::root);
                trail.truncate((trail.len() - 1).max(1));
                continue;
            }
            let here = trail[trail.len() - 1];
            let at = way.end.join(&name);
            match here.entry(&name) {
                None => return missing(way, at, &todo),
                Some(Node { kind: Kind::Link(target), .. }) if last_too || !todo.is_empty() => {
                    way.links.push(at.clone());
                    if way.links.len() > MAX_LINKS {
                        return missing(way, at, &todo);
                    }
                    if target.first() == Some(&b'/') {
                        way.end = RootPath::root();
                        trail.truncate(1);
                    }
                    todo.extend(parts(target).rev().map(<[u8]>::to_vec));
                }
                Some(node) => {
                    trail.push(node);
                    way.end = at;
                }
            }
        }
        way
    }

    /// Calls `see` for `under` and all that is below it; `see` tells whether to go into a
    /// directory.
    pub fn visit(&self, under: &RootPath, see: &mut dyn FnMut(&RootPath, &Node) -> bool) {
        if let Some(node) = self.node(under) {
            visit(under, node, see);
        }
    }

    /// Opens the regular file at `path` for reading, without leaving the base.
    pub fn open(&self, path: &RootPath) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(&self.root, path.relative(), flags, Mode::empty(), resolve)
            .map_err(std::io::Error::from)
            .doing(|| format!("opening {path}"))?;
        Ok(File::from(file))
    }

    /// The content of the regular file that `path` leads to; None if there is none, or if it has
    /// more than `limit` bytes.
    pub fn read_file(&self, path: &RootPath, limit: u64) -> Option<Vec<u8>> {
        use std::io::Read;
        let real = self.real(path)?;
        let node = self.node(&real)?;
        if !node.is_file() || node.meta.size > limit {
            return None;
        }
        let mut content = Vec::with_capacity(node.meta.size as usize);
        self.open(&real).ok()?.take(limit).read_to_end(&mut content).ok()?;
        Some(content)
    }
}

fn visit(path: &RootPath, node: &Node, see: &mut dyn FnMut(&RootPath, &Node) -> bool) {
    if see(path, node) {
        node.entries().iter().for_each(|(name, child)| visit(&path.join(name), child, see));
    }
}

/// Ends `way` at `at` and what remains to do, taken literally.
fn missing(mut way: Way, at: RootPath, todo: &[Vec<u8>]) -> Way {
    way.end = todo.iter().rev().fold(at, |at, name| match name.as_slice() {
        b".." => at.parent().unwrap_or_else(RootPath::root),
        name => at.join(name),
    });
    way.found = false;
    way
}

fn components(path: &RootPath) -> impl DoubleEndedIterator<Item = &[u8]> {
    parts(path.as_bytes())
}

/// The components of a path or link target, without those that say nothing.
fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::sample::{Sample, path};

    #[test]
    fn five_links_across_directories_and_up() {
        let root = Sample::new("links");
        root.file("/real/deep/data", "x");
        root.link("/e", "/real/deep/../deep/data");
        root.link("/four/d", "../e");
        root.link("/three", "four");
        root.link("/two/b", "../three/d");
        root.link("/one", "/../two/./b");
        let tree = root.tree();
        let way = tree.resolve(&path("/one"));
        assert!(way.found);
        assert_eq!(way.end, path("/real/deep/data"));
        assert_eq!(way.links, ["/one", "/two/b", "/three", "/four/d", "/e"].map(path));
        assert_eq!(tree.resolve_entry(&path("/three/d")).end, path("/four/d"));
    }

    #[test]
    fn what_leads_nowhere_ends_where_it_is_missing() {
        let root = Sample::new("nowhere");
        root.link("/loop", "loop");
        root.link("/dangling", "/not/here");
        root.file("/file", "x");
        let tree = root.tree();
        assert!(!tree.resolve(&path("/loop")).found);
        let way = tree.resolve(&path("/dangling/more"));
        assert_eq!((way.found, way.end), (false, path("/not/here/more")));
        assert!(!tree.resolve(&path("/file/below")).found);
        assert_eq!(tree.read_file(&path("/file"), 1), Some(b"x".to_vec()));
        assert_eq!(tree.read_file(&path("/file"), 0), None);
    }

    #[test]
    fn pipes_are_packed_and_sockets_are_not() {
        let root = Sample::new("special");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, root.at("/pipe"), rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        let _socket = std::os::unix::net::UnixListener::bind(root.at("/socket")).expect("a socket");
        let uses = ["/pipe", "/socket"].map(|path| (path, spec::observation::Use::LookedAt));
        let cut = root.cut(crate::cut::Level::Exact, &uses);
        assert!(cut.paths.contains(&path("/pipe")) && !cut.paths.contains(&path("/socket")));
        assert_eq!(cut.report.files, 0, "neither counts as a file");
    }

    #[test]
    fn directories_nested_beyond_reason_are_an_error() {
        let root = Sample::new("deep");
        root.directory(&"/d".repeat(450));
        let error = BaseTree::read(root.root()).err().expect("too deep");
        assert!(error.chain().contains("nested deeper"), "{}", error.chain());
    }

    #[test]
    fn the_hosts_own_root_is_read() {
        let tree = BaseTree::read(Path::new("/")).expect("the host's root");
        let mut nodes = 0_u64;
        tree.visit(&RootPath::root(), &mut |_, _| {
            nodes += 1;
            true
        });
        assert!(nodes > 1000, "{nodes}");
        assert!(tree.node(&path("/proc")).is_some_and(|proc| proc.entries().is_empty()));
    }
}
