//! Looks at the host all the time, keeps what it saw, and ends an attack that comes too near.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disks::Disk;
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
    /// What he can write to.
    disks: Vec<Disk>,
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
    /// These are the disks that it can write to.
    pub fn arm(&self, attacker: OwnedFd, disks: Vec<Disk>) {
        if let Ok(mut guard) = self.shared.guard.lock() {
            *guard = Guard { attacker: Some(attacker), disks, passed: None };
        }
    }

    /// No more, after a last look: an attack may be over between two. The line that was passed, if any.
    pub fn disarm(&self) -> Option<Gauge> {
        self.shared.defend(&self.shared.readings());
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
            let readings = self.readings();
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

    fn readings(&self) -> Vec<(Gauge, Reading)> {
        ALL.into_iter().filter_map(|gauge| Some((gauge, self.gauges.read(gauge)?))).collect()
    }

    fn defend(&self, readings: &[(Gauge, Reading)]) {
        let is_beyond = |(gauge, reading): &(Gauge, Reading)| {
            reading.total > 0 && reading.used > self.gauges.line(*gauge, reading.total)
        };
        let Ok(mut guard) = self.guard.lock() else { return };
        let Some(attacker) = &guard.attacker else { return };
        let passed = readings.iter().find(|one| is_beyond(one)).map(|(gauge, _)| *gauge);
        let passed = passed.or_else(|| guard.disks.iter().find_map(Disk::lacks));
        if passed.is_none() {
            return;
        }
        // It may have ended by itself; by this nobody else is hit.
        let _ = sys::process::send_signal(attacker.as_fd(), 9);
        guard.passed = guard.passed.or(passed);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // A thread that only looks does not fail.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    /// A process that waits, and what came of it.
    fn guarded(disks: Vec<Disk>, gauges: Gauges) -> (Option<Gauge>, Option<i32>) {
        let watcher = Watcher::start(gauges);
        let mut child = std::process::Command::new("sleep").arg("20").spawn().expect("sleep");
        let pid = rustix::process::Pid::from_child(&child);
        let held = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
        watcher.arm(held, disks);
        // At once: only the last look can have seen it.
        let passed = watcher.disarm();
        if passed.is_none() {
            child.kill().expect("kill");
        }
        (passed, child.wait().expect("wait").signal())
    }

    #[test]
    fn whoever_fills_a_disk_that_he_can_write_to_is_seen_at_the_last_look() {
        let tmp = std::env::temp_dir();
        let disk = Disk::of(&tmp).expect("a disk");
        let gauges = Gauges::new(&tmp);
        assert_eq!(guarded(vec![disk.clone()], gauges.clone()).0, None);
        let full = disk.beyond_its_line();
        assert_eq!(guarded(vec![disk, full], gauges), (Some(Gauge::Disk), Some(9)));
    }
}
