//! An image, mounted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use spec::{Error, Result, ResultExt};
use sys::loop_device::LoopDevice;

use super::file::Lock;

/// A mount that is attached nowhere, with the device below it.
#[derive(Debug)]
pub(super) struct Mounted {
    mount: OwnedFd,
    device: LoopDevice,
}

impl Mounted {
    /// Mounts the image `path`, whose lock goes over to the device.
    pub(super) fn new(path: &Path, lock: Lock, whole: bool) -> Result<Self> {
        let device = LoopDevice::bind(lock.as_fd()).map_err(|error| no_device(path, error))?;
        let mount = mount(&device, whole).map_err(|error| not_mounted(path, error))?;
        Ok(Self { mount, device })
    }

    /// One more mount of an image that somebody else has mounted; None if nobody has.
    pub(super) fn again(path: &Path, whole: bool) -> Result<Option<Self>> {
        let Some(device) = device_of(path)? else { return Ok(None) };
        let mount = mount(&device, whole).map_err(|error| not_mounted(path, error))?;
        Ok(Some(Self { mount, device }))
    }

    /// What it is on.
    pub(super) fn device(&self) -> &LoopDevice {
        &self.device
    }

    /// Of its device.
    pub(super) fn number(&self) -> u32 {
        self.device.number()
    }

    /// Alone, which is enough for the device to live.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.mount
    }
}

impl AsFd for Mounted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// What is deleted is given back to the host, unless it is reserved. The tables of inodes are
/// zeroes in a new file: to write them, as the kernel would, only fills the disk.
fn mount(device: &LoopDevice, whole: bool) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fd = context.as_fd();
    rustix::mount::fsconfig_set_string(fd, "source", format!("/dev/loop{}", device.number()))?;
    rustix::mount::fsconfig_set_string(fd, "errors", "remount-ro")?;
    rustix::mount::fsconfig_set_flag(fd, "noinit_itable")?;
    if !whole {
        rustix::mount::fsconfig_set_flag(fd, "discard")?;
    }
    rustix::mount::fsconfig_create(fd)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn no_device(path: &Path, error: Errno) -> Error {
    let text = format!("a limit of disk needs a loop device for {}", path.display());
    match error {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => Error::unsupported(format!("{text}, and there is none"))
            .because(io::Error::from(error))
            .hint("load the kernel's module (modprobe loop), or give this machine /dev/loop-control")
            .hint("or mount the file system with project quotas (prjquota)"),
        Errno::PERM | Errno::ACCESS => Error::unsupported(format!("{text}, and this process may have none"))
            .because(io::Error::from(error))
            .hint("in a container, give it the devices /dev/loop* and the capability SYS_ADMIN"),
        error => Error::io(text, error.into()),
    }
}

fn not_mounted(path: &Path, error: Errno) -> Error {
    let text = format!("mounting the image {}", path.display());
    match error {
        Errno::NODEV => Error::unsupported(format!("{text}: this kernel has no ext4"))
            .hint("load the kernel's module: modprobe ext4"),
        // EUCLEAN, EFSBADCRC: what the kernel says of damage.
        Errno::UCLEAN | Errno::BADMSG | Errno::INVAL => {
            Error::io(text, error.into()).hint(format!("it may be damaged: e2fsck -f {}", path.display()))
        }
        Errno::IO => Error::io(text, error.into())
            .hint("the host's disk may be full: make room on it, and start it again")
            .hint(format!("else its disk or the image is damaged: e2fsck -f {}", path.display())),
        error => Error::io(text, error.into()),
    }
}

/// The device that the image `path` is bound to, if there is one.
fn device_of(path: &Path) -> Result<Option<LoopDevice>> {
    let looking = || format!("looking for the loop device of {}", path.display());
    let image = std::fs::metadata(path).doing(looking)?;
    for entry in std::fs::read_dir("/sys/block").doing(looking)?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        // Only of one that is bound to anything is there such a file.
        let Ok(backing) = std::fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        let backing = Path::new(backing.trim_end_matches('\n'));
        // Somebody else's may be where nobody answers.
        if backing.file_name() != path.file_name() || !is_same(backing, &image) {
            continue;
        }
        match LoopDevice::bound(number, image.ino()) {
            Err(Errno::STALE | Errno::NXIO) => {}
            result => return result.map(Some).map_err(io::Error::from).doing(looking),
        }
    }
    Ok(None)
}

fn is_same(path: &Path, image: &std::fs::Metadata) -> bool {
    std::fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (image.dev(), image.ino()))
}
