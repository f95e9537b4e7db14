//! A keeper's process: begun before there is anything to keep, so that it gets ready while its
//! caller finds out what that is.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spec::{Error, Id, Result, ResultExt};
use sys::process::Strings;

use crate::keeper_process::KeeperProcess;

/// glibc keeps small pieces of memory for each size, which pin the pages that they lie in; a keeper
/// has few, and holds them for long.
const ENVIRONMENT: &CStr = c"GLIBC_TUNABLES=glibc.malloc.tcache_count=0";

/// A keeper that waits for its job. Dropped without one, it ends.
#[derive(Debug)]
pub struct Spare {
    pub(crate) id: Id,
    pub(crate) process: KeeperProcess,
    pub(crate) connection: OwnedFd,
}

impl Spare {
    /// Begins with a copy of the calling program, which has one thread: `keep` keeps what comes over
    /// its standard input, and returns the exit code. To execute a program would take as long as
    /// everything else that it does.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn fork(keep: impl FnOnce(Id) -> u8) -> Result<Self> {
        let (connection, theirs) = connection()?;
        let (null, id) = (null()?, crate::new_id()?);
        // The child takes it, and only one of two attempts has a child.
        let keep = Cell::new(Some(keep));
        let child = || {
            // Nothing of its caller stays open.
            if take_places(&theirs, &null).and_then(|()| sys::process::close_range(3, u32::MAX)).is_err() {
                return 126;
            }
            sys::signal::unblock_all();
            keep.take().map_or(126, |keep| keep(id)).into()
        };
        let made = born(child);
        let (pid, pidfd) = made.map_err(|cause| Error::process("making a keeper", cause))?;
        Ok(Self { id, process: KeeperProcess::new(pid, pidfd), connection })
    }

    /// The id that its container should have: it makes the control groups beforehand.
    pub fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn of(path: Option<PathBuf>, id: Id) -> Result<Self> {
        let (connection, theirs) = connection()?;
        Ok(Self { id, process: execute(path, &theirs, &[&id.to_string()])?, connection })
    }

    /// One that is told twice: what to prepare, and what to start.
    pub(crate) fn beforehand(path: Option<PathBuf>, id: Id) -> Result<Self> {
        let (connection, theirs) = connection()?;
        Ok(Self { id, process: execute(path, &theirs, &["prepare", &id.to_string()])?, connection })
    }

    pub(crate) fn connection(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn connection() -> Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    pair.map_err(std::io::Error::from).doing(|| "making a connection for the keeper")
}

/// The caller may have several threads, one of which may have the allocator's lock: what the child
/// needs is made before it.
fn execute(path: Option<PathBuf>, connection: &OwnedFd, words: &[&str]) -> Result<KeeperProcess> {
    let path = path.map_or_else(find_keeper, Ok)?;
    let program = KeeperProgram::at(&path)?;
    let (null, words) = (null()?, KeeperProgram::words(words.iter().copied())?);
    let child = || {
        // It outlives its caller, whose locks and pipes it must not hold.
        if take_places(connection, &null).is_err() {
            return 126;
        }
        sys::signal::unblock_all();
        crate::open_files::as_given();
        // Where it fails, the connection closes without an answer.
        let _ = program.become_it(&words, &[]);
        127
    };
    let made = born(child);
    let (pid, pidfd) = made.map_err(|cause| Error::process(format!("starting {}", path.display()), cause))?;
    Ok(KeeperProcess::new(pid, pidfd))
}

/// In the group of keepers, where there is one; else it looks for one itself.
fn born(child: impl Fn() -> i32) -> std::io::Result<(i32, OwnedFd)> {
    let seat = cgroup::systemd::house::keepers();
    match (sys::process::clone_child(0, seat.as_ref().map(AsFd::as_fd), &child), &seat) {
        // The last one has just left, and the group with it.
        (Err(_), Some(_)) => sys::process::clone_child(0, None, child),
        (made, _) => made,
    }
}

fn null() -> Result<OwnedFd> {
    let null = std::fs::File::options().write(true).open("/dev/null");
    null.doing(|| "opening /dev/null").map(OwnedFd::from)
}

/// The connection becomes standard input; what a keeper says nobody hears.
fn take_places(connection: &OwnedFd, null: &OwnedFd) -> rustix::io::Result<()> {
    let places = [(connection.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2)];
    places.into_iter().try_for_each(|(fd, at)| sys::process::dup_onto(fd, at))
}

/// Where it was found; None inside for the program that is it.
static OWN: OnceLock<Option<PathBuf>> = OnceLock::new();

/// The program `tsubo-keeper`, on a read-only mount of its own: an image that asks the kernel to
/// execute `/proc/self/exe` gets hold of nothing that can be written (2019-5736).
#[derive(Debug)]
pub struct KeeperProgram(OwnedFd);

impl KeeperProgram {
    /// Where the one beside our own program is, or would be.
    pub fn place() -> Option<PathBuf> {
        own_program().and_then(|own| Some(own.parent()?.join("tsubo-keeper")))
    }

    /// The one at `path`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn at(path: &Path) -> Result<Self> {
        runtime::read_only_program(path).map(Self)
    }

    /// The calling program is it.
    pub fn is_this() {
        let _ = OWN.set(None);
    }

    /// Finds out where it is, for [`own`](Self::own).
    pub fn know() {
        OWN.get_or_init(|| find_keeper().ok());
    }

    /// The one that this process has found, or is.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn own() -> Result<Self> {
        match OWN.get_or_init(|| find_keeper().ok()) {
            Some(path) => Self::at(path),
            // It runs from such a mount already.
            None => {
                let own = std::fs::File::open("/proc/self/exe");
                own.doing(|| "opening our own program").map(|own| Self(own.into()))
            }
        }
    }

    /// What [`become_it`](Self::become_it) needs.
    pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>) -> Result<(Strings, Strings)> {
        let words: Result<Vec<CString>, _> =
            std::iter::once("tsubo-keeper").chain(words).map(CString::new).collect();
        let words = words.map_err(|_| Error::internal("an argument with a NUL byte"))?;
        Ok((Strings::new(words), Strings::new(vec![CString::from(ENVIRONMENT)])))
    }

    /// Executes it, and allocates nothing: for a child of a process with several threads. It gets the
    /// standard descriptors and `kept` under their numbers; returns only if that fails.
    pub(crate) fn become_it(
        &self,
        (words, environment): &(Strings, Strings),
        kept: &[BorrowedFd<'_>],
    ) -> Errno {
        // What is opened by libraries need not be close-on-exec.
        let given = sys::process::close_on_exec_from(3)
            .and_then(|()| kept.iter().try_for_each(|fd| sys::process::hand_on(*fd, true)));
        match given {
            Ok(()) => sys::process::execveat(self.0.as_fd(), words, environment),
            Err(failure) => failure,
        }
    }

    /// The same with these arguments, in place of the calling program.
    pub fn execute(&self, words: &[String], kept: &[BorrowedFd<'_>]) -> Error {
        let words = match Self::words(words.iter().map(String::as_str)) {
            Ok(words) => words,
            Err(error) => return error,
        };
        let failure = self.become_it(&words, kept);
        for fd in kept {
            let _ = sys::process::hand_on(*fd, false);
        }
        Error::io("executing tsubo-keeper", failure.into())
    }
}

/// `TSUBO_KEEPER`, or `tsubo-keeper` beside our own program.
fn find_keeper() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TSUBO_KEEPER") {
        return Ok(path.into());
    }
    KeeperProgram::place().filter(|path| path.is_file()).ok_or_else(|| {
        Error::not_found("tsubo-keeper is not there")
            .hint("it must lie beside tsubo; or set TSUBO_KEEPER to its path")
    })
}

/// A program that runs from a mount of its own, or was replaced, has its path as its first argument.
fn own_program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok().filter(|path| path.is_file());
    own.or_else(|| std::env::args_os().next().map(PathBuf::from))
}
