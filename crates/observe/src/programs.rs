//! Which program a process is running.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD};
use spec::RootPath;

use crate::mounts::{Meta, link};

/// A program's number in this run.
pub(crate) type Program = u32;

/// How long a process is believed to run what it ran. Numbers of processes are not given again
/// within that time; an exec announces itself.
const BELIEVED: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Entry {
    program: Option<Program>,
    read: Instant,
    /// An exec was let go at this moment and may not have happened yet.
    exec: Option<(Instant, Program)>,
}

/// The programs of all processes seen.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    names: Vec<String>,
    numbers: HashMap<Vec<u8>, Program>,
    processes: HashMap<i32, Entry>,
    /// The path of our own program.
    own: Option<Vec<u8>>,
}

impl Programs {
    /// What process `pid` runs now; what it ran last if it is gone; None if it was never seen.
    pub(crate) fn of(&mut self, pid: i32) -> Option<Program> {
        let now = Instant::now();
        let exec = self.processes.get(&pid).and_then(|entry| entry.exec);
        let pending = exec.is_some_and(|(at, _)| now.duration_since(at) < BELIEVED);
        if let Some(entry) = self.processes.get(&pid)
            && entry.program.is_some()
            && !pending
            && now.duration_since(entry.read) < BELIEVED
        {
            return entry.program;
        }
        match link(&format!("/proc/{pid}/exe")) {
            // The runtime's own child has a program outside the root until it executes one inside.
            Some(path) if path.starts_with(b"/") && path != b"/" && !self.is_own(pid, &path) => {
                let program = Some(self.number(path.strip_suffix(b" (deleted)").unwrap_or(&path)));
                let exec = exec.filter(|_| pending);
                self.processes.insert(pid, Entry { program, read: now, exec });
                program
            }
            _ => exec
                .map(|(_, program)| program)
                .or_else(|| self.processes.get(&pid).and_then(|entry| entry.program)),
        }
    }

    /// Process `pid` is about to execute `path`.
    pub(crate) fn executes(&mut self, pid: i32, path: &RootPath) {
        let program = self.number(path.as_bytes());
        let now = Instant::now();
        let entry = self.processes.entry(pid).or_insert(Entry { program: None, read: now, exec: None });
        entry.exec = Some((now, program));
    }

    /// Names by number.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Before its first exec, the container's first process runs our own program: that is none of
    /// the image, even if the image has one at the same path.
    fn is_own(&mut self, pid: i32, path: &[u8]) -> bool {
        let own = self.own.get_or_insert_with(|| link("/proc/self/exe").unwrap_or_default());
        let program = |process: &str| Meta::at(CWD, format!("/proc/{process}/exe"), AtFlags::empty()).ok();
        own == path && program("self") == program(&pid.to_string())
    }

    fn number(&mut self, path: &[u8]) -> Program {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        let name = RootPath::normalise(path).unwrap_or_else(RootPath::root).to_string();
        let number = self.names.len() as Program;
        self.names.push(name);
        self.numbers.insert(path.to_vec(), number);
        number
    }
}
