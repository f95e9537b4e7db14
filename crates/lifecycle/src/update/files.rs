//! Other bounds for files: in memory, in volumes, in logs; while they are in use, and without looking at
//! any of them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ::disk::Volumes;
use rustix::io::Errno;
use rustix::mount::FsPickFlags;
use spec::container::{Mount, MountKind, Room, Root, Spec};
use spec::limits::Limits;
use spec::resources::Limit;
use spec::{Error, ErrorKind, Result, ResultExt, RootPath};

use crate::inside;
use crate::pinned::Pinned;
use crate::resolve::{must_hold_something, must_log, usual_layer, with_ours};
use crate::volumes::Wanted;

/// TMPFS_MAGIC.
const TMPFS: u64 = 0x0102_1994;
/// OVERLAYFS_SUPER_MAGIC.
const OVERLAY: u64 = 0x794c_7630;

/// What was said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files {
    bytes: Option<Limit>,
    inodes: Option<Limit>,
    logs: Option<u64>,
    best_effort: bool,
}

impl Files {
    /// Of limits in words.
    ///
    /// # Errors
    /// No logs at all, or logs without an end.
    pub fn of(limits: &Limits) -> Result<Self> {
        Ok(Self {
            bytes: limits.disk.map(|size| size.0),
            inodes: limits.inodes.map(|count| count.0),
            logs: must_log(limits)?,
            best_effort: limits.best_effort == Some(true),
        })
    }

    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_none() && self.inodes.is_none() && self.logs.is_none()
    }

    /// Whether those of its directories are to change.
    fn is_about_room(&self) -> bool {
        self.bytes.is_some() || self.inodes.is_some()
    }

    fn wanted(&self) -> Wanted {
        Wanted { bytes: self.bytes, inodes: self.inodes, reserved: false, best_effort: self.best_effort }
    }

    /// What a start from now on gives it.
    ///
    /// # Errors
    /// No room at all.
    pub(super) fn merge(&self, spec: &mut Spec) -> Result<()> {
        must_hold_something("disk", self.bytes)?;
        must_hold_something("inodes", self.inodes)?;
        spec.logs = self.logs.or(spec.logs);
        if !self.is_about_room() {
            return Ok(());
        }
        make_share(spec);
        spec.room.bytes = self.bytes.map_or(spec.room.bytes, |limit| limit.number().unwrap_or(0));
        if let (Some(limit), Some(_)) = (self.bytes, &spec.kept) {
            // No limit is no promise.
            spec.promise.disk = limit.number().unwrap_or(0);
        }
        spec.room.inodes = self.inodes.map_or(spec.room.inodes, with_ours);
        Ok(())
    }
}

/// A container that was made when each fresh directory had a room of its own: they share it from the
/// next start on.
fn make_share(spec: &mut Spec) {
    let layered = matches!(spec.root, Root::Scratch { .. });
    if spec.room != Room::default() {
        return;
    }
    let mut room = if layered { usual_layer() } else { Room::default() };
    for mount in &mut spec.mounts {
        if let MountKind::Tmpfs { bytes, inodes, seeded: true, mode } = mount.what {
            room = Room { bytes: room.bytes + bytes, inodes: room.inodes + inodes };
            mount.what = MountKind::Fresh { mode };
        }
    }
    spec.room = room;
}

/// What is changed in a container, by its first process if it runs, so that it can be taken back.
pub(super) struct Change<'a> {
    pub(super) spec: &'a Spec,
    pub(super) first: Option<Pinned>,
}

impl Change<'_> {
    /// Gives its directories another room, all of them or none; returns what its volumes had.
    pub(super) fn apply(&self, files: &Files, room: Room) -> Result<Option<::disk::Room>> {
        if !files.is_about_room() {
            return Ok(None);
        }
        let before = match self.kept(|volumes| files.wanted().apply(volumes)) {
            Err(error) if error.kind() == ErrorKind::Unsupported && files.best_effort => None,
            before => before?,
        };
        // Last: where there was no limit the kernel takes none again.
        self.fresh(room).inspect_err(|_| self.give_back(before)).map(|()| before)
    }

    /// Gives them what they had. If that fails there is nobody to tell: it was so before.
    pub(super) fn take_back(&self, kept: Option<::disk::Room>) {
        let _ = self.fresh(self.spec.room);
        self.give_back(kept);
    }

    fn give_back(&self, kept: Option<::disk::Room>) {
        if let Some(room) = kept {
            let _ = self.kept(|volumes| volumes.change(room));
        }
    }

    /// The file system in memory, which only exists while it runs.
    fn fresh(&self, room: Room) -> Result<()> {
        let Some(first) = self.first else { return Ok(()) };
        let layered = matches!(self.spec.root, Root::Scratch { .. });
        let Some(place) = self.place(|what| matches!(what, MountKind::Fresh { .. })) else {
            // What is written all over the root is reached through an overlay only.
            return if layered { Err(settled()) } else { Ok(()) };
        };
        let doing = || format!("changing the room of {}", place.at);
        let directory = inside::directory(first, &place.at).doing(doing)?;
        match kind_of(&directory).doing(doing)? {
            TMPFS if is_the_hosts(&directory) => Err(covered(&place.at)),
            TMPFS => {
                resize(&directory, room).map_err(|errno| refused(errno, self.spec.room, room)).doing(doing)
            }
            OVERLAY => Err(settled()),
            _ => Err(covered(&place.at)),
        }
    }

    /// Changes the room of its volumes, if it has any; returns what it was.
    fn kept(&self, change: impl FnOnce(&mut Volumes) -> Result<()>) -> Result<Option<::disk::Room>> {
        let Some(dir) = self.spec.kept.clone().or_else(|| self.plain_volumes()) else { return Ok(None) };
        let Some(mut volumes) = Volumes::open(&dir)? else { return Ok(None) };
        let before = volumes.room();
        change(&mut volumes).doing(|| "limiting what its volumes hold").map(|()| Some(before))
    }

    /// Their directory, where they lie in one that the host sees too.
    fn plain_volumes(&self) -> Option<PathBuf> {
        let end = Path::new("volumes").join(&self.spec.name);
        self.spec.mounts.iter().find_map(|mount| match &mount.what {
            MountKind::Bind(bind) => {
                bind.source.parent().filter(|dir| dir.ends_with(&end)).map(ToOwned::to_owned)
            }
            _ => None,
        })
    }

    fn place(&self, kind: impl Fn(&MountKind) -> bool) -> Option<&Mount> {
        self.spec.mounts.iter().find(|mount| kind(&mount.what))
    }
}

fn settled() -> Error {
    Error::unsupported("the room of a writable root is settled when the container starts")
        .hint("stop the container, say it again, and start it")
}

fn kind_of(directory: &OwnedFd) -> Result<u64> {
    let kind = rustix::fs::fstatfs(directory).map_err(std::io::Error::from);
    kind.map(|kind| kind.f_type as u64).doing(|| "asking what it is")
}

/// Nothing that is mounted on the host is made for a container.
fn is_the_hosts(directory: &OwnedFd) -> bool {
    let device = rustix::fs::fstat(directory).map(|stat| crate::figures::device_name(stat.st_dev));
    device.is_ok_and(|device| crate::figures::devices_of_host().contains(&device))
}

fn covered(at: &RootPath) -> Error {
    Error::conflict(format!("something else was mounted over {at}"))
        .hint("the new limit can be set when the container does not run")
}

/// Asks the file system for other bounds. A tmpfs takes none that are below what it holds.
fn resize(directory: &OwnedFd, room: Room) -> Result<(), Errno> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(directory, c"", flags)?;
    rustix::mount::fsconfig_set_string(&context, c"size", room.bytes.to_string().as_str())?;
    rustix::mount::fsconfig_set_string(&context, c"nr_inodes", room.inodes.to_string().as_str())?;
    rustix::mount::fsconfig_reconfigure(&context)
}

fn refused(errno: Errno, before: Room, room: Room) -> Error {
    let cause = std::io::Error::from(errno);
    let unlimited = (before.bytes == 0 && room.bytes > 0) || (before.inodes == 0 && room.inodes > 0);
    match errno {
        Errno::INVAL if unlimited => {
            Error::conflict("its files in memory have no limit, and get none while they are in use")
                .because(cause)
                .hint("stop the container, say it again, and start it")
        }
        Errno::INVAL => Error::conflict(format!(
            "its files in memory are more than {} in {} files already",
            spec::limits::Size(Limit::At(room.bytes)),
            room.inodes
        ))
        .because(cause)
        .hint("give more, or remove some of them first"),
        Errno::PERM => Error::unsupported("the kernel lets only the host's root do that while it runs")
            .because(cause)
            .hint("say it when the container is made, or stop it first"),
        _ => Error::io("asking the kernel", cause),
    }
}
