//! Processes and threads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use sys::attack::{deaf, hold, waited_child};

use crate::attack::{Attack, Bound, Family::Tasks, Gauge, Judge, Own, Thing, Unit};
use crate::cell::{Cell, Stop, errno};

const MANY: Bound = Bound::of(4096, 6.0).beyond(Own::Tasks).within(Gauge::Tasks);
const MEND: &str = "[limits] pids = 512";

const fn bomb(name: &'static str, what: &'static str, act: fn(&mut Cell) -> Stop) -> Attack {
    let (unit, judge) = (Unit::Things("processes"), Judge::Spared(Thing::Process));
    Attack { name, family: Tasks, what, unit, bound: MANY, judge, mend: MEND, act }
}

pub(super) static ATTACKS: [Attack; 6] = [
    bomb("processes", "forks, and each child stays", processes),
    bomb("sessions", "forks into sessions of their own", sessions),
    bomb("vforks", "forks by vfork, each child again", vforks),
    bomb("threads", "starts threads", threads),
    bomb("zombies", "forks and never asks what became of the children", zombies),
    Attack {
        name: "deaf",
        family: Tasks,
        what: "ignores SIGTERM, with a family of forks, and is stopped",
        unit: Unit::Things("processes"),
        bound: Bound::of(20, 2.0),
        judge: Judge::Ends,
        mend: "[limits] pids = 512",
        act: ignores,
    },
];

fn processes(cell: &mut Cell) -> Stop {
    cell.fill(|| cell.child(|| hold()).map(|_| (1, ())))
}

fn sessions(cell: &mut Cell) -> Stop {
    cell.fill(|| {
        let child = cell.child(|| {
            // A leader of a group cannot; this one is fresh.
            let _ = rustix::process::setsid();
            hold()
        });
        child.map(|_| (1, ()))
    })
}

/// The error number of the last vfork.
const LAST: usize = 0;

/// Side by side, as each is one step at a time.
const CHAINS: usize = 16;

/// Chains: who vforks waits for its child.
fn vforks(cell: &mut Cell) -> Stop {
    for _ in 0..CHAINS {
        if let Err(cause) = cell.child(|| chain(cell)) {
            return Stop::Limit(cause);
        }
    }
    loop {
        if let Some(stop) = cell.is_over() {
            return stop;
        }
        let last = cell.number(LAST).load(Ordering::Relaxed);
        if last != 0 {
            return Stop::Limit(Errno::from_raw_os_error(last as i32));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn chain(cell: &Cell) -> i32 {
    if cell.is_over().is_none() {
        let child = waited_child(cell.seconds_left(), || {
            cell.add(1);
            chain(cell)
        });
        if let Err(cause) = child {
            cell.number(LAST).store(cause.raw_os_error() as u64, Ordering::Relaxed);
        }
    }
    hold()
}

fn threads(cell: &mut Cell) -> Stop {
    cell.fill(|| {
        let thread = std::thread::Builder::new().stack_size(16 << 10).spawn(std::thread::park);
        thread.map(|thread| (1, thread)).map_err(|cause| errno(&cause))
    })
}

fn zombies(cell: &mut Cell) -> Stop {
    cell.fill(|| cell.child(|| 0).map(|_| (1, ())))
}

fn ignores(cell: &mut Cell) -> Stop {
    deaf();
    cell.fill(|| cell.child(|| hold()).map(|_| (1, ())))
}
