//! A root without a mount namespace: a copy of the tree's mount that is attached nowhere.
//!
//! Whoever has it as its root keeps it alive: nothing of it appears among the host's mounts, and
//! nothing is left when the last process has ended.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use spec::container::Root;
use spec::plan::{Plan, Step};
use spec::{Error, Result, ResultExt};
use sys::mount::{NO_DEV, READ_ONLY};
use sys::users::UserNamespace;

use super::{Bound, Op, above_standard, c_path};

/// Whether the root of `plan` must not be attached to the mounts that the child sees: they are the
/// host's.
pub(super) fn is_loose(plan: &Plan) -> bool {
    !plan.steps.contains(&Step::PrivateMounts)
}

/// The tree, ready to be changed to.
pub(super) fn root(root: &Root, mapped: bool, users: Option<&UserNamespace>) -> Result<Op> {
    let (path, attributes) = match root {
        Root::Tree { path } => (path, READ_ONLY | NO_DEV),
        Root::Mounted { path } => (path, NO_DEV),
        Root::Bundle { path, read_only } => (path, if *read_only { READ_ONLY } else { 0 }),
        Root::Scratch { .. } | Root::Host => {
            return Err(Error::internal("this root goes with a mount namespace only"));
        }
    };
    let bound = Bound { mapped, ..Bound::of(c_path(path)?, attributes) };
    Ok(Op::LooseRoot { tree: tree(path, &bound, users)? })
}

fn tree(path: &Path, bound: &Bound, users: Option<&UserNamespace>) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, bound.source.as_c_str(), flags).map_err(std::io::Error::from);
    let tree = above_standard(tree.doing(|| format!("opening {}", path.display()))?)?;
    let set = sys::mount::change(tree.as_fd(), bound.change(users));
    set.map_err(std::io::Error::from).doing(|| format!("protecting {}", path.display()))?;
    Ok(tree)
}

/// Into the root that a step before has made, or into that of the process behind `target`.
///
/// With mounts of its own the root is moved over that of the host, so that none of those is above it:
/// for hosts whose root is the kernel's first, which pivot_root(2) does not take.
pub(super) fn chroot(plan: &Plan, target: Option<BorrowedFd<'_>>) -> Result<Op> {
    let moves = target.is_none() && !is_loose(plan);
    Ok(Op::Chroot { root: target.map(root_of).transpose()?, moves })
}

fn root_of(target: BorrowedFd<'_>) -> Result<OwnedFd> {
    let gone = || Error::conflict("the container is not running any more");
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", target.as_raw_fd()));
    let about = about.doing(|| "asking for the container's process")?;
    let pid = about.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
    let pid = pid.filter(|pid| *pid != "-1").ok_or_else(gone)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty());
    // The number may have changed hands meanwhile, but not while its owner still takes signals.
    sys::process::send_signal(target, 0).map_err(|_| gone())?;
    above_standard(root.map_err(std::io::Error::from).doing(|| "opening the container's root")?)
}
