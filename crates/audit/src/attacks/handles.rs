//! What the kernel counts by process, by user or for the whole host.

use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;
use sys::attack::{asynchronous, hold, key, message_queue, posix_queue, semaphores};

use crate::attack::{Attack, Bound, Family::Handles, Gauge, Judge, Thing, Unit};
use crate::cell::{Cell, Stop};

const USERS: &str = "[isolation] namespaces.user = \"own\"";

const fn many(
    name: &'static str,
    what: &'static str,
    counts: &'static str,
    bound: Bound,
    thing: Thing,
    mend: &'static str,
    act: fn(&mut Cell) -> Stop,
) -> Attack {
    let (unit, judge) = (Unit::Things(counts), Judge::Spared(thing));
    Attack { name, family: Handles, what, unit, bound, judge, mend, act }
}

pub(super) static ATTACKS: [Attack; 10] = [
    many(
        "open-files",
        "opens files in as many processes as it may have",
        "files",
        Bound::of(u64::MAX, 10.0).within(Gauge::Files),
        Thing::File,
        "[isolation] rlimits.nofile = \"1024:1024\" and [limits] pids = 512",
        open_files,
    ),
    many(
        "inotify",
        "makes instances of inotify",
        "instances",
        Bound::of(100_000, 4.0),
        Thing::Inotify,
        USERS,
        instances,
    ),
    many("watches", "watches its files", "watches", Bound::of(1_000_000, 8.0), Thing::Watch, USERS, watches),
    many(
        "terminals",
        "opens pseudo-terminals",
        "terminals",
        Bound::of(100_000, 3.0).within(Gauge::Terminals),
        Thing::Terminal,
        "[isolation] a /dev of its own",
        terminals,
    ),
    many("keys", "adds keys to its keyring", "keys", Bound::of(100_000, 3.0), Thing::Key, USERS, keys),
    many(
        "posix-queues",
        "makes message queues with names",
        "queues",
        Bound::of(100_000, 3.0),
        Thing::Queue,
        USERS,
        posix_queues,
    ),
    many(
        "message-queues",
        "makes System V message queues",
        "queues",
        Bound::of(40_000, 3.0),
        Thing::Messages,
        "[isolation] namespaces.ipc = \"own\"",
        message_queues,
    ),
    many(
        "semaphores",
        "makes System V semaphores",
        "arrays",
        Bound::of(40_000, 3.0),
        Thing::Semaphores,
        "[isolation] namespaces.ipc = \"own\"",
        semaphore_arrays,
    ),
    many(
        "asynchronous-io",
        "reserves events of asynchronous I/O",
        "events",
        Bound::of(10_000_000, 3.0).within(Gauge::Asynchronous),
        Thing::Asynchronous,
        "[isolation] seccomp = \"default\"",
        events,
    ),
    Attack {
        judge: Judge::Stopped,
        ..many(
            "namespaces",
            "makes network namespaces, in user namespaces where it must",
            "namespaces",
            Bound::of(1000, 4.0),
            Thing::Process,
            "[isolation] seccomp = \"default\"",
            namespaces,
        )
    },
];

/// As many processes as there are processors open as much as they may, and then the next.
fn open_files(cell: &mut Cell) -> Stop {
    let side_by_side = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    cell.by_many(side_by_side, || Ok((1, rustix::fs::open("/", flags, rustix::fs::Mode::empty())?)))
}

fn instances(cell: &mut Cell) -> Stop {
    cell.fill(|| inotify::init(inotify::CreateFlags::empty()).map(|one| (1, one)))
}

/// Each name is watched once by each instance; there are many below /proc.
fn watches(cell: &mut Cell) -> Stop {
    let more = Stop::Nowhere("it has no more files to watch");
    for number in 0..INSTANCES {
        let stop = match inotify::init(inotify::CreateFlags::empty()) {
            Ok(set) => watch_all(cell, set),
            Err(cause) if number == 0 => return Stop::Refused(cause),
            Err(cause) => return Stop::Limit(cause),
        };
        if stop != more {
            return stop;
        }
    }
    more
}

/// No more than that, as instances are another attack.
const INSTANCES: usize = 8;

fn watch_all(cell: &Cell, set: std::os::fd::OwnedFd) -> Stop {
    let mut waiting = vec![std::path::PathBuf::from("/")];
    while let Some(dir) = waiting.pop() {
        if let Some(stop) = cell.is_over() {
            std::mem::forget(set);
            return stop;
        }
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            match inotify::add_watch(&set, entry.path(), WatchFlags::OPEN | WatchFlags::DONT_FOLLOW) {
                Ok(_) => cell.add(1),
                Err(cause @ (Errno::NOSPC | Errno::NOMEM)) => {
                    std::mem::forget(set);
                    return Stop::Limit(cause);
                }
                // Some files are nobody's to watch.
                Err(_) => {}
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    std::mem::forget(set);
    Stop::Nowhere("it has no more files to watch")
}

fn terminals(cell: &mut Cell) -> Stop {
    let open = || sys::pty::open(None).map(|pair| (1, pair));
    match open() {
        Err(Errno::NOENT | Errno::NODEV) => Stop::Nowhere("it has no /dev/ptmx"),
        _ => cell.by_many(1, open),
    }
}

fn keys(cell: &mut Cell) -> Stop {
    cell.fill(|| key(cell.got(), &[1; 64]).map(|()| (1, ())))
}

fn posix_queues(cell: &mut Cell) -> Stop {
    cell.fill(|| posix_queue().map(|()| (1, ())))
}

/// What is left where the namespace is the host's is removed at the end of the attack.
fn message_queues(cell: &mut Cell) -> Stop {
    let mut made = Vec::new();
    let stop = cell.fill(|| message_queue().map(|id| (1, made.push(id))));
    cell.keep(made, sys::attack::no_message_queue);
    stop
}

fn semaphore_arrays(cell: &mut Cell) -> Stop {
    let mut made = Vec::new();
    let stop = cell.fill(|| semaphores().map(|id| (1, made.push(id))));
    cell.keep(made, sys::attack::no_semaphores);
    stop
}

fn events(cell: &mut Cell) -> Stop {
    cell.fill(|| asynchronous(1000).map(|()| (1000, ())))
}

/// Each in a child that holds it, and says before that what came of it.
fn namespaces(cell: &mut Cell) -> Stop {
    cell.fill(|| {
        let (reader, writer) = rustix::pipe::pipe()?;
        let child = cell.child(|| {
            let told = apart().map_or_else(Errno::raw_os_error, |()| 0) as u8;
            match rustix::io::write(&writer, &[told]) {
                Ok(1) if told == 0 => hold(),
                _ => 0,
            }
        })?;
        drop(writer);
        let mut told = [0];
        let error = match rustix::io::read(&reader, &mut told)? {
            0 => Errno::NOSYS,
            _ if told == [0] => return Ok((1, ())),
            _ => Errno::from_raw_os_error(told[0].into()),
        };
        // It ends behind its word.
        let _ = sys::process::reap(child, true);
        Err(error)
    })
}

fn apart() -> Result<(), Errno> {
    use sys::namespace::{NET, USER, unshare};
    unshare(NET).or_else(|_| unshare(USER | NET))
}
