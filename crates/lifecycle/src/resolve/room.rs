//! How much its own files may be: those in memory, its logs, and what is said of its volumes.

use std::os::fd::AsFd;
use std::path::Path;

use runtime::seed::Size;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use spec::container::{MountKind, Room, Root, Spec};
use spec::limits::{self, Limits};
use spec::resources::Limit;
use spec::{Error, Result, ResultExt, RootPath};

use super::Resolving;
use super::reason::Reasons;

/// Least size of a directory that is fresh at each start, in bytes; memory is used as it fills.
pub(super) const FRESH_BYTES: u64 = 256 << 20;
/// Its inodes, at the least.
pub(super) const FRESH_INODES: u64 = 65_536;

/// Directories of ours beside those of the container: the root, and those of an overlay.
const OURS: u64 = 4;

/// No log is shorter.
const LEAST_LOGS: u64 = 64 << 10;

/// To write into, beside what the image has there.
const LEAST_BYTES: u64 = 4 << 20;

/// To a tmpfs.
const UNLIMITED: u64 = 0;

impl Resolving<'_> {
    pub(super) fn room(&self, spec: &mut Spec, said: &Limits, reasons: &mut Reasons) -> Result<()> {
        spec.logs = must_log(said)?;
        let (mut default, seeds) = usual(self.tree, spec)?;
        // Who fills it is to be told that it is full, before he is killed for lack of memory.
        if let Some(Limit::At(memory)) = spec.resources.memory.max.or(spec.wishes.memory.max) {
            default.bytes = default.bytes.min((memory / 4 * 3).max(seeds.bytes + LEAST_BYTES));
        }
        let bytes = said.disk.map(|size| size.0);
        let inodes = said.inodes.map(|count| count.0);
        must_hold("disk", bytes, seeds.bytes, |bytes| limits::Size(Limit::At(bytes)).to_string())?;
        must_hold("inodes", inodes, seeds.inodes, |inodes| inodes.to_string())?;
        spec.room = Room {
            bytes: bytes.map_or(default.bytes, |limit| limit.number().unwrap_or(UNLIMITED)),
            inodes: inodes.map_or(default.inodes, with_ours),
        };
        self.bound_shared_memory(spec, bytes);
        tell(spec, said, reasons);
        Ok(())
    }

    /// It is room for files too, if nobody has said how much.
    fn bound_shared_memory(&self, spec: &mut Spec, most: Option<Limit>) {
        let (Some(Limit::At(most)), None) = (most, self.layers.value(|layer| layer.shm_size.clone())) else {
            return;
        };
        for mount in &mut spec.mounts {
            if let MountKind::Dev { shm, .. } = &mut mount.what {
                *shm = most.min(*shm);
            }
        }
    }
}

/// What a writable root holds.
pub(crate) fn usual_layer() -> Room {
    Room { bytes: FRESH_BYTES, inodes: FRESH_INODES }
}

/// For each fresh directory what the image has there and as much again; and what it has.
fn usual(tree: &Path, spec: &Spec) -> Result<(Room, Size)> {
    let layered = matches!(spec.root, Root::Scratch { .. });
    let mut room = if layered { usual_layer() } else { Room::default() };
    let mut seeds = Size::default();
    for mount in spec.mounts.iter().filter(|mount| matches!(mount.what, MountKind::Fresh { .. })) {
        let seed = size_in(tree, &mount.at).doing(|| format!("measuring {} of the image", mount.at))?;
        room.bytes += seed.bytes.saturating_mul(2).max(FRESH_BYTES);
        room.inodes += seed.inodes.saturating_mul(2).max(FRESH_INODES);
        seeds.bytes += seed.bytes;
        seeds.inodes += seed.inodes;
    }
    Ok((room, seeds))
}

fn size_in(tree: &Path, at: &RootPath) -> std::io::Result<Size> {
    let root = std::fs::File::open(tree)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, at.relative(), flags, Mode::empty(), inside) {
        Ok(directory) => runtime::seed::measure_tree(directory.as_fd()),
        Err(Errno::NOENT) => Ok(Size::default()),
        Err(error) => Err(error.into()),
    }
}

/// A number of inodes, as a tmpfs takes it.
pub(crate) fn with_ours(limit: Limit) -> u64 {
    limit.number().map_or(UNLIMITED, |number| number.saturating_add(OURS))
}

/// To a tmpfs none at all is no limit.
pub(crate) fn must_hold_something(word: &str, limit: Option<Limit>) -> Result<()> {
    match limit {
        Some(Limit::At(0)) => {
            Err(Error::user(format!("{word} = 0 leaves no room for a single file")).hint("max is no limit"))
        }
        _ => Ok(()),
    }
}

/// A container that is full before it begins would not start.
fn must_hold(word: &str, limit: Option<Limit>, there: u64, shown: impl Fn(u64) -> String) -> Result<()> {
    must_hold_something(word, limit)?;
    match limit {
        Some(Limit::At(most)) if most < there => Err(Error::user(format!(
            "{word} = {} is less than what the image has in its fresh directories: {}",
            shown(most),
            shown(there)
        ))
        .hint("give more, or leave what it need not write out of the image's writable directories")),
        _ => Ok(()),
    }
}

/// Bytes of logs, where that was said.
pub(crate) fn must_log(said: &Limits) -> Result<Option<u64>> {
    match said.logs.map(|size| size.0) {
        None => Ok(None),
        Some(Limit::At(bytes)) if bytes >= LEAST_LOGS => Ok(Some(bytes)),
        Some(Limit::Max) => Err(Error::user("logs without a limit fill the disk of the host")
            .hint("say how much is kept, as in logs = \"1G\"")),
        Some(Limit::At(_)) => Err(Error::user("logs that short lose the reason of every failure")
            .hint(format!("the least is {}", limits::Size(Limit::At(LEAST_LOGS))))),
    }
}

fn tell(spec: &Spec, said: &Limits, reasons: &mut Reasons) {
    let in_memory = matches!(spec.root, Root::Scratch { .. })
        || spec.mounts.iter().any(|mount| matches!(mount.what, MountKind::Fresh { .. }));
    if !in_memory {
        return;
    }
    let size = match spec.room.bytes {
        UNLIMITED => "max".to_owned(),
        bytes => limits::Size(Limit::At(bytes)).to_string(),
    };
    let why = match said.disk {
        Some(_) => "asked for; in memory, and counted to that",
        None => {
            "default: twice what the image has there, within three quarters of its memory; counted to that"
        }
    };
    reasons.add("fresh files", format!("{size} at most"), why, "--limit disk=SIZE|max");
}
