//! Loop devices: a file as a block device, for as long as something uses it.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::loop_device as raw;
use rustix::io::{Errno, Result};

/// How often a free device is asked for, when others take the ones that were told.
const TRIES: usize = 64;

/// A device that is bound to a file. The kernel ends the binding when the last user of the device is
/// gone, whether that is this value or what was mounted from it.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    number: u32,
}

impl LoopDevice {
    /// Binds a free device to `file`, which the device keeps open: a lock on that open file lives as
    /// long as the device needs it.
    ///
    /// # Errors
    /// `ENOENT` or `ENXIO` where there are no loop devices, `EACCES` or `EPERM` to whoever is not
    /// the host's root.
    pub fn bind(file: BorrowedFd<'_>) -> Result<Self> {
        let control = open("/dev/loop-control")?;
        for _ in 0..TRIES {
            // SAFETY: this request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), raw::LOOP_CTL_GET_FREE as libc::Ioctl) };
            let number = u32::try_from(number).map_err(|_| crate::last_error())?;
            let device = open(&format!("/dev/loop{number}"))?;
            match configure(&device, file) {
                // Somebody else was told the same number.
                Err(Errno::BUSY) => {}
                result => return result.map(|()| Self { device, number }),
            }
        }
        Err(Errno::BUSY)
    }

    /// The device of this number, if it is bound to the file with that inode number.
    ///
    /// # Errors
    /// `ENXIO` where it is bound to nothing, `ESTALE` where to another file.
    pub fn bound(number: u32, inode: u64) -> Result<Self> {
        let device = open(&format!("/dev/loop{number}"))?;
        let mut info = nothing();
        // SAFETY: this request writes one structure of this type.
        let result =
            unsafe { libc::ioctl(device.as_raw_fd(), raw::LOOP_GET_STATUS64 as libc::Ioctl, &raw mut info) };
        match result {
            0 if info.lo_inode == inode => Ok(Self { device, number }),
            0 => Err(Errno::STALE),
            _ => Err(crate::last_error()),
        }
    }

    /// Its number: it is `/dev/loopNUMBER`, and `loopNUMBER` in sysfs.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Makes it as large as its file is now.
    pub fn follow_size(&self) -> Result<()> {
        // SAFETY: this request takes no argument.
        let result =
            unsafe { libc::ioctl(self.device.as_raw_fd(), raw::LOOP_SET_CAPACITY as libc::Ioctl, 0) };
        if result < 0 { Err(crate::last_error()) } else { Ok(()) }
    }
}

fn open(path: &str) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// In sectors of a page, which every disk below takes without reading first; past the page cache of
/// the file where its file system allows that: what is in the image is cached once, not twice.
fn configure(device: &File, file: BorrowedFd<'_>) -> Result<()> {
    let mut info = nothing();
    info.lo_flags = raw::LO_FLAGS_AUTOCLEAR as u32 | raw::LO_FLAGS_DIRECT_IO as u32;
    let config = raw::loop_config { fd: file.as_raw_fd() as u32, block_size: 4096, info, __reserved: [0; 8] };
    // SAFETY: this request reads one structure of this type.
    let result =
        unsafe { libc::ioctl(device.as_raw_fd(), raw::LOOP_CONFIGURE as libc::Ioctl, &raw const config) };
    if result < 0 { Err(crate::last_error()) } else { Ok(()) }
}

fn nothing() -> raw::loop_info64 {
    // SAFETY: plain data, for which zeroes are valid.
    unsafe { std::mem::zeroed() }
}
