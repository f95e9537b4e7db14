//! Where an attack runs: how far it may go, what it has taken, and how it ends.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sys::attack::{Shared, bound_child};

use crate::places::{Found, Writable, writable};
use crate::speech::Why;

/// Why an attack takes no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The kernel gave no more.
    Limit(Errno),
    /// It was refused.
    Refused(Errno),
    /// There is nothing to do it with: what it asks about is not there.
    Nowhere(&'static str),
    /// It could not be tried, which says nothing.
    Unknown(&'static str),
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
            Self::Unknown(why) => (Why::Failed, (*why).to_owned()),
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
        (Errno::BADF, "EBADF"),
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
/// Of those, where there are many processes: the error number of the last one, and how many are full.
const LAST: usize = 62 - SPARE;
const FULL: usize = 63 - SPARE;

impl Cell {
    /// A fresh one.
    pub fn new(amount: u64, seconds: f32, hints: Hints, shared: Shared) -> Self {
        shared.number(GOT).store(0, Ordering::Relaxed);
        shared.number(TOLD).store(0, Ordering::Relaxed);
        (SPARE..64).for_each(|at| shared.number(at).store(0, Ordering::Relaxed));
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

    /// Directories like this that it can write to, at least one. The time of the search is not the attack's.
    pub fn places(
        &mut self,
        which: fn(&Writable) -> bool,
        none: &'static str,
    ) -> Result<Vec<Writable>, Stop> {
        let start = Instant::now();
        let Found { mut places, is_whole } = writable();
        self.end += start.elapsed();
        places.retain(which);
        match (places.is_empty(), is_whole) {
            (true, true) => Err(Stop::Nowhere(none)),
            (true, false) => Err(Stop::Unknown("it has too many directories to look through")),
            (false, _) => Ok(places),
        }
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

    /// As [`Self::fill`], in one process after the other, so many side by side: each has as many descriptors as it
    /// may, and holds them.
    pub fn by_many<T>(&self, side_by_side: u64, one: impl Fn() -> Result<(u64, T), Errno>) -> Stop {
        let mut started = 0;
        loop {
            if let Some(stop) = self.is_over() {
                return stop;
            }
            let last = i32::try_from(self.number(LAST).load(Ordering::Relaxed)).unwrap_or(0);
            // 0 is one that had no reason to stop, and is no error number.
            if last != 0 && last != Errno::MFILE.raw_os_error() {
                return Stop::Limit(Errno::from_raw_os_error(last));
            }
            if started - self.number(FULL).load(Ordering::Relaxed) >= side_by_side {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            match self.child(|| self.one_of_many(&one)) {
                Ok(_) => started += 1,
                Err(cause) => return Stop::Limit(cause),
            }
        }
    }

    fn one_of_many<T>(&self, one: impl Fn() -> Result<(u64, T), Errno>) -> i32 {
        let cause = match self.fill(one) {
            Stop::Limit(cause) | Stop::Refused(cause) => cause.raw_os_error(),
            _ => 0,
        };
        self.number(LAST).store(cause as u64, Ordering::Relaxed);
        self.number(FULL).fetch_add(1, Ordering::Relaxed);
        sys::attack::hold()
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
        bound_child(self.seconds_left(), work)
    }

    /// So long a child may live.
    pub fn seconds_left(&self) -> u32 {
        self.end.saturating_duration_since(Instant::now()).as_secs() as u32 + 30
    }
}

/// The error number of a failure.
pub fn errno(cause: &std::io::Error) -> Errno {
    Errno::from_io_error(cause).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processes_get_what_one_may_not_have() {
        let cell = |amount| Cell::new(amount, 5.0, Hints::default(), Shared::new().expect("a page"));
        let each = |mine: &std::cell::Cell<u64>| {
            mine.set(mine.get() + 1);
            if mine.get() > 10 { Err(Errno::MFILE) } else { Ok((1, ())) }
        };
        let (all, mine) = (cell(35), std::cell::Cell::new(0));
        assert_eq!(all.by_many(1, || each(&mine)), Stop::Amount);
        assert_eq!(all.got(), 35);
        let limited = cell(35);
        let one = || if limited.got() < 25 { each(&mine) } else { Err(Errno::NOSPC) };
        assert_eq!((limited.by_many(1, one), limited.got()), (Stop::Limit(Errno::NOSPC), 25));
    }

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
}
