//! Comparing an installed tree with what was installed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use spec::{Digest, Error, Result, ResultExt, RootPath};

use crate::meta::{self, Kind};
use crate::tree::names;

/// The paths whose seal differs, is missing or is too many; and how many were looked at.
pub(crate) fn compare(tree: &Path, seals: &str) -> Result<(Vec<RootPath>, u64)> {
    let mut wanted = parse(seals)?;
    let fd = rustix::fs::open(tree, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = fd.map_err(io::Error::from).doing(|| format!("opening {}", tree.display()))?;
    let (mut damaged, mut count) = (Vec::new(), 0);
    let mut pending = vec![RootPath::root()];
    while let Some(path) = pending.pop() {
        let (seal, children) =
            look(&root, &path).doing(|| format!("reading {path} in {}", tree.display()))?;
        pending.extend(children);
        count += 1;
        if wanted.remove(&path) != Some(seal) {
            damaged.push(path);
        }
    }
    damaged.extend(wanted.into_keys());
    damaged.sort();
    Ok((damaged, count))
}

fn parse(seals: &str) -> Result<BTreeMap<RootPath, Digest>> {
    let damaged = || Error::internal("the image's list of seals is damaged");
    let line = |line: &str| {
        let (hex, path) = line.split_once(' ')?;
        Some((path.parse().ok()?, format!("sha256:{hex}").parse().ok()?))
    };
    seals.lines().map(|text| line(text).ok_or_else(damaged)).collect()
}

/// The seal of one path, and what is in it.
fn look(root: &OwnedFd, path: &RootPath) -> io::Result<(Digest, Vec<RootPath>)> {
    let inode = meta::examine(root.as_fd(), path)?;
    let mut children = Vec::new();
    let content = match &inode.kind {
        Kind::Directory => {
            let fd = meta::open(root, path, OFlags::DIRECTORY)?;
            children = names(&fd)?.iter().map(|name| path.join(name)).collect();
            Vec::new()
        }
        Kind::File => {
            let mut hash = Sha256::new();
            io::copy(&mut File::from(meta::open(root, path, OFlags::NONBLOCK)?), &mut HashWriter(&mut hash))?;
            hash.finalize().to_vec()
        }
        Kind::Symlink(target) => target.clone(),
        Kind::Fifo | Kind::Other => Vec::new(),
    };
    Ok((inode.meta.seal(inode.kind.tag(), &content), children))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
