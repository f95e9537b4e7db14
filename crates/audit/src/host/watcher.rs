//! Looks at the host all the time, keeps what it saw, and ends an attack that comes too near.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::gauges::{ALL, Gauges, Reading};
use crate::attack::Gauge;
use crate::neighbour::now;

/// Between two looks.
const EACH: Duration = Duration::from_millis(25);
/// So many looks are kept as one point of the picture.
const KEPT: u32 = 4;

/// What was seen at one moment.
#[derive(Debug, Clone)]
pub struct Look {
    /// In microseconds of the monotonic clock.
    pub at: u64,
    /// Every gauge that could be read.
    pub readings: Vec<(Gauge, Reading)>,
}

/// Looks, in a thread of its own.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    gauges: Gauges,
    over: AtomicBool,
    looks: Mutex<Vec<Look>>,
    guard: Mutex<Guard>,
}

/// Whom to end when a line is passed, and which line that was.
#[derive(Debug, Default)]
struct Guard {
    attacker: Option<OwnedFd>,
    passed: Option<Gauge>,
}

impl Watcher {
    /// Begins.
    pub fn start(gauges: Gauges) -> Self {
        let shared = Arc::new(Shared {
            gauges,
            over: AtomicBool::new(false),
            looks: Mutex::new(Vec::new()),
            guard: Mutex::new(Guard::default()),
        });
        let own = Arc::clone(&shared);
        Self { shared, thread: Some(std::thread::spawn(move || own.watch())) }
    }

    /// From now on ends this process, the first of a container, when the host has too little left.
    pub fn arm(&self, attacker: OwnedFd) {
        if let Ok(mut guard) = self.shared.guard.lock() {
            *guard = Guard { attacker: Some(attacker), passed: None };
        }
    }

    /// No more; the line that was passed, if any.
    pub fn disarm(&self) -> Option<Gauge> {
        let mut guard = self.shared.guard.lock().ok()?;
        guard.attacker = None;
        guard.passed.take()
    }

    /// The line that was passed.
    pub fn passed(&self) -> Option<Gauge> {
        self.shared.guard.lock().ok()?.passed
    }

    /// All that was seen.
    pub fn looks(&self) -> Vec<Look> {
        self.shared.looks.lock().map(|looks| looks.clone()).unwrap_or_default()
    }
}

impl Shared {
    fn watch(&self) {
        let mut count = 0_u32;
        while !self.over.load(Ordering::Relaxed) {
            let readings: Vec<_> =
                ALL.into_iter().filter_map(|gauge| Some((gauge, self.gauges.read(gauge)?))).collect();
            self.defend(&readings);
            if count % KEPT == 0 {
                if let Ok(mut looks) = self.looks.lock() {
                    looks.push(Look { at: now(), readings });
                }
            }
            count += 1;
            std::thread::sleep(EACH);
        }
    }

    fn defend(&self, readings: &[(Gauge, Reading)]) {
        let beyond = |(gauge, reading): &&(Gauge, Reading)| {
            reading.total > 0 && reading.used > self.gauges.line(*gauge, reading.total)
        };
        let Ok(mut guard) = self.guard.lock() else { return };
        let (Some(attacker), Some((gauge, _))) = (&guard.attacker, readings.iter().find(beyond)) else {
            return;
        };
        // It may have ended by itself; by this nobody else is hit.
        let _ = sys::process::send_signal(attacker.as_fd(), 9);
        guard.passed = Some(*gauge);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // A thread that only looks does not fail.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
