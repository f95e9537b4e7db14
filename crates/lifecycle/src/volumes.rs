//! Declared volumes: directories of the host that start as copies of what the image has there, all of a
//! container in one room.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ::disk::{Kind, Room, Volumes};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use spec::container::{MountKind, Spec};
use spec::limits::Limits;
use spec::portable::{Portable, volume_name};
use spec::resources::Limit;
use spec::{Error, ErrorKind, Result, ResultExt, RootPath};

/// The most that the volumes of a container hold if nobody has said more: a part of the disk.
pub(crate) const MOST_BYTES: u64 = 10 << 30;
/// Likewise, files.
pub(crate) const MOST_INODES: u64 = 500_000;
/// Room for one file is so much room for bytes.
const BYTES_A_FILE: u64 = 8 << 10;
/// Fewer are not worth a limit.
const LEAST_INODES: u64 = 1024;
/// No container takes more than one in so many of a disk by itself.
const SHARE: u64 = 4;

/// What was said of their room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) bytes: Option<Limit>,
    pub(crate) inodes: Option<Limit>,
    /// It is taken from the disk now.
    pub(crate) reserved: bool,
    /// Where the host cannot hold it, there is none.
    pub(crate) best_effort: bool,
}

impl Wanted {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            bytes: limits.disk.map(|size| size.0),
            inodes: limits.inodes.map(|count| count.0),
            reserved: limits.disk_reserved == Some(true),
            best_effort: limits.best_effort == Some(true),
        }
    }

    fn is_said(self) -> bool {
        self.bytes.is_some() || self.inodes.is_some() || self.reserved
    }

    /// Whether it goes without what could not be limited.
    fn without(self, error: Error) -> Result<Error> {
        let unable = error.kind() == ErrorKind::Unsupported && self.best_effort;
        // Nobody has asked for it: no container fails to start for that.
        if unable || !self.is_said() { Ok(error) } else { Err(error) }
    }

    /// What was said, over what they have.
    fn over(self, room: Room) -> Room {
        Room {
            bytes: self.bytes.map_or(room.bytes, Limit::number),
            inodes: self.inodes.map_or(room.inodes, Limit::number),
        }
    }

    /// Gives them what was said. More bytes alone come with more files where that is possible.
    pub(crate) fn apply(self, volumes: &mut Volumes) -> Result<()> {
        let (before, room) = (volumes.room(), self.over(volumes.room()));
        let along = room.bytes.filter(|_| self.inodes.is_none() && before.bytes < room.bytes);
        let more = along.map(|bytes| (bytes / BYTES_A_FILE).min(MOST_INODES));
        if let (Some(now), Some(more)) = (before.inodes, more)
            && more > now
            && volumes.change(Room { inodes: Some(more), ..room }).is_ok()
        {
            return Ok(());
        }
        volumes.change(room)
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
    let image = Volumes::open(dir)?.is_some_and(|volumes| volumes.kind() == Kind::Image);
    if image
        && !wanted.is_said()
        && filled(dir).is_superset(&needed.iter().map(|at| volume_name(at)).collect())
    {
        set_apart(spec, dir);
        return Ok(None);
    }
    let (volumes, root, why_not) = opened(dir, wanted)?;
    for at in &needed {
        fill(at, tree, root.as_fd()).doing(|| format!("preparing the volume {at}"))?;
    }
    if volumes.kind() != Kind::Directory {
        set_apart(spec, dir);
        note_filled(dir, root.as_fd(), &needed)?;
    }
    Ok(why_not)
}

/// Which volumes are there, beside what holds them: to look there an image has to be mounted, and that
/// takes longer than the rest of a start.
const FILLED: &str = "%filled";

fn filled(dir: &Path) -> BTreeSet<String> {
    let names = std::fs::read_to_string(dir.join(FILLED)).unwrap_or_default();
    names.lines().map(str::to_owned).collect()
}

/// What is noted survives what the machine does not.
fn note_filled(dir: &Path, root: BorrowedFd<'_>, needed: &[&RootPath]) -> Result<()> {
    let mut names = filled(dir);
    let before = names.len();
    names.extend(needed.iter().map(|at| volume_name(at)));
    if names.len() == before {
        return Ok(());
    }
    let noting = || format!("noting which volumes there are in {}", dir.display());
    // What is attached nowhere is held by a descriptor that is good for paths only.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = rustix::fs::openat(root, ".", flags, Mode::empty()).and_then(rustix::fs::syncfs);
    synced.map_err(std::io::Error::from).doing(noting)?;
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    crate::disk::write_text(&dir.join(FILLED), &text).doing(noting)
}

fn is_volume(what: &MountKind, dir: &Path, at: &RootPath) -> bool {
    matches!(what, MountKind::Bind(bind) if bind.source == dir.join(volume_name(at)))
}

/// Those that are there keep the room that they have, unless another was asked for.
fn opened(dir: &Path, wanted: Wanted) -> Result<(Volumes, OwnedFd, Option<Error>)> {
    if let Some(mut volumes) = Volumes::open(dir)? {
        let why_not = match wanted.is_said() {
            true if wanted.reserved && !volumes.is_reserved() => Some(made_sparse()),
            true => wanted.apply(&mut volumes).err(),
            false => unlimited(&volumes),
        };
        let why_not = why_not.map(|error| wanted.without(error)).transpose()?;
        let root = volumes.attach()?;
        return Ok((volumes, root, why_not));
    }
    let room = wanted.over(usual(dir, wanted)?);
    match Volumes::make_attached(dir, room, wanted.reserved) {
        Ok((volumes, root)) => Ok((volumes, root, None)),
        Err(error) => {
            let why = wanted.without(error).doing(|| "limiting what its volumes hold")?;
            let (volumes, root) = Volumes::make_attached(dir, Room::default(), false)?;
            Ok((volumes, root, Some(why)))
        }
    }
}

fn made_sparse() -> Error {
    Error::unsupported("its volumes are there already, and their room was not reserved when they were made")
        .hint("copy what they hold, remove them (tsubo rm --volumes) and start it anew")
}

/// Those of earlier versions, and of whoever wanted none, stay as they are.
fn unlimited(volumes: &Volumes) -> Option<Error> {
    let plain = volumes.kind() == Kind::Directory;
    plain.then(|| Error::unsupported("they were made without a limit, and keep what they have"))
}

/// A part of the disk that they are on.
fn usual(dir: &Path, wanted: Wanted) -> Result<Room> {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let vfs = rustix::fs::statvfs(there).map_err(std::io::Error::from);
    let vfs = vfs.doing(|| format!("asking how much {} holds", there.display()))?;
    let share = |all: u64, most: u64| if all == 0 { most } else { most.min(all / SHARE) };
    let bytes = share(vfs.f_blocks.saturating_mul(vfs.f_frsize), MOST_BYTES);
    // Files take room even if they are empty.
    let least = wanted.bytes.and_then(Limit::number).unwrap_or(bytes) / BYTES_A_FILE;
    let inodes = share(vfs.f_files, MOST_INODES).min(least.max(LEAST_INODES));
    // A file system that makes inodes as they are needed has no table to fill.
    Ok(Room { bytes: Some(bytes), inodes: (vfs.f_files > 0).then_some(inodes) })
}

/// They are parts of what holds them, which is opened at each start.
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

/// Removes the volumes in `dir`; false if there are none.
pub(crate) fn remove(dir: &Path) -> Result<bool> {
    let volumes = Volumes::open(dir)?;
    let there = volumes.is_some();
    volumes.map_or(Ok(()), Volumes::remove).map(|()| there)
}

/// By what the volumes in `dir` are held, in a word: `directory` and the host sees them there, `project`
/// and `subvolume` and it sees them in `%volumes` below, `image` and it sees them only while they are in use.
/// None where there are none.
pub fn held_by(dir: &Path) -> Option<&'static str> {
    Some(match Volumes::open(dir).ok()??.kind() {
        Kind::Directory => "directory",
        Kind::Project { .. } => "project",
        Kind::Subvolume => "subvolume",
        Kind::Image => "image",
    })
}

/// The directory that holds a container's volumes as a mount that is attached nowhere, for whoever
/// starts it; None if they lie on the host as they are.
///
/// # Errors
/// When it is not there, or in use.
pub fn attach(spec: &Spec) -> Result<Option<OwnedFd>> {
    let Some(dir) = &spec.kept else { return Ok(None) };
    let opening = || format!("opening the volumes of container {}", spec.name);
    let volumes = Volumes::open(dir).doing(opening)?.ok_or_else(|| {
        Error::not_found(format!("the volumes of container {} are gone: {}", spec.name, dir.display()))
    })?;
    let root = volumes.attach().doing(opening)?;
    if volumes.kind() == Kind::Image {
        return Ok(Some(root));
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(&root, c"", flags).map_err(std::io::Error::from);
    mount.doing(opening).map(Some)
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
