//! Binds on which later mounts of the host are seen, or that show theirs to the host. They are
//! taken here: a new process's mounts are no relatives of the host's any more.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use rustix::mount::{MountPropagationFlags, OpenTreeFlags};
use spec::{Error, Result, ResultExt};

use super::{Bound, Op, Place, Prepared, above_standard};

/// A bind with propagation, to be attached.
pub(super) fn bind(
    at: Place,
    bound: Bound,
    propagation: MountPropagationFlags,
    prepared: &Prepared,
) -> Result<Op> {
    let source = bound.source.to_string_lossy().into_owned();
    check_shared(&bound).doing(|| format!("looking at {source}"))?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, bound.recursive);
    let mount = rustix::mount::open_tree(CWD, bound.source.as_c_str(), flags).map_err(std::io::Error::from);
    let mount = above_standard(mount.doing(|| format!("opening {source}"))?)?;
    let change = sys::mount::Change { propagation, ..bound.change(prepared.users.as_ref()) };
    let changed = sys::mount::change(mount.as_fd(), change).map_err(std::io::Error::from);
    changed.doing(|| format!("setting mount attributes of {source}"))?;
    let status = rustix::fs::fstat(&mount).map_err(std::io::Error::from);
    let kind = FileType::from_raw_mode(status.doing(|| format!("looking at {source}"))?.st_mode);
    Ok(Op::Attach { at, mount, directory: kind == FileType::Directory })
}

/// Without relatives there is nothing to propagate, and nobody would be told.
fn check_shared(bound: &Bound) -> Result<()> {
    let status = rustix::fs::statx(CWD, bound.source.as_c_str(), AtFlags::empty(), StatxFlags::MNT_ID);
    let id = status.map_err(std::io::Error::from).doing(|| "asking for its mount")?.stx_mnt_id;
    let table = std::fs::read(Path::new("/proc/thread-self/mountinfo")).doing(|| "reading the mounts")?;
    let table = String::from_utf8_lossy(&table);
    let line = table.lines().find(|line| line.split(' ').next() == Some(&id.to_string()));
    // The optional fields end with a dash.
    let fields = line.into_iter().flat_map(|line| line.split(' ').skip(6).take_while(|field| *field != "-"));
    if fields.into_iter().any(|field| field.starts_with("shared:")) {
        return Ok(());
    }
    Err(Error::user(format!("{} does not lie on a shared mount", bound.source.to_string_lossy()))
        .hint("make it one (mount --make-shared), or leave the propagation private"))
}
