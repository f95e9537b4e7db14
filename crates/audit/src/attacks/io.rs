//! The disk's time.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::attack::{Attack, Bound, Family::Io, Gauge, Judge, Unit};
use crate::cell::{Cell, Stop, errno};
use crate::places::{PREFIX, nameless};

const MIB: u64 = 1 << 20;
/// What is written past the cache begins where a page does.
const ALIGNED: usize = 4096;
const MEND: &str = "[limits] io_write = { \"/\" = \"20M\" }";

const fn storm(name: &'static str, what: &'static str, unit: Unit, act: fn(&mut Cell) -> Stop) -> Attack {
    let bound = Bound::of(u64::MAX, 2.0).within(Gauge::Disk);
    Attack { name, family: Io, what, unit, bound, judge: Judge::Neighbour, mend: MEND, act }
}

pub(super) static ATTACKS: [Attack; 4] = [
    storm("disk-writes", "writes and flushes on every disk that it may write to", Unit::Bytes, writes),
    storm("direct-writes", "writes there past the cache (O_DIRECT)", Unit::Bytes, direct_writes),
    storm("disk-names", "makes, renames and removes files there", Unit::Things("files"), names),
    storm("sync", "has the whole host flush its disks", Unit::Things("syncs"), syncs),
];

/// The first directory on a disk.
fn disk(cell: &mut Cell) -> Result<PathBuf, Stop> {
    let places = cell.places(|place| !place.in_memory, "no file system on a disk is writable")?;
    places.into_iter().next().map(|place| place.at).ok_or(Stop::Nowhere("none is writable"))
}

/// The same 32 MiB again and again.
fn writes(cell: &mut Cell) -> Stop {
    let mut file = match disk(cell).map(|at| nameless(&at, OFlags::empty())) {
        Ok(Ok(file)) => file,
        Ok(Err(cause)) => return Stop::Limit(cause),
        Err(stop) => return stop,
    };
    let chunk = vec![1; 4 * MIB as usize];
    cell.fill(|| {
        let written = (0..8).try_for_each(|_| file.write_all(&chunk)).and_then(|()| file.sync_data());
        written.and_then(|()| file.seek(SeekFrom::Start(0))).map_err(|cause| errno(&cause))?;
        Ok((32 * MIB, ()))
    })
}

/// Each write waits for the disk, which nothing holds up on the way.
fn direct_writes(cell: &mut Cell) -> Stop {
    let file = match disk(cell).map(|at| nameless(&at, OFlags::DIRECT)) {
        Ok(Ok(file)) => file,
        Ok(Err(Errno::INVAL)) => return Stop::Nowhere("its disk has no such writes"),
        Ok(Err(cause)) => return Stop::Limit(cause),
        Err(stop) => return stop,
    };
    let room = vec![1; MIB as usize + ALIGNED];
    let start = room.as_ptr().align_offset(ALIGNED);
    let chunk = &room[start..start + MIB as usize];
    cell.fill(|| rustix::io::pwrite(&file, chunk, cell.got() % (32 * MIB)).map(|count| (count as u64, ())))
}

fn names(cell: &mut Cell) -> Stop {
    let at = match disk(cell) {
        Ok(at) => at,
        Err(stop) => return stop,
    };
    let (one, other) = (at.join(format!("{PREFIX}-one")), at.join(format!("{PREFIX}-other")));
    cell.fill(|| {
        let made = File::create(&one).and_then(|_| std::fs::rename(&one, &other));
        made.and_then(|()| std::fs::remove_file(&other)).map_err(|cause| errno(&cause))?;
        if cell.got() % 200 == 0 {
            File::open(&at).and_then(|dir| dir.sync_all()).map_err(|cause| errno(&cause))?;
        }
        Ok((1, ()))
    })
}

fn syncs(cell: &mut Cell) -> Stop {
    cell.fill(|| {
        rustix::fs::sync();
        Ok((1, ()))
    })
}
