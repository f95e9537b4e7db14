//! A development container's file system, mounted in this program's private mount namespace.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat,
};
use rustix::mount::{MountFlags, mount};
use spec::{Error, Result, ResultExt, RootPath};

use super::curtain::Veil;
use super::overlay::Overlay;
use super::record::Layer;

/// The mounted file system of a development container: one overlay for each layer.
#[derive(Debug)]
pub struct Stack {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Its layers: the place inside, and the overlay's upper directory.
    pub layers: Vec<(RootPath, PathBuf)>,
}

impl Stack {
    /// The mount points of its overlays, outermost first.
    pub fn mount_points(&self) -> Vec<PathBuf> {
        self.layers.iter().map(|(at, _)| place(&self.root, at)).collect()
    }
}

/// A place inside a root that we have mounted ourselves and that nothing runs in yet.
fn place(root: &Path, at: &RootPath) -> PathBuf {
    if at.is_root() { root.to_owned() } else { root.join(at.relative()) }
}

/// Mounts `layers` below `dir/mnt`, under the veils. The caller is in a private mount namespace.
///
/// # Errors
/// What the kernel refuses.
pub fn mount_development(dir: &Path, layers: &[Layer], veils: &[(RootPath, Veil)]) -> Result<Stack> {
    let root = dir.join("mnt");
    make_dir(&root)?;
    let curtain = dir.join("curtain");
    if !veils.is_empty() {
        make_dir(&curtain)?;
        mount("curtain", &curtain, "tmpfs", MountFlags::NOSUID, Some(c"mode=0755"))
            .map_err(|errno| Error::io("mounting the curtain", errno.into()))?;
    }
    let mut stack = Stack { root: root.clone(), layers: Vec::new() };
    for (number, layer) in layers.iter().enumerate() {
        let veil = curtain.join(number.to_string());
        let mut lower = vec![layer.lower.as_path()];
        let own: Vec<_> = veils.iter().filter(|(at, _)| owner(layers, at) == number).collect();
        if !own.is_empty() {
            hang(&veil, &own, layer)?;
            lower.insert(0, &veil);
        }
        let (upper, work) = (dir.join(&layer.dir).join("upper"), dir.join(&layer.dir).join("work"));
        Overlay { lower: &lower, upper: &upper, work: &work }.mount(&place(&root, &layer.at))?;
        stack.layers.push((layer.at.clone(), upper));
    }
    Ok(stack)
}

/// Mounts a throw-away copy of `stack` below `dir`: overlays that take its mounts as their lower.
///
/// # Errors
/// What the kernel refuses.
pub fn mount_copy(stack: &Stack, dir: &Path) -> Result<Stack> {
    let root = dir.join("mnt");
    make_dir(&root)?;
    let mut copy = Stack { root: root.clone(), layers: Vec::new() };
    for (number, (at, _)) in stack.layers.iter().enumerate() {
        let (upper, work) = (dir.join(format!("{number}/upper")), dir.join(format!("{number}/work")));
        make_dir(&upper)?;
        make_dir(&work)?;
        let lower = place(&stack.root, at);
        mirror(&lower, &upper)?;
        Overlay { lower: &[&lower], upper: &upper, work: &work }.mount(&place(&root, at))?;
        copy.layers.push((at.clone(), upper));
    }
    Ok(copy)
}

/// The number of the layer that holds `at`: the one with the longest matching mount point.
fn owner(layers: &[Layer], at: &RootPath) -> usize {
    let fits = layers.iter().enumerate().filter(|(_, layer)| at.is_within(&layer.at));
    fits.max_by_key(|(_, layer)| layer.at.as_bytes().len()).map_or(0, |(number, _)| number)
}

/// Lays the veils of one layer out in `dir`, which becomes the overlay's topmost lower.
fn hang(dir: &Path, veils: &[&(RootPath, Veil)], layer: &Layer) -> Result<()> {
    make_dir(dir)?;
    let lower = layer.lower.as_path();
    for (at, veil) in veils {
        let inside = Path::new(std::ffi::OsStr::from_bytes(at.below(&layer.at).unwrap_or_default()));
        if inside.as_os_str().is_empty() {
            continue;
        }
        let parent = inside.parent().unwrap_or(Path::new(""));
        make_parents(dir, lower, parent)?;
        let (new, old) = (dir.join(inside), lower.join(inside));
        lay(&new, &old, veil).doing(|| format!("hiding {at} from the container"))?;
        // Making the entry changed the directory's time; give it the host's again.
        mirror(&lower.join(parent), &dir.join(parent))?;
    }
    mirror(lower, dir)
}

fn lay(new: &Path, old: &Path, veil: &Veil) -> Result<()> {
    match veil {
        Veil::Hidden => whiteout(new),
        Veil::Empty | Veil::Emptied => {
            make_dir(new)?;
            if *veil == Veil::Emptied {
                copy_directories(old, new)?;
            }
            opaque(new)?;
            mirror(old, new)
        }
        Veil::Replaced(content) => replace(new, old, content),
    }
}

/// A character device 0:0 hides the name below (overlayfs.rst, "whiteouts").
fn whiteout(path: &Path) -> Result<()> {
    let made = mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), makedev(0, 0));
    made.map_err(|errno| Error::io(format!("making {}", path.display()), errno.into()))
}

/// A directory with this attribute does not merge with the one below it.
fn opaque(path: &Path) -> Result<()> {
    rustix::fs::setxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .map_err(|errno| Error::io(format!("marking {} opaque", path.display()), errno.into()))
}

fn replace(new: &Path, old: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(new, content).doing(|| format!("writing {}", new.display()))?;
    // A symlink of the host (resolv.conf often is one) becomes a plain file.
    if std::fs::symlink_metadata(old).is_ok_and(|meta| meta.is_file()) {
        return mirror(old, new);
    }
    let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
    std::fs::set_permissions(new, std::fs::Permissions::from_mode(mode))
        .doing(|| format!("chmod {}", new.display()))?;
    set_time(new, 0, 0)
}

/// Makes `relative` below `dir`, each directory like the one at the same place below `like`.
fn make_parents(dir: &Path, like: &Path, relative: &Path) -> Result<()> {
    let mut path = PathBuf::new();
    for part in relative.components() {
        path.push(part);
        let new = dir.join(&path);
        if !new.is_dir() {
            make_dir(&new)?;
            mirror(&like.join(&path), &new)?;
        }
    }
    Ok(())
}

/// Copies the directories and symlinks below `old`, and nothing else.
fn copy_directories(old: &Path, new: &Path) -> Result<()> {
    for entry in std::fs::read_dir(old).doing(|| format!("listing {}", old.display()))?.flatten() {
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            make_dir(&to)?;
            copy_directories(&from, &to)?;
            mirror(&from, &to)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&from).doing(|| format!("reading {}", from.display()))?;
            symlink(target, &to).doing(|| format!("making {}", to.display()))?;
        }
    }
    Ok(())
}

/// Gives `new` the owner, mode and time of `old`; what does not exist is left as it is.
pub(super) fn mirror(old: &Path, new: &Path) -> Result<()> {
    let Ok(meta) = std::fs::symlink_metadata(old) else { return Ok(()) };
    std::os::unix::fs::chown(new, Some(meta.uid()), Some(meta.gid()))
        .doing(|| format!("chown {}", new.display()))?;
    let mode = std::fs::Permissions::from_mode(meta.mode() & 0o7777);
    std::fs::set_permissions(new, mode).doing(|| format!("chmod {}", new.display()))?;
    set_time(new, meta.mtime(), meta.mtime_nsec())
}

fn set_time(path: &Path, seconds: i64, nanos: i64) -> Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::io(format!("setting the time of {}", path.display()), errno.into()))
}

pub(super) fn make_dir(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.doing(|| format!("making {}", path.display()))
}
