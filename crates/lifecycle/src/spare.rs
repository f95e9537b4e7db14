//! A keeper's process: begun before there is anything to keep, so that it gets ready while its
//! caller finds out what that is.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spec::{Error, Id, Result, ResultExt};
use sys::process::Strings;

/// glibc keeps small pieces of memory for each size, which pin the pages that they lie in; a keeper
/// has few, and holds them for long.
const ENVIRONMENT: &CStr = c"GLIBC_TUNABLES=glibc.malloc.tcache_count=0";

/// A keeper that waits for its job. Dropped without one, it ends.
#[derive(Debug)]
pub struct Spare {
    id: Id,
    pub(crate) process: Process,
    pub(crate) connection: OwnedFd,
}

impl Spare {
    /// Begins to start the keeper `TSUBO_KEEPER`, or the one beside our own program.
    pub fn begin() -> Result<Self> {
        Self::of(None, crate::new_id()?)
    }

    /// The id that its container should have: it makes the control groups beforehand.
    pub fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn of(path: Option<PathBuf>, id: Id) -> Result<Self> {
        let (connection, theirs) = connection()?;
        Ok(Self { id, process: execute(path, &theirs, id)?, connection })
    }
}

/// A child process of ours.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    pub(crate) fn kill(&self) {
        // Whether it had ended already is seen by waiting.
        let _ = sys::process::send_signal(self.pidfd.as_fd(), 9);
    }

    /// Waits for its end; returns its exit code.
    pub(crate) fn wait(&self) -> Result<i32> {
        let reap = || sys::process::reap(self.pid, true);
        let ended = rustix::io::retry_on_intr(reap).map_err(std::io::Error::from);
        let ended = ended.doing(|| "waiting for the container's keeper")?;
        Ok(ended.map_or(0, |(_, code)| code))
    }
}

fn connection() -> Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    pair.map_err(std::io::Error::from).doing(|| "making a connection for the keeper")
}

/// Executes the keeper from a read-only mount of its own: an image that asks the kernel to execute
/// `/proc/self/exe` gets hold of nothing that can be written (2019-5736). A plain fork, early in a
/// small process, costs less than a vfork, during which we could do nothing.
fn execute(path: Option<PathBuf>, connection: &OwnedFd, id: Id) -> Result<Process> {
    let path = path.map_or_else(find_keeper, Ok)?;
    let doing = || format!("starting {}", path.display());
    let program = runtime::read_only_program(&path)?;
    let null = std::fs::File::options().write(true).open("/dev/null").doing(doing)?;
    let id = CString::new(id.to_string()).map_err(std::io::Error::from).doing(doing)?;
    let arguments = Strings::new(vec![CString::from(c"tsubo-keeper"), id]);
    let environment = Strings::new(vec![CString::from(ENVIRONMENT)]);
    let child = || {
        let standard = [(connection.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2)];
        if standard.into_iter().any(|(fd, at)| sys::process::dup_onto(fd, at).is_err()) {
            return 126;
        }
        // It outlives its caller, whose locks and pipes it must not hold.
        if sys::process::close_on_exec_from(3).is_err() {
            return 126;
        }
        sys::signal::unblock_all();
        sys::process::execveat(program.as_fd(), &arguments, &environment);
        127
    };
    let made = sys::process::clone_child(0, None, child);
    let (pid, pidfd) = made.map_err(|cause| Error::process(doing(), cause))?;
    Ok(Process { pid, pidfd })
}

/// `TSUBO_KEEPER`, or `tsubo-keeper` beside our own program.
fn find_keeper() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TSUBO_KEEPER") {
        return Ok(path.into());
    }
    // A program that runs from a mount of its own has its path as its first argument.
    let own = std::env::current_exe().ok().filter(|path| path.is_file());
    let own = own.or_else(|| std::env::args_os().next().map(PathBuf::from));
    let beside = own.and_then(|own| Some(own.parent()?.join("tsubo-keeper")));
    beside.filter(|path| path.is_file()).ok_or_else(|| {
        Error::not_found("tsubo-keeper is not there")
            .hint("it must lie beside tsubo; or set TSUBO_KEEPER to its path")
    })
}
