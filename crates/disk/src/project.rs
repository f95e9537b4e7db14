//! Held by a project quota: of ext4, xfs or f2fs, where it is mounted with `prjquota`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use spec::{Error, Result, ResultExt};
use sys::quota;

use crate::files::{self, INNER};
use crate::record::{Own, Record};
use crate::{Kind, Room};

/// Our numbers begin here; tools that count from 1 stay far below.
const FIRST: u32 = 0x7473_0000;
/// And so many are ours.
const COUNT: u32 = 0x1_0000;

/// Stands for no limit. A project without any limit and without files would look as if it were free.
const ENDLESS: u64 = 1 << 60;

/// Beside the homes of all containers: locked while a number is chosen, and remembers the next one.
const NUMBERS: &str = "%projects";

/// Puts the volumes of `dir` into a project of their own; None where the file system has no such
/// quota, or does not enforce it.
pub(crate) fn make(dir: &Path, room: Room) -> Result<Option<Record>> {
    let home = files::directory(dir)?;
    if !quota::enforced(home.as_fd()).unwrap_or(false) {
        return Ok(None);
    }
    let mut numbers = files::locked(&dir.with_file_name(NUMBERS))?;
    let id = free(&mut numbers, home.as_fd())?;
    let inner = dir.join(INNER);
    fs::create_dir(&inner).doing(|| format!("making {}", inner.display()))?;
    let volumes = files::directory(&inner)?;
    match quota::join_project(volumes.as_fd(), id) {
        // Of a file system that was made without them.
        Err(Errno::NOTSUP | Errno::NOTTY) => {
            let removed = fs::remove_dir(&inner).map(|()| None);
            return removed.doing(|| format!("removing {}", inner.display()));
        }
        joined => {
            joined.map_err(io::Error::from).doing(|| format!("putting the volumes into project {id}"))?
        }
    }
    let mut record = Record::new(Kind::Project { id }, room);
    // Whoever finds this unfinished knows which number to give back.
    record.write(dir)?;
    let empty = asked(volumes.as_fd(), id)?;
    record.own = Own { bytes: empty.bytes, inodes: empty.inodes };
    limit(volumes.as_fd(), id, &record)?;
    remember(&mut numbers, id).doing(|| "remembering the number of a project")?;
    Ok(Some(record))
}

/// The next number that the file system knows nothing of. Every project of ours has limits there, as
/// long as it lives, so two containers never share one, wherever the state of the other lies.
fn free(numbers: &mut File, home: BorrowedFd<'_>) -> Result<u32> {
    let from = next(numbers).doing(|| "looking for the number of a project")?;
    for step in 0..COUNT {
        let id = FIRST + (from + step) % COUNT;
        if asked(home, id)? == quota::Project::default() {
            return Ok(id);
        }
    }
    Err(Error::conflict(format!("all {COUNT} numbers of projects are in use"))
        .hint("remove volumes that nobody needs any more: tsubo rm --volumes"))
}

/// Homes that know nothing of each other begin at different numbers.
fn next(numbers: &mut File) -> io::Result<u32> {
    let mut text = String::new();
    numbers.read_to_string(&mut text)?;
    if let Ok(next) = text.trim().parse::<u32>() {
        return Ok(next % COUNT);
    }
    let mut random = [0; 2];
    rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(u16::from_ne_bytes(random).into())
}

fn remember(numbers: &mut File, id: u32) -> io::Result<()> {
    numbers.rewind()?;
    numbers.set_len(0)?;
    numbers.write_all(format!("{}\n", (id - FIRST + 1) % COUNT).as_bytes())
}

/// Gives them another room: one call, whatever they hold.
pub(crate) fn change(dir: &Path, id: u32, record: &Record, room: Room) -> Result<Record> {
    let changed = Record { room, ..*record };
    let volumes = files::directory(&dir.join(INNER))?;
    limit(volumes.as_fd(), id, &changed)?;
    Ok(changed)
}

/// What the file system counted.
pub(crate) fn usage(dir: &Path, id: u32) -> Result<(Option<u64>, Option<u64>)> {
    let volumes = files::directory(&dir.join(INNER))?;
    let project = asked(volumes.as_fd(), id)?;
    Ok((Some(project.bytes), Some(project.inodes)))
}

/// The number is free when no file carries it any more.
pub(crate) fn remove(dir: &Path, id: u32) -> Result<()> {
    let inner = dir.join(INNER);
    match fs::remove_dir_all(&inner) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => result.doing(|| format!("removing {}", inner.display()))?,
    }
    let home = files::directory(dir)?;
    let freed = quota::limit_project(home.as_fd(), id, 0, 0).map_err(io::Error::from);
    freed.doing(|| format!("taking back project {id}"))
}

fn asked(inside: BorrowedFd<'_>, id: u32) -> Result<quota::Project> {
    let project = quota::project(inside, id).map_err(io::Error::from);
    project.doing(|| format!("asking for the quota of project {id}"))
}

fn limit(volumes: BorrowedFd<'_>, id: u32, record: &Record) -> Result<()> {
    let (room, own) = (record.room, record.own);
    let bytes = room.bytes.map_or(ENDLESS, |bytes| (bytes + own.bytes).min(ENDLESS));
    let inodes = room.inodes.map_or(ENDLESS, |inodes| (inodes + own.inodes).min(ENDLESS));
    let set = quota::limit_project(volumes, id, bytes, inodes).map_err(io::Error::from);
    set.doing(|| format!("limiting project {id}"))
}
