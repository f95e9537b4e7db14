//! The file of an image: who has it, and what is made in it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation, IFlags};
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

use super::shape::Shape;
use crate::files;

/// What every kernel since 4.18 mounts; no more than is needed.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// So long is waited for the end of a container that is dying, before the next one starts.
const PATIENCE: Duration = Duration::from_secs(5);

/// The image's open file, which nobody else has opened to mount it.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Waits for a container that is just ending.
    ///
    /// # Errors
    /// Conflict where it is in use.
    pub(super) fn take(path: &Path) -> Result<Self> {
        Self::take_within(path, PATIENCE)
    }

    /// Does not wait; None where it is in use.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>> {
        match Self::take_within(path, Duration::ZERO) {
            Err(error) if error.kind() == spec::ErrorKind::Conflict => Ok(None),
            lock => lock.map(Some),
        }
    }

    /// For a program that holds it as long as it runs.
    pub(super) fn again(&self) -> Result<Stdio> {
        self.0.try_clone().map(Stdio::from).doing(|| "duplicating a lock")
    }

    /// Waits less.
    pub(super) fn take_within(path: &Path, patience: Duration) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.doing(|| format!("opening the image {}", path.display()))?;
        let end = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => thread::sleep(pause),
                Err(Errno::WOULDBLOCK) => return Err(in_use(path)),
                Err(error) => return Err(Error::io(format!("locking {}", path.display()), error.into())),
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn in_use(path: &Path) -> Error {
    Error::conflict(format!("the volumes in {} are in use", path.display()))
        .hint("stop the container that uses them, or wait for its end")
}

/// Makes the file and the file system in it.
pub(super) fn make(path: &Path, shape: &Shape, whole: bool) -> Result<()> {
    let making = || format!("making the image {}", path.display());
    let file = File::options().read(true).write(true).create_new(true).open(path).doing(making)?;
    let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    file.set_permissions(only_ours).doing(making)?;
    keep_in_place(&file);
    file.set_len(shape.bytes).map_err(|error| too_large(path, shape.bytes, error))?;
    run(Command::new(program("mke2fs")?)
        .stdin(Stdio::null())
        .args(["-q", "-F", "-t", "ext4", "-O", FEATURES, "-b", "4096", "-I", "256", "-m", "0"])
        .args(["-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", "-J"])
        .arg(format!("size={}", shape.journal_mib))
        .arg("-N")
        .arg(shape.inodes.to_string())
        .arg(path))
    .doing(making)?;
    if whole { reserve(&file, path, shape.bytes) } else { Ok(()) }
}

/// On btrfs, which would write every block to a new place, and so reserve nothing. Elsewhere it is so.
fn keep_in_place(file: &File) {
    if files::is_btrfs(file) {
        // Without it the image is slower, and as large.
        let _ = rustix::fs::ioctl_getflags(file)
            .and_then(|flags| rustix::fs::ioctl_setflags(file, flags | IFlags::NOCOW));
    }
}

/// Takes the room from the host's disk now.
pub(super) fn reserve(file: &File, path: &Path, bytes: u64) -> Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::NOTSUP) => {
            Err(Error::unsupported(format!("the file system of {} reserves no room", path.display()))
                .hint("let the room be taken as it is used"))
        }
        result => result
            .map_err(io::Error::from)
            .doing(|| format!("reserving {bytes} bytes for {}", path.display())),
    }
}

pub(super) fn too_large(path: &Path, bytes: u64, error: io::Error) -> Error {
    let text = format!("making {} as large as {bytes} bytes", path.display());
    match error.kind() {
        ErrorKind::FileTooLarge => {
            Error::unsupported(text).because(error).hint("choose a smaller limit of disk")
        }
        _ => Error::io(text, error),
    }
}

/// Of the package e2fsprogs, wherever the distribution has it.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/sbin", "/usr/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        Error::unsupported(format!(
            "a limit of disk needs {name} on this file system, and it is not installed"
        ))
        .hint("install e2fsprogs, or mount the file system with project quotas (prjquota)")
    })
}

/// Runs it to its end; what it says in vain is the cause.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    // What a distribution prefers is not what this code counts on.
    let output = command.env("MKE2FS_CONFIG", "/dev/null").env("LC_ALL", "C").output();
    let output = output.map_err(|cause| Error::process(format!("running {name}"), cause))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::internal(format!("{name} failed ({}): {}", output.status, said.trim())))
}

/// How large the file is.
pub(super) fn size(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|meta| meta.len()).doing(|| format!("looking at {}", path.display()))
}
