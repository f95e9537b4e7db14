//! One container with the attacker in it, from its start to its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use spec::{Error, Result};

use super::runtime::{Runtime, Target};
use crate::speech::{BEAT, END, GO, Line, MARK};

/// A container may take so long to come to life.
const START: Duration = Duration::from_secs(30);
/// And to go.
const FINISH: Duration = Duration::from_secs(10);
/// Between two beats.
const EACH: Duration = Duration::from_millis(500);
/// Of what it says beside its lines, the last is kept.
const TAIL: usize = 2048;

/// A container that runs the attacker.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// The attacker's number on this host.
    pub pid: i32,
    runtime: Runtime,
    child: Child,
    stdin: Arc<Mutex<Option<ChildStdin>>>,
    lines: Receiver<Line>,
    tail: Arc<Mutex<Vec<u8>>>,
    over: Arc<AtomicBool>,
    is_gone: bool,
}

impl Session {
    /// Starts it, and waits until the attacker waits for the word.
    ///
    /// # Errors
    /// The container does not come to life: what its runtime says of that.
    pub fn start(runtime: &Runtime, name: &str, target: &Target, orders: &[String]) -> Result<Self> {
        let mut words = vec!["--token".to_owned(), name.to_owned()];
        words.extend_from_slice(orders);
        let mut child = runtime.run(name, target, &words)?.spawn().map_err(|cause| runtime.missing(cause))?;
        let (tell, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
                let lines =
                    lines.filter_map(|line| serde_json::from_str(line.trim().strip_prefix(MARK)?).ok());
                // Who does not listen any more has ended the container.
                lines.take_while(|line: &Line| tell.send(line.clone()).is_ok()).for_each(drop);
            });
        }
        let tail = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let tail = Arc::clone(&tail);
            std::thread::spawn(move || keep_tail(stderr, &tail));
        }
        let stdin = Arc::new(Mutex::new(child.stdin.take()));
        let over = Arc::new(AtomicBool::new(false));
        beat(&stdin, &over);
        let (runtime, name) = (runtime.clone(), name.to_owned());
        let mut session = Self { name, pid: 0, runtime, child, stdin, lines, tail, over, is_gone: false };
        session.wait_until_ready()?;
        session.pid = found(&session.name).ok_or_else(|| {
            Error::internal(format!(
                "the attacker of {} is not among the processes of this host",
                session.name
            ))
        })?;
        Ok(session)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        match self.line(START) {
            Some(Line::Ready) => Ok(()),
            _ => {
                let said = self.said();
                let word = self.runtime.kind.word();
                Err(Error::failed(format!("{word} did not run the attacker: {}", said.trim())))
            }
        }
    }

    /// What it, or its runtime, has said last beside the lines.
    pub fn said(&self) -> String {
        // What was said at the end may still be on its way.
        std::thread::sleep(Duration::from_millis(50));
        let tail = self.tail.lock().map(|tail| tail.clone()).unwrap_or_default();
        String::from_utf8_lossy(&tail).into_owned()
    }

    /// A descriptor of the attacker, by which nobody else is hit.
    pub fn pidfd(&self) -> Option<OwnedFd> {
        pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()
    }

    /// The next line; None when the time is over, or nothing will come any more.
    pub fn line(&mut self, within: Duration) -> Option<Line> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.is_gone = true;
                None
            }
        }
    }

    /// Whether nothing will come any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Begin.
    pub fn go(&self) {
        say(&self.stdin, GO);
    }

    /// Ends it; whether that took no longer than it should.
    pub fn end(mut self) -> bool {
        say(&self.stdin, END);
        self.over.store(true, Ordering::Relaxed);
        self.is_ended_within(FINISH)
    }

    /// Whether it was ended by SIGKILL, as its runtime tells.
    pub fn was_killed(&mut self) -> bool {
        self.is_ended_within(FINISH)
            && matches!(self.child.try_wait(), Ok(Some(status)) if status.code() == Some(128 + 9))
    }

    /// Waits for its end.
    pub fn is_ended_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Ok(mut stdin) = self.stdin.lock() {
            *stdin = None;
        }
        if !self.is_ended_within(Duration::from_secs(3)) {
            self.runtime.remove(&self.name);
            // It may have ended just now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn say(stdin: &Mutex<Option<ChildStdin>>, word: u8) {
    if let Ok(mut stdin) = stdin.lock() {
        // Who does not hear it is gone, which is noticed where lines are read.
        let _ = stdin.as_mut().map(|stdin| stdin.write_all(&[word, b'\n']).and_then(|()| stdin.flush()));
    }
}

/// Beats until it is over; then the other end hears no more, and ends.
fn beat(stdin: &Arc<Mutex<Option<ChildStdin>>>, over: &Arc<AtomicBool>) {
    let (stdin, over) = (Arc::clone(stdin), Arc::clone(over));
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            say(&stdin, BEAT);
            std::thread::sleep(EACH);
        }
    });
}

fn keep_tail(mut from: impl Read, tail: &Mutex<Vec<u8>>) {
    let mut room = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut room) {
        if let Ok(mut tail) = tail.lock() {
            tail.extend_from_slice(&room[..count]);
            let extra = tail.len().saturating_sub(TAIL);
            tail.drain(..extra);
        }
    }
}

/// The process whose words are the attacker's and hold the token; its ancestors have it too, further back.
fn found(token: &str) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"tsubo-attack"))
            && words.next() == Some(b"--token")
            && words.next() == Some(token.as_bytes())
    })
}
