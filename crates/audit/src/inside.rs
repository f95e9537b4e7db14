//! The attacker: waits for the word, lets a child attack, tells what came of it, and ends as soon as
//! the auditor does. It takes part in nothing itself, so that it outlives what it does.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use sys::attack::{Shared, bound_child, hold};
use sys::process::reap;

use crate::attack::{Attack, Judge};
use crate::attacks;
use crate::cell::{Cell, Hints, TOLD};
use crate::speech::{BEAT, END, GO, Line, MARK, Over, Why};

/// So long it lives without a beat.
const SILENCE: Duration = Duration::from_secs(6);
/// So often it tells how far it is.
const TELLS: Duration = Duration::from_millis(100);

/// The exit code of who was ended by SIGKILL: in here nobody sends that but the kernel.
const KILLED: i32 = 128 + 9;
/// Of who was ended by a filter (SIGSYS).
const FILTERED: i32 = 128 + 31;

/// An attack that was ordered.
#[derive(Debug, Clone, Copy)]
struct Order {
    attack: &'static Attack,
    amount: u64,
    seconds: f32,
}

/// `--token T --pid P --port N --socket S --disk D:B… NAME=AMOUNT:SECONDS…`; ends with 0 when all are done.
pub fn run(words: &[String]) -> u8 {
    let Some((hints, orders)) = understood(words) else {
        eprintln!("tsubo-attack: bad order {words:?}");
        return 2;
    };
    let Ok(shared) = Shared::new() else { return 2 };
    let mut ear = Ear::new();
    say(&Line::Ready);
    while !ear.heard_go {
        if ear.is_alone(20) {
            return 1;
        }
    }
    let mut children = Vec::new();
    let is_done = orders.iter().all(|order| {
        let cell = Cell::new(order.amount, order.seconds, hints.clone(), shared);
        Watch { order: *order, cell, shared, child: 0 }.run(&mut ear, &mut children)
    });
    if is_done {
        say(&Line::Done);
        while !ear.is_alone(50) {}
    }
    children.into_iter().for_each(end);
    clean(&orders);
    u8::from(!is_done)
}

/// Nothing stays where others see it: files in directories of the host, objects in a namespace of the host's.
fn clean(orders: &[Order]) {
    if orders.iter().any(|order| order.attack.leaves_files()) {
        crate::places::sweep();
    }
    if orders.iter().any(|order| order.attack.judge != Judge::Refused) {
        sys::system_v::sweep();
    }
}

fn end(child: i32) {
    if let Some(pid) = Pid::from_raw(child) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let _ = reap(child, true);
    }
}

fn understood(words: &[String]) -> Option<(Hints, Vec<Order>)> {
    let mut hints = Hints::default();
    let mut orders = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            // Only there to be found by.
            "--token" => drop(words.next()?),
            "--pid" => hints.pid = words.next()?.parse().ok()?,
            "--port" => hints.port = words.next()?.parse().ok()?,
            "--disk" => {
                let (device, bytes) = words.next()?.split_once(':')?;
                hints.disks.push((device.parse().ok()?, bytes.parse().ok()?));
            }
            "--socket" => hints.socket.clone_from(words.next()?),
            order => {
                let (name, rest) = order.split_once('=')?;
                let (amount, seconds) = rest.split_once(':')?;
                let attack = attacks::ordered(name)?;
                orders.push(Order { attack, amount: amount.parse().ok()?, seconds: seconds.parse().ok()? });
            }
        }
    }
    (!orders.is_empty()).then_some((hints, orders))
}

/// One write, which nothing of others comes into.
fn say(line: &Line) {
    let Ok(text) = serde_json::to_string(line) else { return };
    // Who does not listen any more is gone, which is noticed elsewhere.
    let _ = std::io::stdout().lock().write_all(format!("{MARK}{text}\n").as_bytes());
    let _ = std::io::stdout().flush();
}

/// What the auditor says.
struct Ear {
    last: Instant,
    heard_go: bool,
    is_over: bool,
}

impl Ear {
    fn new() -> Self {
        Self { last: Instant::now(), heard_go: false, is_over: false }
    }

    /// Listens for so long; whether the auditor is gone, or done.
    fn is_alone(&mut self, milliseconds: i64) -> bool {
        let stdin = rustix::stdio::stdin();
        let time = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        if poll(&mut fds, Some(&time)).is_ok_and(|count| count > 0) {
            let mut room = [0; 256];
            match rustix::io::read(stdin, &mut room) {
                Ok(0) => self.is_over = true,
                Ok(count) => room[..count].iter().for_each(|byte| self.hear(*byte)),
                Err(_) => {}
            }
        }
        self.is_over || self.last.elapsed() > SILENCE
    }

    fn hear(&mut self, byte: u8) {
        self.last = Instant::now();
        match byte {
            GO => self.heard_go = true,
            END => self.is_over = true,
            // A beat, or the end of a line.
            BEAT => {}
            _ => {}
        }
    }
}

/// One attack, from the outside.
struct Watch {
    order: Order,
    cell: Cell,
    shared: Shared,
    child: i32,
}

impl Watch {
    /// Whether the next one may follow. What an attack has taken it holds until the auditor has looked, in a
    /// process that is told by `children`; questions hold nothing.
    fn run(mut self, ear: &mut Ear, children: &mut Vec<i32>) -> bool {
        let seconds = self.order.seconds as u32 + 60;
        match bound_child(seconds, || attack(self.order, &mut self.cell, self.shared)) {
            Ok(child) => self.child = child,
            Err(cause) => {
                self.over(Why::Failed, format!("fork: {cause}"));
                return true;
            }
        }
        let mut told = Instant::now();
        while !self.is_told() {
            if ear.is_alone(5) {
                children.push(self.child);
                return false;
            }
            if let Some(code) = self.ended(children) {
                // It may have told and ended in between.
                if !self.is_told() {
                    let (why, detail) = ended(self.order.attack, code);
                    self.over(why, detail);
                }
                return true;
            }
            if told.elapsed() > TELLS {
                told = Instant::now();
                say(&Line::Got { attack: self.order.attack.name.to_owned(), got: self.cell.got() });
            }
        }
        if self.order.attack.judge == Judge::Refused {
            end(self.child);
        } else {
            children.push(self.child);
        }
        true
    }

    fn is_told(&self) -> bool {
        self.shared.number(TOLD).load(Ordering::Acquire) != 0
    }

    fn over(&self, stop: Why, detail: String) {
        let attack = self.order.attack.name.to_owned();
        say(&Line::Over(Over { attack, got: self.cell.got(), stop, detail }));
    }

    /// The exit code of the attacking child, once it has ended; orphans are reaped meanwhile. The numbers of
    /// those are no children's any more.
    fn ended(&self, children: &mut Vec<i32>) -> Option<i32> {
        while let Ok(Some((pid, code))) = reap(-1, false) {
            if pid == self.child {
                return Some(code);
            }
            children.retain(|child| *child != pid);
        }
        None
    }
}

/// What it means that an attack has ended with this code before it has told anything.
fn ended(attack: &Attack, code: i32) -> (Why, String) {
    match code {
        KILLED => (Why::Killed, format!("ended with {code}")),
        // A filter that ends who calls refuses the call.
        FILTERED if attack.judge == Judge::Refused => (Why::Refused, "SIGSYS".to_owned()),
        _ => (Why::Failed, format!("ended with {code}")),
    }
}

/// In the child: attacks, tells, and holds what it took.
fn attack(order: Order, cell: &mut Cell, shared: Shared) -> i32 {
    let stop = (order.attack.act)(cell);
    let (why, detail) = stop.told();
    let attack = order.attack.name.to_owned();
    say(&Line::Over(Over { attack, got: cell.got(), stop: why, detail }));
    shared.number(TOLD).store(1, Ordering::Release);
    hold()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ended_by_a_filter_is_refused() {
        let of = |name, code| ended(attacks::find(name).expect("an attack"), code).0;
        assert_eq!((of("mount", 159), of("pages", 159)), (Why::Refused, Why::Failed));
        assert_eq!((of("mount", 139), of("pages", 137)), (Why::Failed, Why::Killed));
    }

    #[test]
    fn orders_are_understood() {
        let words = ["--token", "x", "--pid", "7", "pages=1024:2.5", "mount=1:2"].map(str::to_owned);
        let (hints, orders) = understood(&words).expect("orders");
        assert_eq!((hints.pid, orders.len(), orders[0].amount), (7, 2, 1024));
        let sweep = understood(&["sweep=1:5".to_owned()]).expect("the sweep");
        assert_eq!(sweep.1[0].attack.name, "sweep");
        assert!(attacks::find("sweep").is_none());
        for bad in [&["memory"][..], &["nothing=1:1"], &["--pid", "x"], &[]] {
            let words: Vec<String> = bad.iter().map(|word| (*word).to_owned()).collect();
            assert!(understood(&words).is_none(), "{bad:?}");
        }
    }
}
