//! Declared volumes: directories of the host that start as copies of what the image has there, all of a
//! container in one room.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ::disk::{Kind, Room, Volumes};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use spec::container::{MountKind, Spec};
use spec::limits::Limits;
use spec::portable::{Portable, volume_name};
use spec::resources::Limit;
use spec::{Error, ErrorKind, Result, ResultExt, RootPath};

/// The most that the volumes of a container hold if nobody has said more: a part of the disk.
const MOST_BYTES: u64 = 10 << 30;
/// Likewise, files.
const MOST_INODES: u64 = 500_000;
/// No container takes more than one in so many of a disk by itself.
const SHARE: u64 = 4;

/// What was said of their room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) bytes: Option<Limit>,
    pub(crate) inodes: Option<Limit>,
    /// Where the host cannot hold it, there is none.
    pub(crate) best_effort: bool,
}

impl Wanted {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            bytes: limits.disk.map(|size| size.0),
            inodes: limits.inodes.map(|count| count.0),
            best_effort: limits.best_effort == Some(true),
        }
    }

    fn is_said(self) -> bool {
        self.bytes.is_some() || self.inodes.is_some()
    }

    /// What was said, over what they have.
    pub(crate) fn over(self, room: Room) -> Room {
        let number = |limit: Limit| limit.number();
        Room { bytes: self.bytes.map_or(room.bytes, number), inodes: self.inodes.map_or(room.inodes, number) }
    }
}

/// Makes and fills in `dir` those volumes of the container that are not there yet, and says in `spec`
/// how it gets at them. Returns why their room is not limited, where it is not.
pub(crate) fn prepare(
    portable: &Portable,
    tree: &Path,
    dir: &Path,
    wanted: Wanted,
    spec: &mut Spec,
) -> Result<Option<Error>> {
    let needed = |at: &&RootPath| spec.mounts.iter().any(|mount| is_volume(&mount.what, dir, at));
    let needed: Vec<&RootPath> = portable.volumes.iter().filter(needed).collect();
    if needed.is_empty() {
        return Ok(None);
    }
    let (volumes, why_not) = opened(dir, wanted)?;
    let root = volumes.attach()?;
    for at in needed {
        fill(at, tree, root.as_fd()).doing(|| format!("preparing the volume {at}"))?;
    }
    if volumes.kind() == Kind::Image {
        set_apart(spec, dir);
    }
    Ok(why_not)
}

fn is_volume(what: &MountKind, dir: &Path, at: &RootPath) -> bool {
    matches!(what, MountKind::Bind(bind) if bind.source == dir.join(volume_name(at)))
}

/// Those that are there keep the room that they have, unless another was asked for.
fn opened(dir: &Path, wanted: Wanted) -> Result<(Volumes, Option<Error>)> {
    if let Some(mut volumes) = Volumes::open(dir)? {
        let room = wanted.over(volumes.room());
        let changed = if wanted.is_said() { volumes.change(room, None) } else { Ok(()) };
        return match changed {
            Err(error) if error.kind() == ErrorKind::Unsupported && wanted.best_effort => {
                Ok((volumes, Some(error)))
            }
            changed => changed.map(|()| (volumes, None)),
        };
    }
    let room = wanted.over(usual(dir)?);
    // What was asked for is there when it is needed; the usual is only a bound.
    match Volumes::make(dir, room, wanted.bytes.is_some()) {
        Err(error) if error.kind() == ErrorKind::Unsupported && (wanted.best_effort || !wanted.is_said()) => {
            Ok((Volumes::make(dir, Room::default(), false)?, Some(error)))
        }
        made => Ok((made.doing(|| "limiting what its volumes hold")?, None)),
    }
}

/// A part of the disk that they are on.
fn usual(dir: &Path) -> Result<Room> {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let vfs = rustix::fs::statvfs(there).map_err(std::io::Error::from);
    let vfs = vfs.doing(|| format!("asking how much {} holds", there.display()))?;
    let share = |all: u64, most: u64| if all == 0 { most } else { most.min(all / SHARE) };
    let bytes = share(vfs.f_blocks.saturating_mul(vfs.f_frsize), MOST_BYTES);
    Ok(Room { bytes: Some(bytes), inodes: Some(share(vfs.f_files, MOST_INODES)) })
}

/// They have a file system to themselves: nothing of it can be seen on the host.
fn set_apart(spec: &mut Spec, dir: &Path) {
    for mount in &mut spec.mounts {
        let MountKind::Bind(bind) = &mount.what else { continue };
        let name = bind.source.strip_prefix(dir).ok().and_then(Path::to_str).map(str::to_owned);
        if let Some(name) = name {
            mount.what = MountKind::Kept { name };
        }
    }
    spec.kept = Some(dir.to_owned());
}

/// The file system of a container's volumes, for whoever starts it; None if they have none.
///
/// # Errors
/// When it is not there, or in use.
pub fn attach(spec: &Spec) -> Result<Option<OwnedFd>> {
    let Some(dir) = &spec.kept else { return Ok(None) };
    let opening = || format!("opening the volumes of container {}", spec.name);
    let volumes = Volumes::open(dir).doing(opening)?.ok_or_else(|| {
        Error::not_found(format!("the volumes of container {} are gone: {}", spec.name, dir.display()))
    })?;
    volumes.attach().doing(opening).map(Some)
}

/// Under another name first: a volume that is there is complete.
fn fill(at: &RootPath, tree: &Path, volumes: BorrowedFd<'_>) -> Result<()> {
    let name = volume_name(at);
    if rustix::fs::statat(volumes, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    // No volume has a name with a lone per cent sign.
    let new = format!("{name}%new");
    // What is attached nowhere has no other path.
    crate::disk::remove_tree(&Path::new("/proc/self/fd").join(volumes.as_raw_fd().to_string()).join(&new))?;
    let making = || format!("making {name}");
    let io = std::io::Error::from;
    rustix::fs::mkdirat(volumes, &new, Mode::from_raw_mode(0o755)).map_err(io).doing(making)?;
    let root = File::open(tree).doing(|| format!("opening {}", tree.display()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, at.relative(), flags, Mode::empty(), inside) {
        Ok(source) => {
            let to = rustix::fs::openat(volumes, &new, flags, Mode::empty()).map_err(io).doing(making)?;
            runtime::seed::copy_tree(source.as_fd(), to.as_fd())
                .doing(|| format!("copying {at} of the image"))?;
        }
        Err(Errno::NOENT) => {}
        Err(error) => return Err(Error::io(format!("opening {at} of the image"), error.into())),
    }
    rustix::fs::renameat(volumes, &new, volumes, &name).map_err(io).doing(making)
}
