//! Keeps the host's programs out of a container's reach (2019-5736).
//!
//! Before exec a new process is a copy of our program, and an image can ask the kernel to execute
//! `/proc/self/exe` at that very moment. What it gets hold of then must not be writable: so the
//! programs that start containers run from a read-only mount that exists nowhere else.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::OpenTreeFlags;
use spec::container::{IdRange, Users};
use spec::{Error, Result, ResultExt};
use sys::process::Strings;

use crate::prepare::c_path;

/// A program on a read-only mount of its own, to be executed through `/proc/self/fd/N`.
pub fn read_only_program(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, c_path(path)?.as_c_str(), flags).map_err(std::io::Error::from);
    let mount = mount.doing(|| format!("opening {}", path.display()))?;
    let sealed = sys::mount::set_attributes_recursively(mount.as_fd(), sys::mount::READ_ONLY);
    sealed.map_err(std::io::Error::from).doing(|| format!("protecting {}", path.display()))?;
    Ok(mount)
}

/// Whether nobody in the container can write to the program that this process runs, which its first
/// process is a copy of until it executes another: it belongs to nobody who is inside.
pub fn is_out_of_reach(users: Option<&Users>) -> bool {
    let (Some(users), Ok(program)) = (users, std::fs::metadata("/proc/self/exe")) else { return false };
    let inside = |ranges: &[IdRange], id: u32| {
        ranges.iter().any(|range| id.checked_sub(range.host).is_some_and(|offset| offset < range.count))
    };
    let owned = !users.anywhere && (inside(&users.uids, program.uid()) || inside(&users.gids, program.gid()));
    !owned && program.mode() & 0o002 == 0
}

/// The mount that this program runs from, until [`release`].
static KEPT: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Takes over the mount that a program has begun to run from (`sys::early`): no other program that is
/// executed inherits it.
pub fn keep_shield() {
    #[cfg(target_arch = "x86_64")]
    if let (Some(mount), Ok(mut kept)) = (sys::early::kept(), KEPT.lock()) {
        *kept = Some(mount);
    }
}

/// Closes it, for which the kernel takes its time; nothing becomes less safe, as the mount lives as
/// long as a program runs from it.
pub(crate) fn release() {
    let kept = KEPT.lock().ok().and_then(|mut kept| kept.take());
    drop(kept);
}

/// Makes sure that the calling program runs from such a mount: executes it again if it does not.
/// Its first argument is then its absolute path, as `current_exe` has nothing to say any more.
pub fn shield() -> Result<()> {
    const EXE: &CStr = c"/proc/self/exe";
    let status =
        rustix::fs::statvfs(EXE).map_err(std::io::Error::from).doing(|| "looking at our own program")?;
    if status.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let path = std::env::current_exe().doing(|| "finding our own program")?;
    let program = match read_only_program(Path::new(OsStr::from_bytes(EXE.to_bytes()))) {
        Ok(program) => program,
        Err(error) => read_only_program_at(&path)?.ok_or(error)?,
    };
    let arguments = std::iter::once(path.into_os_string()).chain(std::env::args_os().skip(1));
    let environment =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let arguments = strings(arguments.map(OsStringExt::into_vec))?;
    let failure = sys::process::execveat(program.as_fd(), &arguments, &strings(environment)?);
    Err(Error::io("executing our own program again", failure.into()))
}

/// Who has moved into another mount namespace runs from a mount of the one before, which cannot be
/// copied from here: the same file is then taken by its path, if it is still the same.
fn read_only_program_at(path: &Path) -> Result<Option<OwnedFd>> {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let program = read_only_program(path)?;
    let own = std::fs::metadata("/proc/self/exe").doing(|| "looking at our own program")?;
    let there = std::fs::File::from(program.try_clone().doing(|| "duplicating a descriptor")?).metadata();
    let there = there.doing(|| format!("looking at {}", path.display()))?;
    Ok((identity(own) == identity(there)).then_some(program))
}

fn strings(texts: impl Iterator<Item = Vec<u8>>) -> Result<Strings> {
    let texts: Result<Vec<CString>> = texts.map(|text| crate::prepare::c_string(&text)).collect();
    Ok(Strings::new(texts?))
}
