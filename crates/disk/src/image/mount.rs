//! An image, mounted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use spec::{Error, Result, ResultExt};
use sys::loop_device::LoopDevice;

use super::file::Lock;

/// The major number of all loop devices.
const LOOP_MAJOR: u32 = 7;

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
        error => Error::io(text, error.into()),
    }
}

/// The directory of `used`, so that the file system can be asked for things.
pub(super) fn inside(used: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(used, ".", flags, Mode::empty()).map_err(io::Error::from);
    opened.doing(|| "opening the volumes that are in use")
}

/// The device of the file system that `inside` is in, which must be that of the image `path`.
pub(super) fn device_of(inside: BorrowedFd<'_>, path: &Path) -> Result<LoopDevice> {
    let stat = rustix::fs::fstat(inside).map_err(io::Error::from).doing(|| "looking at the volumes")?;
    let image = std::fs::metadata(path).doing(|| format!("looking at {}", path.display()))?;
    let other = || Error::conflict(format!("what is in use is not {}", path.display()));
    if rustix::fs::major(stat.st_dev) != LOOP_MAJOR {
        return Err(other());
    }
    let Some(number) = number_of(rustix::fs::minor(stat.st_dev)) else { return Err(other()) };
    match LoopDevice::bound(number, image.ino()) {
        Err(Errno::STALE | Errno::NXIO) => Err(other()),
        result => result.map_err(io::Error::from).doing(|| "opening a loop device"),
    }
}

/// The number of the loop device with this minor number: not the same where they can have partitions.
fn number_of(minor: u32) -> Option<u32> {
    let link = std::fs::read_link(format!("/sys/dev/block/{LOOP_MAJOR}:{minor}")).ok()?;
    link.file_name()?.to_str()?.strip_prefix("loop")?.parse().ok()
}
