//! Processor time: its own, and what the kernel does in its stead.

use std::ffi::CString;
use std::net::UdpSocket;

use rustix::io::Errno;
use sys::attack::busy_timer;
use sys::process::{Strings, execve};

use crate::attack::{Attack, Bound, Family::Cpu, Judge, Unit};
use crate::cell::{Cell, Stop, errno};

const fn load(
    name: &'static str,
    what: &'static str,
    counts: &'static str,
    act: fn(&mut Cell) -> Stop,
) -> Attack {
    Attack {
        name,
        family: Cpu,
        what,
        unit: Unit::Things(counts),
        bound: Bound::of(u64::MAX, 1.5),
        judge: Judge::Share,
        mend: "[limits] cpus = 1",
        act,
    }
}

pub(super) static ATTACKS: [Attack; 5] = [
    load("spin", "computes in eight processes for each processor", "rounds", spin),
    load("churn", "starts programs that end at once", "programs", churn),
    load("crashes", "starts processes that crash", "crashes", crashes),
    load("packets", "floods its loopback with packets", "packets", packets),
    load("timers", "lets hundreds of timers expire all the time", "timers", timers),
];

fn spin(cell: &mut Cell) -> Stop {
    let workers = 8 * std::thread::available_parallelism().map_or(1, usize::from);
    for number in 0..workers {
        match cell.child(|| rounds(cell)) {
            // With those that there are.
            Err(_) if number > 0 => break,
            Err(cause) => return Stop::Limit(cause),
            Ok(_) => {}
        }
    }
    rounds(cell);
    Stop::Time
}

fn rounds(cell: &Cell) -> i32 {
    let mut word = 1_u64;
    while !cell.is_late() {
        for _ in 0..100_000 {
            word = std::hint::black_box(word.wrapping_mul(6364136223846793005).wrapping_add(1));
        }
        cell.add(1);
    }
    0
}

/// A child is asked after, so that numbers are free again.
fn children(cell: &Cell, mut work: impl FnMut() -> i32) -> Stop {
    cell.fill(|| {
        let child = cell.child(&mut work)?;
        sys::process::reap(child, true).map(|_| (1, ()))
    })
}

/// Its own program, which does nothing when it is told so. Where it cannot be executed, there is the fork.
fn churn(cell: &mut Cell) -> Stop {
    let own = std::env::args_os().next().and_then(|word| CString::new(word.as_encoded_bytes()).ok());
    let own = own.unwrap_or_default();
    let words = Strings::new(vec![own.clone(), c"nothing".to_owned()]);
    let nothing = Strings::new(Vec::new());
    children(cell, || {
        execve(&own, &words, &nothing);
        0
    })
}

fn crashes(cell: &mut Cell) -> Stop {
    children(cell, || {
        let own = std::process::id() as i32;
        // It ends here.
        let _ = sys::process::kill(own, 11);
        0
    })
}

fn packets(cell: &mut Cell) -> Stop {
    let sockets = UdpSocket::bind("127.0.0.1:0").and_then(|to| Ok((UdpSocket::bind("127.0.0.1:0")?, to)));
    let (from, address, _to) = match sockets.and_then(|(from, to)| Ok((from, to.local_addr()?, to))) {
        Ok(sockets) => sockets,
        Err(cause) => return Stop::Refused(errno(&cause)),
    };
    let more = cell.child(|| flood(cell, &from, address));
    flood(cell, &from, address);
    more.map_or_else(Stop::Limit, |_| Stop::Time)
}

/// What is not read is thrown away, after all the work was done.
fn flood(cell: &Cell, from: &UdpSocket, address: std::net::SocketAddr) -> i32 {
    let packet = [1; 64];
    while !cell.is_late() {
        // It may be too much for the moment, which is the point.
        let sent = (0..100).filter(|_| from.send_to(&packet, address).is_ok()).count();
        cell.add(sent as u64);
    }
    0
}

fn timers(cell: &mut Cell) -> Stop {
    while cell.got() < 500 {
        match busy_timer(50_000) {
            Ok(()) => cell.add(1),
            Err(Errno::AGAIN) if cell.got() > 0 => break,
            Err(cause) => return Stop::Refused(cause),
        }
    }
    while !cell.is_late() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Stop::Time
}
