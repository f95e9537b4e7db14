//! The disk's time.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use crate::attack::{Attack, Bound, Family::Io, Gauge, Judge, Unit};
use crate::cell::{Cell, Stop, errno, writable};

const MIB: u64 = 1 << 20;
const MEND: &str = "[limits] io_write = { \"/\" = \"20M\" }";

const fn storm(name: &'static str, what: &'static str, unit: Unit, act: fn(&mut Cell) -> Stop) -> Attack {
    let bound = Bound::of(u64::MAX, 2.0).within(Gauge::Disk);
    Attack { name, family: Io, what, unit, bound, judge: Judge::Neighbour, mend: MEND, act }
}

pub(super) static ATTACKS: [Attack; 3] = [
    storm("disk-writes", "writes and flushes on every disk that it may write to", Unit::Bytes, writes),
    storm("disk-names", "makes, renames and removes files there", Unit::Things("files"), names),
    storm("sync", "has the whole host flush its disks", Unit::Things("syncs"), syncs),
];

const NOWHERE: Stop = Stop::Nowhere("no file system on a disk is writable");

/// The same 32 MiB again and again.
fn writes(cell: &mut Cell) -> Stop {
    let Some(disk) = writable().into_iter().find(|place| !place.in_memory) else { return NOWHERE };
    let path = disk.at.join("tsubo-attack-writes");
    let mut file = match File::create(&path) {
        Ok(file) => file,
        Err(cause) => return Stop::Limit(errno(&cause)),
    };
    // It goes with this process.
    let _ = std::fs::remove_file(&path);
    let chunk = vec![1; 4 * MIB as usize];
    cell.fill(|| {
        let written = (0..8).try_for_each(|_| file.write_all(&chunk)).and_then(|()| file.sync_data());
        written.and_then(|()| file.seek(SeekFrom::Start(0))).map_err(|cause| errno(&cause))?;
        Ok((32 * MIB, ()))
    })
}

fn names(cell: &mut Cell) -> Stop {
    let Some(disk) = writable().into_iter().find(|place| !place.in_memory) else { return NOWHERE };
    let (one, other) = (disk.at.join("tsubo-attack-one"), disk.at.join("tsubo-attack-other"));
    cell.fill(|| {
        let made = File::create(&one).and_then(|_| std::fs::rename(&one, &other));
        made.and_then(|()| std::fs::remove_file(&other)).map_err(|cause| errno(&cause))?;
        if cell.got() % 200 == 0 {
            File::open(&disk.at).and_then(|dir| dir.sync_all()).map_err(|cause| errno(&cause))?;
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
