//! Memory, kind by kind. That there is a limit, and that it holds, is shown once, by new pages; of each
//! other kind, that it is counted to the same limit.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use sys::attack::{Region, shared_memory};

use crate::attack::{Attack, Bound, Family::Memory, Gauge, Judge, Own, Unit};
use crate::cell::{Cell, Stop, errno};
use crate::places::{PREFIX, nameless};

const MIB: u64 = 1 << 20;
const KIND: Bound = Bound::of(48 * MIB, 3.0).within(Gauge::Memory);
const MEND: &str = "[limits] memory = \"512M\"";

const fn kind(name: &'static str, what: &'static str, act: fn(&mut Cell) -> Stop) -> Attack {
    Attack {
        name,
        family: Memory,
        what,
        unit: Unit::Bytes,
        bound: KIND,
        judge: Judge::Counted,
        mend: MEND,
        act,
    }
}

pub(super) static ATTACKS: [Attack; 13] = [
    Attack {
        name: "pages",
        family: Memory,
        what: "writes into new pages",
        unit: Unit::Bytes,
        bound: Bound::of(256 * MIB, 15.0).beyond(Own::Memory).within(Gauge::Memory),
        judge: Judge::Stopped,
        mend: MEND,
        act: pages,
    },
    kind("page-cache", "writes files of the disk, which stay in memory", page_cache),
    kind("tmpfs", "writes into every file system in memory", tmpfs),
    kind("memfd", "writes into files without a name", memfd),
    kind("shared-memory", "takes System V shared memory", system_v),
    kind("pipes", "fills pipes", pipes),
    kind("unix-sockets", "fills sockets that nobody reads", unix_sockets),
    Attack {
        name: "tcp-buffers",
        family: Memory,
        what: "fills TCP connections that nobody reads",
        unit: Unit::Bytes,
        bound: Bound::of(96 * MIB, 4.0).beyond(Own::Tcp).within(Gauge::Tcp),
        judge: Judge::Counted,
        mend: "[limits] tcp_memory = \"64M\"",
        act: tcp_buffers,
    },
    kind("dentries", "looks for files that do not exist", dentries),
    kind("page-tables", "reads one page of each 2 MiB", page_tables),
    kind("locked", "locks pages into memory", locked),
    Attack {
        mend: "[isolation] a /dev of its own",
        ..kind("terminal-buffers", "fills pseudo-terminals that nobody reads", terminal_buffers)
    },
    kind("epoll", "watches one socket from many places", epoll),
];

fn pages(cell: &mut Cell) -> Stop {
    let step = 4 * MIB as usize;
    let region = match Region::new(cell.amount as usize + step) {
        Ok(region) => region,
        Err(cause) => return Stop::Limit(cause),
    };
    region.large_pages();
    cell.fill(|| {
        let from = cell.got() as usize;
        region.dirty(from, from + step);
        Ok((step as u64, ()))
    })
}

/// Written by itself, so that the cache is its own.
fn page_cache(cell: &mut Cell) -> Stop {
    let disks = match cell.places(|place| !place.in_memory, "no file system on a disk is writable") {
        Ok(disks) => disks,
        Err(stop) => return stop,
    };
    match nameless(&disks[0].at, OFlags::empty()) {
        // The cache stays as long as the file is open, and no longer.
        Ok(file) => write_on(cell, file),
        Err(cause) => Stop::Limit(cause),
    }
}

fn tmpfs(cell: &mut Cell) -> Stop {
    let places = match cell.places(|place| place.in_memory, "no file system in memory is writable") {
        Ok(places) => places,
        Err(stop) => return stop,
    };
    let mut last = Stop::Limit(Errno::NOSPC);
    for place in places {
        let Ok(file) = nameless(&place.at, OFlags::empty()) else { continue };
        last = write_on(cell, file);
        if matches!(last, Stop::Amount | Stop::Time) {
            break;
        }
    }
    last
}

/// As long as it goes; what is written stays as long as this process.
fn write_on(cell: &Cell, mut file: std::fs::File) -> Stop {
    let chunk = vec![1; MIB as usize];
    let stop =
        cell.fill(|| file.write(&chunk).map(|count| (count as u64, ())).map_err(|cause| errno(&cause)));
    std::mem::forget(file);
    stop
}

fn memfd(cell: &mut Cell) -> Stop {
    match memfd_create("tsubo-attack", MemfdFlags::CLOEXEC) {
        Ok(file) => write_on(cell, std::fs::File::from(file)),
        Err(cause) => Stop::Refused(cause),
    }
}

fn system_v(cell: &mut Cell) -> Stop {
    cell.fill(|| shared_memory(4 * MIB as usize).map(|()| (4 * MIB, ())))
}

fn pipes(cell: &mut Cell) -> Stop {
    let chunk = vec![1; 4096];
    cell.fill(|| {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK)?;
        let mut taken = 0;
        while let Ok(count) = rustix::io::write(&writer, &chunk) {
            taken += count as u64;
        }
        Ok((taken, (reader, writer)))
    })
}

fn unix_sockets(cell: &mut Cell) -> Stop {
    let chunk = vec![1; 4096];
    cell.fill(|| {
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
        Ok((stuff(&pair.0, &chunk), pair))
    })
}

/// Sends until nothing more goes in.
fn stuff(socket: impl std::os::fd::AsFd, chunk: &[u8]) -> u64 {
    let mut taken = 0;
    while let Ok(count) = rustix::net::send(&socket, chunk, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        taken += count as u64;
    }
    taken
}

fn tcp_buffers(cell: &mut Cell) -> Stop {
    let listener = match TcpListener::bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(cause) => return Stop::Refused(errno(&cause)),
    };
    let Ok(address) = listener.local_addr() else { return Stop::Nowhere("no loopback") };
    let chunk = vec![1; 64 << 10];
    let mut hungry = 0;
    cell.fill(|| {
        let ends = TcpStream::connect(address).and_then(|one| Ok((one, listener.accept()?)));
        let ends = ends.map_err(|cause| errno(&cause))?;
        let taken = stuff(&ends.0, &chunk);
        // Under pressure the kernel still makes connections, and gives them no room.
        hungry = if taken < 64 << 10 { hungry + 1 } else { 0 };
        if hungry > 20 { Err(Errno::NOBUFS) } else { Ok((taken, ends)) }
    })
}

/// The kernel keeps what is written for as long as nobody reads it, up to 64 KiB at each end.
fn terminal_buffers(cell: &mut Cell) -> Stop {
    let stop = cell.by_many(1, || {
        let pair = sys::pty::open(None)?;
        let taken = silent(&pair.master)? + silent(&pair.slave)?;
        Ok((taken, pair))
    });
    match stop {
        Stop::Limit(Errno::NOENT | Errno::NODEV) => Stop::Nowhere("it has no /dev/ptmx"),
        other => other,
    }
}

/// Writes until nothing more goes in; bytes, unlike lines, are not thrown away.
fn silent(end: &std::os::fd::OwnedFd) -> Result<u64, Errno> {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let mut attributes = tcgetattr(end)?;
    attributes.make_raw();
    tcsetattr(end, OptionalActions::Now, &attributes)?;
    rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
    let (chunk, mut taken) = ([b'x'; 4096], 0);
    while let Ok(count @ 1..) = rustix::io::write(end, &chunk) {
        taken += count as u64;
        if taken > MIB {
            break;
        }
    }
    Ok(taken)
}

/// Names that are not there are remembered, some 192 bytes each, by file systems on disks.
fn dentries(cell: &mut Cell) -> Stop {
    // Names that nobody has looked for yet: what is remembered of others is counted to them.
    let (mut number, start) = (0_u64, crate::neighbour::now());
    cell.fill(|| {
        for _ in 0..1000 {
            number += 1;
            match rustix::fs::stat(format!("/{PREFIX}-{start:020}-{number:020}")) {
                // That it is not there is the point.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok((192 * 1000, ()))
    })
}

fn page_tables(cell: &mut Cell) -> Stop {
    let tables = cell.amount / 4096;
    let region = match Region::new((tables as usize) << 21) {
        Ok(region) => region,
        Err(cause) => return Stop::Limit(cause),
    };
    cell.fill(|| {
        region.look((cell.got() as usize / 4096) << 21);
        Ok((4096, ()))
    })
}

fn locked(cell: &mut Cell) -> Stop {
    let region = match Region::new(cell.amount as usize) {
        Ok(region) => region,
        Err(cause) => return Stop::Limit(cause),
    };
    let step = 64 << 10;
    cell.fill(|| {
        let from = cell.got() as usize;
        region.lock(from, from + step).map(|()| (step as u64, ()))
    })
}

/// Each watch is some 200 bytes of the kernel's, which no limit of open files sees.
fn epoll(cell: &mut Cell) -> Stop {
    use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
    let (one, _other) = match socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)
    {
        Ok(pair) => pair,
        Err(cause) => return Stop::Refused(cause),
    };
    let copies: Result<Vec<_>, _> = (0..500).map(|_| rustix::io::dup(&one)).collect();
    let copies = match copies {
        Ok(copies) => copies,
        Err(cause) => return Stop::Limit(cause),
    };
    let stop = cell.fill(|| {
        let set = create(CreateFlags::empty())?;
        for copy in &copies {
            add(&set, copy, EventData::new_u64(0), EventFlags::IN)?;
        }
        Ok((200 * copies.len() as u64, set))
    });
    std::mem::forget(copies);
    stop
}
