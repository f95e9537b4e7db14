//! How it begins and ends: with the lock of its network, which says that it is there, and apart from whoever
//! has begun it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use spec::network::Network;
use spec::{Error, Result, ResultExt};

use crate::confine;
use crate::decide::Zone;
use crate::leases::Leases;
use crate::listen::Listeners;
use crate::serve::{End, Server};
use crate::upstream::{self, Upstream};

/// The port of name servers.
const PORT: u16 = 53;

/// Says in the environment, in milliseconds, how long it stays without any lease.
pub const IDLE: &str = "TSUBO_RESOLVER_IDLE";
const USUAL_IDLE: Duration = Duration::from_secs(5);

/// Beside the directory of leases; the number of its process is in it when it answers.
const LOCK: &str = "resolver.lock";

/// What whoever has begun it hears when it answers; all else is why it does not.
const READY: &[u8] = b"+";

const USAGE: &str = "Usage: tsubo-resolver NETWORK-RECORD LEASES-DIR ADDRESS...

Answers on port 53 of these addresses for the names of a network's containers, whose addresses are
files in LEASES-DIR, and asks others about everybody else. tsubo starts it where it is needed.

Example:
  tsubo-resolver /var/lib/tsubo/networks/tsubo.json /run/tsubo/networks/tsubo/leases 10.88.0.1
";

/// What it is told on its command line.
#[derive(Debug)]
struct Job {
    network: Network,
    leases: PathBuf,
    addresses: Vec<IpAddr>,
}

/// All of the program.
pub fn main(words: &[OsString]) -> ExitCode {
    if words.iter().any(|word| word == "--help" || word == "-h") {
        let _ = std::io::stdout().write_all(USAGE.as_bytes());
        return ExitCode::SUCCESS;
    }
    // Nothing of whoever has begun it stays open.
    let begun =
        sys::process::close_range(3, u32::MAX).map_err(std::io::Error::from).doing(|| "closing files");
    match begun.and_then(|()| Job::of(words)).and_then(|job| job.begin()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(125)
        }
    }
}

/// Whoever waits hears it over the pipe, and a person reads it.
fn complain(error: &Error) {
    let words = error.chain();
    let (mut told, mut seen) = (std::io::stdout(), std::io::stderr());
    let _ = told.write_all(words.as_bytes()).and_then(|()| told.flush());
    let _ = writeln!(seen, "error: {words}");
    for hint in error.hints() {
        let _ = writeln!(seen, "hint: {hint}");
    }
}

impl Job {
    fn of(words: &[OsString]) -> Result<Self> {
        let [record, leases, addresses @ ..] = words else {
            return Err(Error::user("a record and a directory are wanted").hint(USAGE));
        };
        let text = std::fs::read(record).doing(|| format!("reading {}", Path::new(record).display()))?;
        let bad = |cause| Error::user("the record is not that of a network").because(cause);
        let network = serde_json::from_slice(&text).map_err(bad)?;
        let address = |word: &OsString| {
            let address = word.to_str().and_then(|word| word.parse().ok());
            address.ok_or_else(|| Error::user(format!("{} is no address", word.to_string_lossy())))
        };
        let addresses = addresses.iter().map(address).collect::<Result<_>>()?;
        Ok(Self { network, leases: leases.into(), addresses })
    }

    /// In a process of its own where the lock was handed over: nobody waits for its end.
    fn begin(&self) -> Result<()> {
        let path = self.leases.parent().unwrap_or(&self.leases).join(LOCK);
        let Some((lock, given)) = lock(&path).doing(|| format!("locking {}", path.display()))? else {
            return Ok(());
        };
        if !given {
            return self.serve(&lock, &path);
        }
        let child = || match rustix::process::setsid()
            .map_err(std::io::Error::from)
            .doing(|| "beginning a session")
        {
            Ok(_) => self.serve(&lock, &path).map_or_else(|error| (complain(&error), 125).1, |()| 0),
            Err(error) => (complain(&error), 125).1,
        };
        let made = sys::process::fork_child(child).map_err(std::io::Error::from);
        made.map(drop).map_err(|cause| Error::process("making a process", cause))
    }

    fn serve(&self, lock: &File, path: &Path) -> Result<()> {
        let mut server = self.server()?;
        // By the path: what we keep of it cannot be written through.
        let pid = rustix::process::getpid().as_raw_nonzero().to_string();
        std::fs::write(path, pid).doing(|| "saying that it is there")?;
        let told = apart().doing(|| "leaving its standard output")?;
        let confined = confine::confine(&self.leases).map_err(std::io::Error::from);
        confined.doing(|| "giving up what it does not need")?;
        (&told).write_all(READY).doing(|| "saying that it is there")?;
        drop(told);
        while server.run().doing(|| "waiting for queries")? == End::Idle {
            // Who comes now finds the lock free, and begins another; who came before is seen.
            let _ = rustix::fs::flock(lock, FlockOperation::Unlock);
            if !server.is_wanted() || !take(lock).doing(|| "locking")? {
                break;
            }
        }
        Ok(())
    }

    fn server(&self) -> Result<Server> {
        let listeners = Listeners::bind(&self.addresses, PORT).doing(|| "beginning to listen")?;
        let leases = Leases::open(&self.leases).doing(|| format!("watching {}", self.leases.display()))?;
        let own = self.addresses.clone();
        let upstream = Upstream::of(&self.network.servers, Path::new(upstream::HOST), own);
        Ok(Server::new(Zone::of(&self.network), leases, upstream, listeners, idle()))
    }
}

fn idle() -> Duration {
    let said = std::env::var(IDLE).ok().and_then(|said| said.parse().ok());
    said.map_or(USUAL_IDLE, Duration::from_millis)
}

/// The lock, and whether it was handed over as standard input. None if another one has it.
fn lock(path: &Path) -> std::io::Result<Option<(File, bool)>> {
    let given = rustix::io::dup(rustix::stdio::stdin()).map(|input: OwnedFd| File::from(input));
    if let Ok(given) = given {
        let here = std::fs::metadata(path).and_then(|here| Ok(same(&here, &given.metadata()?)));
        if here.unwrap_or(false) {
            return Ok(take(&given)?.then_some((given, true)));
        }
    }
    drop(File::options().append(true).create(true).open(path)?);
    let own = File::open(path)?;
    Ok(take(&own)?.then_some((own, false)))
}

fn same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// True if nobody else has it.
fn take(lock: &File) -> std::io::Result<bool> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        result => result.map(|()| true).map_err(std::io::Error::from),
    }
}

/// Leaves the standard output, on which somebody waits who hears the end of it.
fn apart() -> std::io::Result<File> {
    let told = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(null)?;
    Ok(told.into())
}
