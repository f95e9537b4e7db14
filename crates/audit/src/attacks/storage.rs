//! Bytes and files that are kept, and what the container says.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, OFlags, XattrFlags, fallocate, fsetxattr, statvfs};
use rustix::io::Errno;

use crate::attack::{Attack, Bound, Family::Storage, Gauge, Judge, Unit};
use crate::cell::{Cell, Stop, errno};
use crate::places::{PREFIX, Writable, nameless};

const MIB: u64 = 1 << 20;

pub(super) static ATTACKS: [Attack; 7] = [
    Attack {
        name: "disk-bytes",
        family: Storage,
        what: "fills every disk that it may write to",
        unit: Unit::Bytes,
        bound: Bound::of(512 * MIB, 5.0).within(Gauge::Disk),
        judge: Judge::Stopped,
        mend: "[limits] disk = \"10G\"",
        act: bytes,
    },
    Attack {
        name: "disk-files",
        family: Storage,
        what: "makes empty files on every disk that it may write to",
        unit: Unit::Things("files"),
        bound: Bound::of(10_000, 8.0).within(Gauge::Inodes),
        judge: Judge::Stopped,
        mend: "[limits] inodes = 50000",
        act: files,
    },
    Attack {
        name: "tmpfs-files",
        family: Storage,
        what: "makes empty files on every file system in memory",
        unit: Unit::Bytes,
        bound: Bound::of(64 * MIB, 5.0).within(Gauge::Memory),
        judge: Judge::Counted,
        mend: "[limits] memory = \"512M\"",
        act: tmpfs_files,
    },
    Attack {
        name: "attributes",
        family: Storage,
        what: "hangs attributes on files",
        unit: Unit::Bytes,
        bound: Bound::of(32 * MIB, 3.0).within(Gauge::Memory),
        judge: Judge::Counted,
        mend: "[limits] memory = \"512M\"",
        act: attributes,
    },
    Attack {
        name: "logs",
        family: Storage,
        what: "prints lines without end",
        unit: Unit::Bytes,
        bound: Bound::of(64 * MIB, 6.0).within(Gauge::Disk),
        judge: Judge::Logs,
        mend: "[limits] logs = \"30M\"",
        act: lines,
    },
    Attack {
        name: "long-line",
        family: Storage,
        what: "prints one line without end",
        unit: Unit::Bytes,
        bound: Bound::of(64 * MIB, 6.0).within(Gauge::Disk),
        judge: Judge::Logs,
        mend: "[limits] logs = \"30M\"",
        act: long_line,
    },
    Attack {
        name: "own-terminal",
        family: Storage,
        what: "floods its own terminal, where it has one",
        unit: Unit::Bytes,
        bound: Bound::of(64 * MIB, 6.0).within(Gauge::Disk),
        judge: Judge::Logs,
        mend: "[isolation] a /dev of its own",
        act: own_terminal,
    },
];

fn on_disks(cell: &mut Cell) -> Result<Vec<Writable>, Stop> {
    cell.places(|place| !place.in_memory, "no file system on a disk is writable")
}

/// Does it in each place, until one goes on without end.
fn each(places: &Result<Vec<Writable>, Stop>, mut fill: impl FnMut(&Writable) -> Stop) -> Stop {
    let places = match places {
        Ok(places) => places,
        Err(stop) => return stop.clone(),
    };
    let mut last = Stop::Limit(Errno::NOSPC);
    for place in places {
        last = fill(place);
        if matches!(last, Stop::Amount | Stop::Time) {
            break;
        }
    }
    last
}

/// Blocks that are only promised count as much as written ones, and cost the disk no time.
fn bytes(cell: &mut Cell) -> Stop {
    let proof = cell.amount;
    each(&on_disks(cell), |place| {
        let room = place.bounded(&cell.hints).map_or(proof, |(bytes, _)| bytes + 64 * MIB);
        cell.amount = cell.got() + room;
        let file = match nameless(&place.at, OFlags::empty()) {
            Ok(file) => file,
            Err(cause) => return Stop::Limit(cause),
        };
        let step = 16 * MIB;
        let start = cell.got();
        let stop = cell.fill(|| match fallocate(&file, FallocateFlags::empty(), cell.got() - start, step) {
            Ok(()) => Ok((step, ())),
            // Where 16 MiB do not fit, less may.
            Err(Errno::NOSPC) if free(place) > MIB => {
                fallocate(&file, FallocateFlags::empty(), cell.got() - start, MIB).map(|()| (MIB, ()))
            }
            Err(Errno::OPNOTSUPP) => (&file)
                .write(&vec![1; MIB as usize])
                .map(|count| (count as u64, ()))
                .map_err(|cause| errno(&cause)),
            Err(cause) => Err(cause),
        });
        std::mem::forget(file);
        stop
    })
}

fn free(place: &Writable) -> u64 {
    statvfs(&place.at).map_or(0, |free| free.f_bavail * free.f_frsize)
}

fn files(cell: &mut Cell) -> Stop {
    let (proof, places) = (cell.amount, on_disks(cell));
    let stop = each(&places, |place| {
        let room = place.bounded(&cell.hints).map_or(proof, |(_, files)| files + 1000);
        cell.amount = cell.got() + room;
        many(cell, place, 1)
    });
    // That they could be made is known by now. Not before all are: a disk that is mounted twice is full then.
    for place in places.iter().flatten().filter(|place| place.stays) {
        let _ = std::fs::remove_dir_all(folder(place, FILES));
    }
    stop
}

fn tmpfs_files(cell: &mut Cell) -> Stop {
    let places = cell.places(|place| place.in_memory, "no file system in memory is writable");
    // An inode of a tmpfs and its name are some 900 bytes. They are counted while they are there.
    each(&places, |place| many(cell, place, 900))
}

/// What the directory for files is called.
const FILES: &str = "files";

fn folder(place: &Writable, name: &str) -> PathBuf {
    place.at.join(format!("{PREFIX}-{name}"))
}

/// A directory for files of ours, in the place of one that a killed attack may have left.
fn made(place: &Writable, name: &str) -> Result<PathBuf, Errno> {
    let dir = folder(place, name);
    // There is none as a rule.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).map(|()| dir).map_err(|cause| errno(&cause))
}

fn many(cell: &Cell, place: &Writable, weight: u64) -> Stop {
    let dir = match made(place, FILES) {
        Ok(dir) => dir,
        Err(cause) => return Stop::Limit(cause),
    };
    let mut number = 0_u64;
    cell.fill(|| {
        number += 1;
        File::create(dir.join(number.to_string())).map(|_| (weight, ())).map_err(|cause| errno(&cause))
    })
}

/// Up to 60 KiB on each file, as long as there are files. Disks of others are left alone.
fn attributes(cell: &mut Cell) -> Stop {
    let value = vec![1; 30 << 10];
    let places =
        cell.places(|place| place.in_memory || !place.stays, "nothing that goes with it is writable");
    each(&places, |place| {
        let (mut number, dir) = (0_u64, made(place, "attributes"));
        cell.fill(|| {
            number += 1;
            let path = dir.as_ref().map_err(|cause| *cause)?.join(number.to_string());
            let file = File::create(&path).map_err(|cause| errno(&cause))?;
            let hung = hang(&file, "user.one", &value)? + hang(&file, "user.two", &value)?;
            Ok((hung, ()))
        })
    })
}

/// So many bytes hang on it then.
fn hang(file: &File, name: &str, value: &[u8]) -> Result<u64, Errno> {
    match fsetxattr(file, name, value, XattrFlags::empty()) {
        // An ext4 has room for 4 KiB of them, which is a block of the disk.
        Err(Errno::NOSPC) => fsetxattr(file, name, &value[..1500], XattrFlags::empty()).map(|()| 2048),
        hung => hung.map(|()| value.len() as u64),
    }
}

fn lines(cell: &mut Cell) -> Stop {
    let line = [vec![b'x'; 127], vec![b'\n']].concat().repeat(512);
    say(cell, &line)
}

fn long_line(cell: &mut Cell) -> Stop {
    say(cell, &vec![b'x'; 64 << 10])
}

/// On the errors, so that nothing comes between the lines of the report.
fn say(cell: &Cell, chunk: &[u8]) -> Stop {
    cell.fill(|| {
        let count = std::io::stderr().write(chunk).map_err(|cause| errno(&cause))?;
        Ok((count as u64, ()))
    })
}

/// The terminal that the runtime has given to it, where it has. What nobody reads waits, and takes no more.
fn own_terminal(cell: &mut Cell) -> Stop {
    let mut file = match opened("/dev/console") {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => return controlling(),
        Err(cause) => return Stop::Refused(cause),
    };
    let number = file.metadata().map_or(0, |meta| meta.rdev());
    if number == rustix::fs::makedev(5, 1) {
        return Stop::Possible("it may write to the host's console".to_owned());
    }
    let line = [vec![b'x'; 127], vec![b'\n']].concat().repeat(32);
    let stop = cell.fill(|| {
        let time = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
        if poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&time))? == 0 {
            return Err(Errno::AGAIN);
        }
        file.write(&line).map(|count| (count as u64, ())).map_err(|cause| errno(&cause))
    });
    match stop {
        Stop::Limit(Errno::AGAIN) => Stop::Nowhere("nobody reads it: what it writes waits"),
        other => other,
    }
}

/// Without a console it should have no terminal at all: not that of whoever started it.
fn controlling() -> Stop {
    match opened("/dev/tty") {
        Ok(_) => Stop::Possible("it may write to the terminal of whoever started it".to_owned()),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Stop::Nowhere("it has no terminal"),
        Err(cause) => Stop::Refused(cause),
    }
}

fn opened(path: &str) -> Result<File, Errno> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits() as i32;
    let file = File::options().write(true).custom_flags(flags).open(path).map_err(|cause| errno(&cause))?;
    let is_device = file.metadata().is_ok_and(|meta| meta.file_type().is_char_device());
    if is_device { Ok(file) } else { Err(Errno::NODEV) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Hints;

    /// With a terminal as its console, which is read or not.
    fn flooded(is_read: bool) -> Option<String> {
        let shared = sys::attack::Shared::new().expect("a page");
        let pair = sys::pty::open(None).expect("a terminal");
        let name =
            std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pair.slave)));
        let script = format!(
            "mount --make-rprivate / && mount --bind {} /dev/console",
            name.expect("its name").display()
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = sys::attack::bound_child(20, || {
            let made = sys::namespace::unshare(sys::namespace::MOUNT).is_ok()
                && std::process::Command::new("/bin/sh")
                    .args(["-c", &script])
                    .status()
                    .is_ok_and(|status| status.success());
            let told = own_terminal(&mut Cell::new(MIB, 5.0, Hints::default(), shared));
            let told = if made { format!("{told:?}") } else { String::new() };
            i32::from((&writer).write_all(told.as_bytes()).is_err())
        });
        drop(writer);
        if is_read {
            let mut master = File::from(pair.master.try_clone().expect("a copy"));
            std::thread::spawn(move || std::io::copy(&mut master, &mut std::io::sink()));
        }
        sys::process::reap(child.expect("a child"), true).expect("its end");
        let told = std::io::read_to_string(reader).expect("what it told");
        (!told.is_empty()).then_some(told)
    }

    #[test]
    fn a_terminal_that_nobody_reads_takes_no_more_and_one_that_is_read_takes_all() {
        match (flooded(false), flooded(true)) {
            (Some(unread), Some(read)) => {
                assert!(unread.contains("nobody reads it") && read == "Amount", "{unread}, {read}");
            }
            _ => eprintln!("SKIPPED: needs root and a /dev/console"),
        }
    }
}
