//! File systems that are not mounted anywhere yet.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// A file system to be made.
#[derive(Debug)]
pub(crate) struct FileSystem {
    pub(crate) kind: Cow<'static, CStr>,
    /// Options; one without a value is a flag.
    pub(crate) options: Vec<(CString, Option<CString>)>,
    pub(crate) attributes: u64,
}

/// Makes it. The child uses this too: no allocation.
pub(crate) fn detached(file_system: &FileSystem) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(&*file_system.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in &file_system.options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, name.as_c_str(), value.as_c_str())?,
            None => rustix::mount::fsconfig_set_flag(&context, name.as_c_str())?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(file_system.attributes as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
