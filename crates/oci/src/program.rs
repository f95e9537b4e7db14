//! Whether a container's program is there, before anybody waits for it to be started.
//!
//! Engines expect `create` to tell. What is looked at are names and permissions only; whether the
//! kernel takes the file is known when it is executed.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use spec::container::Process;
use spec::{Error, ErrorKind, Result};

/// Where it is looked for if the environment does not say.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Looks in the root of the process `pid`.
///
/// # Errors
/// If it certainly is not there, or is nothing to be executed.
pub(crate) fn check(pid: i32, process: &Process) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Where it may not be looked at, exec tells.
    let Ok(root) = rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty()) else {
        return Ok(());
    };
    let command = process.argv.first().map_or("", String::as_str);
    let mut closed = false;
    for path in candidates(command, process) {
        match look(&root, &path) {
            Ok(true) => return Ok(()),
            Ok(false) => closed = true,
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) => return Ok(()),
        }
    }
    if closed {
        let message = format!("exec: {command:?}: permission denied");
        return Err(Error::new(ErrorKind::NotExecutable, message));
    }
    let how = if command.contains('/') {
        format!("stat {command}: no such file or directory: ")
    } else {
        String::new()
    };
    let message = format!("exec: {command:?}: {how}executable file not found in $PATH");
    Err(Error::new(ErrorKind::CommandNotFound, message))
}

fn candidates(command: &str, process: &Process) -> Vec<String> {
    let at = |path: &str| match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", process.cwd.as_path().display()),
    };
    if command.contains('/') {
        return vec![at(command)];
    }
    let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(USUAL);
    path.split(':').map(|directory| at(&format!("{directory}/{command}"))).collect()
}

/// Whether it is a file that somebody may execute.
fn look(root: &OwnedFd, path: &str) -> Result<bool, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?;
    let about = rustix::fs::fstat(&file)?;
    let executable = about.st_mode & 0o111 != 0;
    Ok(FileType::from_raw_mode(about.st_mode) == FileType::RegularFile && executable)
}
