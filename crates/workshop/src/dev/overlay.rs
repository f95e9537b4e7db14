//! One overlay mount, through the mount API of Linux 5.2 (fsopen(2)).

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use spec::{Error, ErrorKind, Result};

/// An overlay to be mounted.
pub struct Overlay<'a> {
    /// Read-only layers, topmost first.
    pub lower: &'a [&'a Path],
    /// The layer that takes the changes.
    pub upper: &'a Path,
    /// An empty directory on the file system of `upper`.
    pub work: &'a Path,
}

impl Overlay<'_> {
    /// Mounts it at `point`, without device nodes.
    ///
    /// # Errors
    /// What the kernel says; the hint tells about stacked overlays.
    pub fn mount(&self, point: &Path) -> Result<()> {
        self.try_mount(point).map_err(|errno| {
            let stacked =
                "the kernel stacks two overlays at the most and refuses overlays over some file systems";
            Error::io(format!("mounting an overlay at {}", point.display()), errno.into()).hint(stacked)
        })
    }

    fn try_mount(&self, point: &Path) -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |key: &str, value: &[u8]| fsconfig_set_string(context.as_fd(), key, value);
        set("source", b"tsubo")?;
        set("lowerdir", &joined(self.lower))?;
        set("upperdir", self.upper.as_os_str().as_bytes())?;
        set("workdir", self.work.as_os_str().as_bytes())?;
        // index=off: lowers that were copied or bound elsewhere must not be refused with ESTALE.
        set("index", b"off")?;
        match lifecycle::rootless::inside() {
            // A user may write only attributes of users; directories of the base are then not renamed
            // but copied by whoever is told EXDEV.
            true => fsconfig_set_flag(context.as_fd(), "userxattr")?,
            // Renaming a directory of the base is an ordinary thing to do for package managers.
            false => set("redirect_dir", b"on")?,
        }
        set("metacopy", b"off")?;
        fsconfig_create(context.as_fd())?;
        let mount =
            fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
        move_mount(mount.as_fd(), "", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }
}

/// Lower directories in the kernel's form: colon-separated, colons and backslashes escaped.
fn joined(lower: &[&Path]) -> Vec<u8> {
    let escape = |path: &&Path| {
        let mut out = Vec::new();
        for byte in path.as_os_str().as_bytes() {
            if matches!(byte, b':' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out
    };
    lower.iter().map(escape).collect::<Vec<_>>().join(&b':')
}

/// Whether a directory lies on an overlay itself, so that only one more can be stacked.
///
/// # Errors
/// When the directory cannot be asked.
pub fn is_overlay(path: &Path) -> Result<bool> {
    const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
    let stats = rustix::fs::statfs(path).map_err(|errno| {
        Error::new(ErrorKind::Internal, format!("asking for the file system of {}", path.display()))
            .because(std::io::Error::from(errno))
    })?;
    Ok(stats.f_type == OVERLAYFS_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_in_paths_are_escaped() {
        assert_eq!(joined(&[Path::new("/a:b"), Path::new("/c")]), b"/a\\:b:/c");
    }
}
