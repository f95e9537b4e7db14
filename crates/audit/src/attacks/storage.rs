//! Bytes and files that are kept, and what the container says.

use std::fs::File;
use std::io::Write;

use rustix::fs::{FallocateFlags, XattrFlags, fallocate, fsetxattr, statvfs};
use rustix::io::Errno;

use crate::attack::{Attack, Bound, Family::Storage, Gauge, Judge, Unit};
use crate::cell::{Cell, Stop, Writable, errno, writable};

const MIB: u64 = 1 << 20;

pub(super) static ATTACKS: [Attack; 6] = [
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
];

const NOWHERE: Stop = Stop::Nowhere("no file system on a disk is writable");

fn on_disks() -> Vec<Writable> {
    writable().into_iter().filter(|place| !place.in_memory).collect()
}

/// Does it in each place, until one goes on without end.
fn each(places: &[Writable], none: Stop, mut fill: impl FnMut(&Writable) -> Stop) -> Stop {
    let mut last = none;
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
    each(&on_disks(), NOWHERE, |place| {
        let room = place.bounded(&cell.hints).map_or(proof, |(bytes, _)| bytes + 64 * MIB);
        cell.amount = cell.got() + room;
        let path = place.at.join("tsubo-attack-bytes");
        let file = match File::create(&path) {
            Ok(file) => file,
            Err(cause) => return Stop::Limit(errno(&cause)),
        };
        // It goes with this process.
        let _ = std::fs::remove_file(&path);
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
    let proof = cell.amount;
    each(&on_disks(), NOWHERE, |place| {
        let room = place.bounded(&cell.hints).map_or(proof, |(_, files)| files + 1000);
        cell.amount = cell.got() + room;
        many(cell, place, 1)
    })
}

fn tmpfs_files(cell: &mut Cell) -> Stop {
    let places: Vec<_> = writable().into_iter().filter(|place| place.in_memory).collect();
    // An inode of a tmpfs and its name are some 900 bytes.
    each(&places, Stop::Nowhere("no file system in memory is writable"), |place| many(cell, place, 900))
}

fn many(cell: &Cell, place: &Writable, weight: u64) -> Stop {
    let dir = place.at.join("tsubo-attack-files");
    // Of one that was killed.
    let _ = std::fs::remove_dir_all(&dir);
    if let Err(cause) = std::fs::create_dir(&dir) {
        return Stop::Limit(errno(&cause));
    }
    let mut number = 0_u64;
    let stop = cell.fill(|| {
        number += 1;
        File::create(dir.join(number.to_string())).map(|_| (weight, ())).map_err(|cause| errno(&cause))
    });
    if place.stays {
        // That they could be made is known by now.
        let _ = std::fs::remove_dir_all(&dir);
    }
    stop
}

/// Up to 60 KiB on each file, as long as there are files.
fn attributes(cell: &mut Cell) -> Stop {
    let value = vec![1; 30 << 10];
    let places: Vec<_> = writable().into_iter().filter(|place| !place.stays).collect();
    each(&places, Stop::Nowhere("nothing that goes with it is writable"), |place| {
        let mut number = 0_u64;
        cell.fill(|| {
            number += 1;
            let path = place.at.join(format!("tsubo-attack-attributes-{number}"));
            let file = File::create(&path).map_err(|cause| errno(&cause))?;
            for name in ["user.one", "user.two"] {
                match fsetxattr(&file, name, &value, XattrFlags::empty()) {
                    // An ext4 has room for 4 KiB of them.
                    Err(Errno::NOSPC) => fsetxattr(&file, name, &value[..1500], XattrFlags::empty())?,
                    other => other?,
                }
            }
            Ok((60 << 10, ()))
        })
    })
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
