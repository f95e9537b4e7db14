//! Kills what does not end: a benchmark must, also where what it measures hangs.

use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// A command that takes longer has hung.
const LIMIT: Duration = Duration::from_secs(60);

/// Watches over one command at a time, or several.
pub(super) struct Watchdog(Sender<Vec<u32>>);

impl Watchdog {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel::<Vec<u32>>();
        thread::spawn(move || {
            let mut watched = Vec::new();
            loop {
                match receiver.recv_timeout(LIMIT) {
                    Ok(now) => watched = now,
                    Err(RecvTimeoutError::Timeout) => kill(&std::mem::take(&mut watched)),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self(sender)
    }

    /// These are running now, or none.
    pub(super) fn watch(&self, pids: Vec<u32>) {
        // The thread ends with us and not before.
        let _ = self.0.send(pids);
    }
}

fn kill(pids: &[u32]) {
    for pid in pids {
        eprintln!("x timer: process {pid} has run for {LIMIT:?} and is killed");
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
}
