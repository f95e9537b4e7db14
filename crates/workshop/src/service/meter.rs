//! What a service uses, looked at again and again while it runs, by a thread of its own: whoever
//! drives the service waits for other things.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cgroup::Group;
use cgroup::figures::Meter;
use spec::observation::{Curve, Point, Used};

/// Between two looks at first: many services are ready in a few of these.
const PACE: Duration = Duration::from_millis(20);

/// How long that is so.
const BEGINNING: Duration = Duration::from_secs(10);

/// From then on.
const CALM: Duration = Duration::from_millis(100);

const SECOND: u64 = 1000;

/// Looks until it is told to stop.
pub struct Looker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Over time.
    pub curve: Curve,
    /// In sum; only what looking tells.
    pub used: Used,
}

impl Looker {
    /// Begins to look at a group. Without a thread nothing is seen, and nobody is kept from testing.
    pub fn start(group: &Group) -> Self {
        let (meter, (stop, stopped)) = (Meter::of(group), channel());
        let look = move || watch(&meter, &stopped);
        let thread = std::thread::Builder::new().name("tsubo-looker".to_owned()).spawn(look).ok();
        Self { stop: Some(stop), thread }
    }

    /// What was seen until now, and no more is.
    pub fn finish(&mut self) -> Seen {
        drop(self.stop.take());
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.finish();
    }
}

fn watch(meter: &Meter, stopped: &Receiver<()>) -> Seen {
    let (begun, mut seen, mut busy) = (Instant::now(), Seen::default(), Busy::default());
    // What the first process used before it became the service is the runtime's.
    let before = meter.cpu_time().unwrap_or(0);
    loop {
        let pace = if begun.elapsed() < BEGINNING { PACE } else { CALM };
        let last = stopped.recv_timeout(pace) != Err(RecvTimeoutError::Timeout);
        look(meter, begun, before, &mut seen, &mut busy);
        if last {
            seen.used.steady = seen.curve.steady();
            return seen;
        }
    }
}

fn look(meter: &Meter, begun: Instant, before: u64, seen: &mut Seen, busy: &mut Busy) {
    let figures = meter.read();
    let millis = begun.elapsed().as_millis() as u64;
    let tasks = figures.pids.current.unwrap_or(0);
    let memory = figures.memory.usage.unwrap_or(0);
    let cpu = figures.cpu.usage.map_or(0, |nanos| nanos.saturating_sub(before) / 1_000_000);
    if figures.pids.current == Some(0) {
        // It has ended by itself.
        return;
    }
    seen.curve.add(Point { millis, memory, tasks, cpu });
    let used = &mut seen.used;
    used.busiest = used.busiest.max(busy.add(millis, cpu));
    used.peak.memory = used.peak.memory.max(memory);
    used.peak.tasks = used.peak.tasks.max(tasks);
    (used.cpu, used.millis) = (cpu, millis);
    let written = figures.io.unwrap_or_default().iter().map(|device| device.written_bytes).sum();
    used.written = used.written.max(written);
}

/// The looks of the last second.
#[derive(Default)]
struct Busy(VecDeque<(u64, u64)>);

impl Busy {
    /// The processor time since a second ago, in a run that is as old.
    fn add(&mut self, millis: u64, cpu: u64) -> u64 {
        while self.0.get(1).is_some_and(|(at, _)| at + SECOND <= millis) {
            self.0.pop_front();
        }
        self.0.push_back((millis, cpu));
        let (first, had) = self.0.front().copied().unwrap_or_default();
        let time = millis.saturating_sub(first).max(1);
        let used = cpu.saturating_sub(had);
        // Of a run that is over before, what it used; of looks that came late, no more than their part.
        if time <= SECOND { used } else { used * SECOND / time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_found_wherever_it_is() {
        let mut busy = Busy::default();
        // Idle for two seconds, busy on two processors for half of one, idle again.
        let cpu = |millis: u64| (millis.clamp(2000, 2500) - 2000) * 2;
        let most = (0..250).map(|look| busy.add(look * 20, cpu(look * 20))).max();
        assert_eq!(most, Some(1000));
        assert!(busy.0.len() < 60);
        let mut late = Busy::default();
        assert_eq!((late.add(0, 0), late.add(4000, 4000)), (0, 1000));
    }

    #[test]
    fn this_programs_own_group_can_be_looked_at() {
        let id = spec::Id::from_bytes([0xee, 7, 7, 7, 7, std::process::id() as u8]);
        let Ok(Some(group)) = Group::create(id) else {
            eprintln!("SKIPPED: no control groups can be made here");
            return;
        };
        let mut looker = Looker::start(&group);
        std::thread::sleep(2 * PACE);
        let seen = looker.finish();
        group.remove().expect("removed");
        // Nobody was in it.
        assert!(seen.used.peak.tasks == 0, "{seen:?}");
    }
}
