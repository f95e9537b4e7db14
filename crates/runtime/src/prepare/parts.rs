//! File systems that several places are parts of: one for all that is fresh, and that of the volumes.
//!
//! Each file system costs a start, and a removal with every control group that ever goes (the kernel
//! asks all of them), and none could say how much all of them hold together.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use spec::plan::{Plan, Shared};
use spec::{Error, Result, ResultExt, RootPath};

use super::users::Owners;
use super::{Op, Place, Prepared, c_string, mounts};

/// What there is to share.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    fresh: Option<OwnedFd>,
    kept: Option<OwnedFd>,
    places: u32,
}

/// A directory of one of them, as it appears inside.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kept: bool,
    pub(crate) name: CString,
    pub(crate) attributes: u64,
    /// Its owners are shown as the container's.
    pub(crate) mapped: bool,
}

impl Shares {
    /// What was brought along.
    pub(super) fn with(kept: Option<OwnedFd>) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Makes the one in memory; that of the volumes must have been brought along.
    pub(super) fn begin(&mut self, shared: Shared) -> Result<()> {
        match shared {
            Shared::Fresh(room) => {
                self.fresh = Some(mounts::make(&mounts::tmpfs(None, room.bytes, room.inodes, 0o755)?)?);
            }
            Shared::Kept if self.kept.is_none() => {
                return Err(Error::internal("the file system of the volumes was not opened"));
            }
            Shared::Kept => {}
        }
        Ok(())
    }

    /// The one that is meant.
    pub(crate) fn of(&self, kept: bool) -> Result<BorrowedFd<'_>, Errno> {
        let shared = if kept { &self.kept } else { &self.fresh };
        shared.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.fresh.iter().chain(&self.kept).map(AsRawFd::as_raw_fd)
    }

    fn fresh(&self) -> Result<BorrowedFd<'_>> {
        self.of(false).map_err(|_| Error::internal("no room was made for files in memory"))
    }
}

/// A fresh directory with a copy of what the root has at `at`.
pub(super) fn fresh(
    plan: &Plan,
    at: &RootPath,
    mode: u32,
    attributes: u64,
    prepared: &mut Prepared,
) -> Result<Op> {
    let name = c_string(prepared.shares.places.to_string().as_bytes())?;
    prepared.shares.places += 1;
    let shared = prepared.shares.fresh()?;
    let making = || format!("making a directory for {at}");
    let io = std::io::Error::from;
    // The bits beyond the usual ones are not taken from mkdir by every file system.
    rustix::fs::mkdirat(shared, &name, Mode::from_raw_mode(mode)).map_err(io).doing(making)?;
    let inside = mounts::open_directory(shared, &name).doing(making)?;
    if !mounts::seed(plan, at, inside.as_fd())? {
        rustix::fs::fchmod(&inside, Mode::from_raw_mode(mode)).map_err(io).doing(making)?;
        if let Some((uid, gid)) = Owners::of(plan)?.root()? {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(shared, &name, Some(uid), Some(gid), flags).map_err(io).doing(making)?;
        }
    }
    let part = Part { kept: false, name, attributes, mapped: false };
    Ok(Op::Part { at: Place::new(at, false)?, part })
}

/// A volume.
pub(super) fn kept(at: &RootPath, name: &str, attributes: u64, prepared: &Prepared) -> Result<Op> {
    let (name, mapped) = (c_string(name.as_bytes())?, prepared.users.is_some());
    Ok(Op::Part { at: Place::new(at, false)?, part: Part { kept: true, name, attributes, mapped } })
}

/// The writable layer of an overlay: an upper directory that looks like the root of `tree`.
pub(super) fn layer(plan: &Plan, tree: &Path, mapped: bool, prepared: &Prepared) -> Result<()> {
    let layer = prepared.shares.fresh()?;
    for name in [c"upper", c"work"] {
        rustix::fs::mkdirat(layer, name, Mode::from_raw_mode(0o755))
            .map_err(std::io::Error::from)
            .doing(|| "making a layer")?;
    }
    let upper = mounts::open_directory(layer, c"upper").doing(|| "opening the layer")?;
    let tree = std::fs::File::open(tree).doing(|| format!("opening {}", tree.display()))?;
    let users = plan.users.as_ref().filter(|_| mapped);
    crate::seed::copy_attributes(users, tree.as_fd(), upper.as_fd())
        .doing(|| "copying the attributes of the root")
}
