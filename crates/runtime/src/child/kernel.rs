//! Writes to files of the kernel's, through a procfs that nobody else has.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sys::mount::{NO_DEV, NO_EXEC, NO_SUID};

use crate::prepare::{FileSystem, KernelFile, detached};
use crate::report::{During, Fault, Part};

/// A procfs that is mounted nowhere. Made before anything else: later there may be neither the
/// privilege for it nor a view of processes.
pub(super) fn private_procfs() -> Result<OwnedFd, Fault> {
    let procfs =
        FileSystem { kind: c"proc".into(), options: Vec::new(), attributes: NO_SUID | NO_DEV | NO_EXEC };
    detached(&procfs).during(Part::Procfs)
}

/// One for whoever is root in a user namespace only, and may not make one: the caller's. No container
/// has any say about that, and nothing that is mounted in it is ever written to.
pub(super) fn callers_procfs() -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let procfs = rustix::fs::open(c"/proc", flags, Mode::empty()).during(Part::Procfs)?;
    match rustix::fs::fstatfs(&procfs).during(Part::Procfs)?.f_type as u64 {
        PROC_SUPER_MAGIC => Ok(procfs),
        _ => Err(Errno::NODEV).during(Part::Procfs),
    }
}

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Writes a value, in one piece.
pub(super) fn write(procfs: BorrowedFd<'_>, file: &KernelFile) -> Result<(), Fault> {
    let opened = match file.own {
        true => open_own(procfs, file)?,
        false => open(procfs, &file.path, OFlags::WRONLY).during(Part::KernelFile)?,
    };
    put(&opened, &file.value)
}

fn put(file: &OwnedFd, value: &[u8]) -> Result<(), Fault> {
    match rustix::io::write(file, value).during(Part::KernelFile)? {
        written if written == value.len() => Ok(()),
        _ => Err(Errno::INVAL).during(Part::KernelFile),
    }
}

/// Clocks can only be set in a time namespace that nobody is in yet: so this process makes one for
/// its children, sets the clocks, and then enters it itself, which it may as its only thread.
pub(super) fn set_clocks(procfs: BorrowedFd<'_>, offsets: &KernelFile) -> Result<(), Fault> {
    put_clocks(&open_own(procfs, offsets)?, offsets)?;
    let own = own_directory(procfs)?;
    // A link to something that no path leads to, in a directory that can only be the kernel's.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&own, c"ns/time_for_children", flags, Mode::empty());
    let file = file.during(Part::KernelFile)?;
    Ok(sys::namespace::enter(file.as_fd(), sys::namespace::TIME)?)
}

/// For the children of this process alone. The file was opened with the caller's privileges: to the
/// root of a user namespace the kernel does not give it.
pub(super) fn put_clocks(file: &OwnedFd, offsets: &KernelFile) -> Result<(), Fault> {
    sys::namespace::unshare(sys::namespace::TIME)?;
    put(file, &offsets.value)
}

/// Opens a file of this process's for writing.
pub(super) fn open_own(procfs: BorrowedFd<'_>, file: &KernelFile) -> Result<OwnedFd, Fault> {
    open(own_directory(procfs)?.as_fd(), &file.path, OFlags::WRONLY).during(Part::KernelFile)
}

fn own_directory(procfs: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let mut number = [0_u8; 24];
    let room = number.len() - 1;
    rustix::fs::readlinkat_raw(procfs, c"self", &mut number[..room]).during(Part::Procfs)?;
    let number = CStr::from_bytes_until_nul(&number).map_err(|_| Errno::NAMETOOLONG)?;
    open(procfs, number, OFlags::PATH | OFlags::DIRECTORY).during(Part::Procfs)
}

fn open(directory: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}
