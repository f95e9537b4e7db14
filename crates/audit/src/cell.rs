//! Where an attack runs: how far it may go, what it has taken, and how it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sys::attack::{Shared, bound_child};

use crate::speech::Why;

/// Why an attack takes no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The kernel gave no more.
    Limit(Errno),
    /// It was refused.
    Refused(Errno),
    /// There is nothing to do it with.
    Nowhere(&'static str),
    /// It has taken all that it was to take.
    Amount,
    /// The time is over.
    Time,
    /// It can be done: what came of it.
    Possible(String),
}

impl Stop {
    /// An answer of the kernel's to a question: success is what should not be.
    pub fn answer<T>(result: Result<T, Errno>, found: &str) -> Self {
        match result {
            Ok(_) => Self::Possible(found.to_owned()),
            Err(cause) => Self::Refused(cause),
        }
    }

    /// In the words of the protocol.
    pub fn told(&self) -> (Why, String) {
        match self {
            Self::Limit(cause) => (Why::Limit, name_of(*cause)),
            Self::Refused(cause) => (Why::Refused, name_of(*cause)),
            Self::Nowhere(why) => (Why::Nowhere, (*why).to_owned()),
            Self::Amount => (Why::Amount, String::new()),
            Self::Time => (Why::Time, String::new()),
            Self::Possible(found) => (Why::Possible, found.clone()),
        }
    }
}

/// The short name of what people meet here.
fn name_of(cause: Errno) -> String {
    let known = [
        (Errno::AGAIN, "EAGAIN"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::DQUOT, "EDQUOT"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NFILE, "ENFILE"),
        (Errno::PERM, "EPERM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::ROFS, "EROFS"),
        (Errno::NOENT, "ENOENT"),
        (Errno::NXIO, "ENXIO"),
        (Errno::NODEV, "ENODEV"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NODATA, "ENODATA"),
        (Errno::SRCH, "ESRCH"),
        (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::ADDRINUSE, "EADDRINUSE"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::NOTTY, "ENOTTY"),
        (Errno::IO, "EIO"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        (Errno::USERS, "EUSERS"),
    ];
    let found = known.iter().find(|(errno, _)| *errno == cause);
    found.map_or_else(|| cause.to_string(), |(_, name)| (*name).to_owned())
}

/// What the auditor says of its host, for questions about it.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// The number of a process on the host.
    pub pid: i32,
    /// A port on which it listens on the host's loopback.
    pub port: u16,
    /// An abstract socket of the host.
    pub socket: String,
    /// The disks that the host has for itself: their numbers, and their bytes.
    pub disks: Vec<(u64, u64)>,
}

/// Where one attack runs.
#[derive(Debug)]
pub struct Cell {
    /// It takes no more than that.
    pub amount: u64,
    /// Nor for longer.
    pub end: Instant,
    /// Of the host.
    pub hints: Hints,
    shared: Shared,
}

/// The numbers that processes of an attack share.
const GOT: usize = 0;
/// Whether the end was told.
pub(crate) const TOLD: usize = 1;
/// For what an attack needs itself.
const SPARE: usize = 8;

impl Cell {
    /// A fresh one.
    pub fn new(amount: u64, seconds: f32, hints: Hints, shared: Shared) -> Self {
        shared.number(GOT).store(0, Ordering::Relaxed);
        shared.number(TOLD).store(0, Ordering::Relaxed);
        Self { amount, end: Instant::now() + Duration::from_secs_f32(seconds), hints, shared }
    }

    /// So much more was taken.
    pub fn add(&self, more: u64) {
        self.shared.number(GOT).fetch_add(more, Ordering::Relaxed);
    }

    /// So much was taken.
    pub fn got(&self) -> u64 {
        self.shared.number(GOT).load(Ordering::Relaxed)
    }

    /// A number that the processes of this attack share.
    pub fn number(&self, at: usize) -> &'static std::sync::atomic::AtomicU64 {
        self.shared.number(SPARE + at)
    }

    /// Whether the time is over.
    pub fn is_late(&self) -> bool {
        Instant::now() >= self.end
    }

    /// What keeps it from taking more, but the kernel.
    pub fn is_over(&self) -> Option<Stop> {
        if self.got() >= self.amount {
            return Some(Stop::Amount);
        }
        self.is_late().then_some(Stop::Time)
    }

    /// Takes one after the other; what `one` made stays as long as the process. Refused at the first
    /// is refused altogether.
    pub fn fill<T>(&self, mut one: impl FnMut() -> Result<(u64, T), Errno>) -> Stop {
        let before = self.got();
        loop {
            if let Some(stop) = self.is_over() {
                return stop;
            }
            match one() {
                Ok((more, made)) => {
                    std::mem::forget(made);
                    self.add(more);
                }
                Err(Errno::INTR) => {}
                Err(cause @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) if self.got() == before => {
                    return Stop::Refused(cause);
                }
                Err(cause) => return Stop::Limit(cause),
            }
        }
    }

    /// Things that outlive processes where the namespace is the host's: a child waits for this process's
    /// end and removes them.
    pub fn keep(&self, made: Vec<i32>, remove: fn(i32)) {
        let own = rustix::process::getpid();
        let watcher = sys::process::fork_child(|| {
            sys::attack::deaf();
            sys::attack::end_after(60);
            while rustix::process::getppid() == Some(own) {
                std::thread::sleep(Duration::from_millis(20));
            }
            made.iter().for_each(|id| remove(*id));
            0
        });
        if watcher.is_err() {
            made.iter().for_each(|id| remove(*id));
        }
    }

    /// A child that ends with this process, and some seconds after the attack at the latest.
    pub fn child(&self, work: impl FnOnce() -> i32) -> Result<i32, Errno> {
        let left = self.end.saturating_duration_since(Instant::now());
        bound_child(left.as_secs() as u32 + 30, work)
    }
}

/// A mounted file system that can be written to.
#[derive(Debug, Clone)]
pub struct Writable {
    /// Where.
    pub at: PathBuf,
    /// Whether it is only in memory.
    pub in_memory: bool,
    /// Whether it may outlive the container, as volumes and directories of the host do: what is made there is
    /// removed by who made it.
    pub stays: bool,
    /// Whether it is on a file that is mounted.
    is_image: bool,
    device: u64,
}

impl Writable {
    /// What can still be had, bytes and files, if that is less than the disk has: it is then a limit that
    /// harms nobody when it is reached. A whole disk, whosever it is, is never filled.
    pub fn bounded(&self, hints: &Hints) -> Option<(u64, u64)> {
        let room = rustix::fs::statvfs(&self.at).ok()?;
        let of_host = hints.disks.iter().find(|(device, _)| *device == self.device);
        let is_bounded = match of_host {
            Some((_, bytes)) => room.f_blocks * room.f_frsize < *bytes,
            // A host may itself be on a file that is mounted.
            None => self.is_image,
        };
        is_bounded.then_some((room.f_bavail * room.f_frsize, room.f_favail))
    }
}

/// Every file system here that a new file can be made on, once each.
pub fn writable() -> Vec<Writable> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut places: Vec<(PathBuf, String)> = table.lines().filter_map(place).collect();
    if places.is_empty() {
        places =
            ["/", "/tmp", "/var/tmp", "/dev/shm", "/run"].map(|at| (PathBuf::from(at), String::new())).into();
    }
    // Parts of the image's own file system that all may write to.
    let root =
        places.iter().find(|(at, _)| at == Path::new("/")).map_or_else(String::new, |(_, kind)| kind.clone());
    places.extend(["/tmp", "/var/tmp"].map(|at| (PathBuf::from(at), root.clone())));
    let images: Vec<PathBuf> = table
        .lines()
        .filter(|line| line.contains(" /dev/loop"))
        .filter_map(place)
        .map(|(at, _)| at)
        .collect();
    let mut found: Vec<Writable> = Vec::new();
    for (at, kind) in places {
        let Some(device) = made_in(&at) else { continue };
        if !found.iter().any(|one| one.device == device) {
            let in_memory = matches!(kind.as_str(), "tmpfs" | "devtmpfs" | "ramfs");
            let is_image = images.contains(&at);
            found.push(Writable { at, in_memory, stays: !in_memory && kind != "overlay", is_image, device });
        }
    }
    found
}

/// The mount point of a line of mountinfo, and the kind of its file system.
fn place(line: &str) -> Option<(PathBuf, String)> {
    let (left, right) = line.split_once(" - ")?;
    let at = left.split(' ').nth(4)?.replace("\\040", " ");
    let kind = right.split(' ').next()?;
    let pseudo =
        ["proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs", "tracefs"];
    (!pseudo.contains(&kind)).then(|| (PathBuf::from(at), kind.to_owned()))
}

/// Makes a file there and removes it; the number of its file system.
fn made_in(at: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    if !at.is_dir() {
        return None;
    }
    let path = at.join(format!(".tsubo-attack-{}", std::process::id()));
    let file = std::fs::File::create_new(&path).ok()?;
    // It was made a moment ago.
    let _ = std::fs::remove_file(&path);
    file.metadata().ok().map(|meta| meta.dev())
}

/// The error number of a failure.
pub fn errno(cause: &std::io::Error) -> Errno {
    Errno::from_io_error(cause).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_ends_at_the_amount_at_the_limit_or_at_a_refusal() {
        let cell = |amount| Cell::new(amount, 5.0, Hints::default(), Shared::new().expect("a page"));
        let one = cell(10);
        assert_eq!(one.fill(|| Ok((3, ()))), Stop::Amount);
        assert_eq!(one.got(), 12);
        let two = cell(10);
        let stop = two.fill(|| if two.got() < 4 { Ok((1, ())) } else { Err(Errno::MFILE) });
        assert_eq!((stop, two.got()), (Stop::Limit(Errno::MFILE), 4));
        assert_eq!(cell(10).fill(|| Err::<(u64, ()), _>(Errno::PERM)), Stop::Refused(Errno::PERM));
    }

    #[test]
    fn mount_points_are_read() {
        let line = "33 22 0:29 / /dev/sh\\040m rw,nosuid - tmpfs shm rw,size=65536k";
        assert_eq!(place(line), Some((PathBuf::from("/dev/sh m"), "tmpfs".to_owned())));
        assert_eq!(place("1 2 0:3 / /proc rw - proc proc rw"), None);
    }
}
