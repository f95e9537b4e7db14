//! The resolver of a network (`tsubo-resolver`): a process of its own, begun with the first container and
//! gone a while after the last. A lock says that it is there; it is handed to the process by whoever begins it,
//! so that of many who begin at once one does, and the others wait.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use spec::network::Network;
use spec::{Error, Name, Result, ResultExt};

/// The name of the program, which lies beside the others.
pub const PROGRAM: &str = "tsubo-resolver";

/// How long it stays without containers, in milliseconds: its own default where this is not set.
pub const IDLE: &str = "TSUBO_RESOLVER_IDLE";

/// Held while it runs, with the number of its process once it answers.
const LOCK: &str = "resolver.lock";

/// Where the program is: a keeper that was executed from a mount of its own has nothing beside it.
const PLACE: &str = "resolver.program";

/// What it is told about its network.
const RECORD: &str = "resolver.json";

/// What it says when it answers; all else is why it does not.
const READY: &[u8] = b"+";

/// So long may it take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(2);

const LIMIT: Timespec = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };

/// How often is looked, while somebody else begins it or it ends.
const GLANCE: Duration = Duration::from_millis(1);

/// `TSUBO_RESOLVER`, or `tsubo-resolver` beside our own program.
///
/// # Errors
/// Not found, with the way out.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TSUBO_RESOLVER") {
        return Ok(path.into());
    }
    let beside = crate::KeeperProgram::place().map(|keeper| keeper.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).ok_or_else(|| {
        Error::not_found(format!("{PROGRAM}, which answers for the names of containers, is not there")).hint(
            "it must lie beside tsubo; or set TSUBO_RESOLVER to its path; or make the network without names",
        )
    })
}

/// Notes in `run` where the program is, for keepers, which cannot tell. Commands do that when they make the
/// directory.
///
/// # Errors
/// Not found; the note cannot be written.
pub fn remember(run: &Path) -> Result<PathBuf> {
    let program = program()?;
    let (noted, new) = (run.join(PLACE), run.join(format!("{PLACE}.{}", crate::new_id()?)));
    if std::fs::read(&noted).is_ok_and(|there| there == program.as_os_str().as_bytes()) {
        return Ok(program);
    }
    let written = std::fs::write(&new, program.as_os_str().as_bytes());
    written.and_then(|()| std::fs::rename(new, noted)).doing(|| format!("noting where {PROGRAM} is"))?;
    Ok(program)
}

fn remembered(run: &Path) -> Result<PathBuf> {
    remember(run).or_else(|error| match std::fs::read(run.join(PLACE)) {
        Ok(noted) => Ok(std::ffi::OsString::from_vec(noted).into()),
        Err(_) => Err(error),
    })
}

/// Sees to it that the resolver of the network answers: the containers' addresses are files in `leases`, and `run`
/// is where its lock is. Whoever calls has made the file of his container's address before.
///
/// # Errors
/// When it cannot be begun, with what it said itself.
pub fn ensure(network: &Network, leases: &Path, run: &Path) -> Result<()> {
    let doing = || format!("beginning the resolver of network {}", network.name);
    let path = run.join(LOCK);
    let lock = open(&path).doing(doing)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if take(&lock).doing(doing)? {
            return start(network, leases, run, lock).doing(doing);
        }
        // Somebody has it; whether that answers already is in the file.
        if pid_in(&path).is_some_and(is_alive) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::conflict("another process is at it, and does not come to an end"))
                .doing(doing);
        }
        std::thread::sleep(GLANCE);
    }
}

/// Whether it is there.
pub fn runs(run: &Path) -> bool {
    File::open(run.join(LOCK)).is_ok_and(|lock| take(&lock).is_ok_and(|free| !free))
}

/// Ends the resolver whose lock is in `run`, if there is one, and waits until it is gone.
///
/// # Errors
/// When it does not end.
pub fn stop(network: &Name, run: &Path) -> Result<()> {
    let doing = || format!("ending the resolver of network {network}");
    let path = run.join(LOCK);
    let lock = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.doing(doing)?,
    };
    let deadline = Instant::now() + PATIENCE;
    let mut signal = Signal::TERM;
    while !take(&lock).doing(doing)? {
        if let Some(pidfd) =
            pid_in(&path).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok())
        {
            // The number was that of whoever has the lock, and he still had it after the descriptor was there.
            if take(&lock).doing(doing)? {
                return Ok(());
            }
            let _ = rustix::process::pidfd_send_signal(pidfd, signal);
        }
        let now = Instant::now();
        if now > deadline + PATIENCE {
            return Err(Error::internal("it does not end")).doing(doing);
        }
        if now > deadline {
            signal = Signal::KILL;
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// For locking only: the process that gets it can write nothing in it.
fn open(path: &Path) -> std::io::Result<File> {
    let create = rustix::fs::OFlags::CREATE.bits() as i32;
    File::options().read(true).custom_flags(create).mode(0o600).open(path)
}

/// True if nobody else has it.
fn take(lock: &File) -> std::io::Result<bool> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        result => result.map(|()| true).map_err(std::io::Error::from),
    }
}

/// The number may still be that of the one before, which has ended and waits to be reaped.
fn is_alive(pid: Pid) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|pidfd| {
        rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&now)) == Ok(0)
    })
}

fn pid_in(path: &Path) -> Option<Pid> {
    Pid::from_raw(std::fs::read_to_string(path).ok()?.trim().parse().ok()?)
}

/// The process gets the lock as its standard input, and tells over its standard output.
fn start(network: &Network, leases: &Path, run: &Path, lock: File) -> Result<()> {
    let program = remembered(run)?;
    // What the one before has left.
    File::options().write(true).truncate(true).open(run.join(LOCK)).doing(|| "clearing its lock")?;
    // It reads them as nobody, whatever the umask of whoever has made the directory; no way leads there for others.
    let open = std::fs::set_permissions(leases, Permissions::from_mode(0o755));
    open.doing(|| format!("opening {}", leases.display()))?;
    let record = run.join(RECORD);
    let text = serde_json::to_vec(network).map_err(|cause| Error::internal("writing JSON").because(cause))?;
    let mut file = File::create(&record).doing(|| "telling it about the network")?;
    file.write_all(&text).doing(|| "telling it about the network")?;
    let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from);
    let (told, tells) = pipe.doing(|| "making a pipe")?;
    let mut command = Command::new(&program);
    command.env_clear().envs(std::env::var_os(IDLE).map(|idle| (IDLE, idle)));
    command.arg(&record).arg(leases).args(network.subnets.iter().map(|net| net.gateway.to_string()));
    command.current_dir("/").stdin(lock).stdout(tells).stderr(Stdio::null());
    let child = command.spawn();
    let mut child = child.doing(|| format!("executing {}", program.display()))?;
    // Our end of what it holds.
    drop(command);
    // It goes on in a child of its own; somebody else may reap all of our children.
    let _ = child.wait();
    heard(told.into())
}

fn heard(mut told: File) -> Result<()> {
    let mut said = Vec::new();
    let mut wait = || rustix::event::poll(&mut [PollFd::new(&told.as_fd(), PollFlags::IN)], Some(&LIMIT));
    if rustix::io::retry_on_intr(&mut wait).map_err(std::io::Error::from).doing(|| "waiting for it")? == 0 {
        return Err(Error::failed(format!("{PROGRAM} does not begin within {} seconds", PATIENCE.as_secs())));
    }
    (&mut told).take(4096).read_to_end(&mut said).doing(|| "hearing from it")?;
    match &said[..] {
        READY => Ok(()),
        [] => Err(Error::failed(format!("{PROGRAM} ended without a word"))),
        words => Err(Error::failed(String::from_utf8_lossy(words).into_owned())),
    }
}
