//! A mount namespace for this program: what it mounts, nobody else sees, and it ends with it.

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread (and all threads that it starts later) into a mount namespace of its
/// own. Mounts and unmounts of the host still arrive; those made here stay here.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN (unshare(2), mount_namespaces(7)).
pub fn enter() -> std::io::Result<()> {
    // SAFETY: CLONE_NEWNS (which implies CLONE_FS) changes how paths are looked up; no memory and
    // no descriptor table is affected, which is what makes other flags unsafe.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    Ok(())
}
