//! The root of a container, running or not.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use spec::container::{Mount, MountKind, Root};
use spec::{Error, Result, ResultExt};

use super::Tree;
use crate::container::Container;
use crate::record::Status;

impl Container {
    /// Its root, to copy from or to. That of one that does not run is laid out for this program
    /// alone, in a mount namespace of its own, read-only but for volumes: it is to be asked for
    /// only once.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn tree(&self) -> Result<Tree> {
        let prefix = format!("{}:", self.name());
        let (mut tree, running) = match self.status()? {
            Status::Running(state) if !state.resting => {
                let first = state.first.open();
                let path = format!("/proc/{}/root", state.first.pid);
                let opened = rustix::fs::open(
                    &*path,
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                );
                // What was opened is its root only if it has not ended since.
                let alive = first.is_some() && state.first.open().is_some();
                let root = opened.map_err(std::io::Error::from).doing(|| format!("opening {path}"))?;
                if !alive {
                    return Err(Error::conflict(format!("container {} has just ended", self.name())));
                }
                (Tree::of(root, prefix).with_users_of(state.first.pid)?, true)
            }
            // Its next life needs them, and could not begin.
            Status::Running(_) if self.record().spec.kept.is_some() => {
                return Err(Error::conflict(format!("container {} waits to be started again", self.name()))
                    .hint(format!("wait for it, or stop it first: tsubo stop {}", self.name())));
            }
            _ => (Tree::of(self.lay_out()?, prefix), false),
        };
        tree.foreign = true;
        tree.writable = self.writable(running);
        Ok(tree)
    }

    /// Prepares for writing into `tree`.
    ///
    /// # Errors
    /// When its owners cannot be taken on.
    pub fn write_as_its_root(tree: &Tree) -> Result<()> {
        tree.become_its_root()
    }

    /// Where something can be written.
    fn writable(&self, running: bool) -> Vec<String> {
        let spec = &self.record().spec;
        let may = |mount: &&Mount| match &mount.what {
            MountKind::Bind(_) | MountKind::Kept { .. } => !mount.flags.read_only,
            MountKind::Tmpfs { .. } | MountKind::Fresh { .. } => running && !mount.flags.read_only,
            _ => false,
        };
        spec.mounts.iter().filter(may).map(|mount| mount.at.to_string()).collect()
    }

    /// The image's tree with the volumes in it.
    fn lay_out(&self) -> Result<OwnedFd> {
        let spec = &self.record().spec;
        let tree = match &spec.root {
            Root::Tree { path } | Root::Scratch { path, .. } | Root::Mounted { path } => path,
            _ => {
                return Err(Error::unsupported(format!(
                    "the root of container {} is this host's",
                    self.name()
                ))
                .hint("copy there with cp"));
            }
        };
        sys::private_mounts::enter().doing(|| "making a private mount namespace")?;
        let show = || format!("showing {}", tree.display());
        let clone = take(tree, true).doing(show)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&clone, c"", CWD, tree.as_path(), flags)
            .map_err(std::io::Error::from)
            .doing(show)?;
        let root = rustix::fs::open(
            tree.as_path(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let root = root.map_err(std::io::Error::from).doing(show)?;
        self.show_volumes()?;
        for mount in &spec.mounts {
            let source = match (&mount.what, &spec.kept) {
                (MountKind::Bind(bind), _) => bind.source.clone(),
                (MountKind::Kept { name }, Some(dir)) => dir.join(name),
                _ => continue,
            };
            place(&root, mount, &source).doing(|| format!("showing {} at {}", source.display(), mount.at))?;
        }
        Ok(root)
    }
}

impl Container {
    /// Attaches the file system of its volumes over their directory, for this program alone: kernels
    /// before 6.15 take no part of what is attached nowhere.
    fn show_volumes(&self) -> Result<()> {
        let spec = &self.record().spec;
        let (Some(dir), Some(volumes)) = (&spec.kept, crate::volumes::attach(spec)?) else { return Ok(()) };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        let moved = rustix::mount::move_mount(&volumes, c"", CWD, dir.as_path(), flags);
        moved.map_err(std::io::Error::from).doing(|| format!("showing the volumes in {}", dir.display()))
    }
}

/// A mount of what is at `path`, attached nowhere.
fn take(path: &Path, read_only: bool) -> std::io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = rustix::mount::open_tree(CWD, path, flags)?;
    let attributes = sys::mount::NO_DEV | if read_only { sys::mount::READ_ONLY } else { 0 };
    sys::mount::set_attributes_recursively(mount.as_fd(), attributes)?;
    Ok(mount)
}

fn place(root: &OwnedFd, mount: &Mount, source: &Path) -> std::io::Result<()> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let at = match rustix::fs::openat2(root, mount.at.relative(), flags, Mode::empty(), resolve) {
        // Made at the start, in a root that is written in memory.
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        at => at?,
    };
    let clone = take(source, mount.flags.read_only)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(&clone, c"", &at, c"", flags)?)
}
