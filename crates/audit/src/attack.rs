//! What an attack is.

use crate::cell::{Cell, Stop};

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Memory, by kind.
    Memory,
    /// Processes and threads.
    Tasks,
    /// Processor time.
    Cpu,
    /// The disk's time.
    Io,
    /// Bytes and files that are kept.
    Storage,
    /// What the kernel counts by user or by host.
    Handles,
    /// Interfaces of the kernel that a container has no business with.
    Kernel,
    /// The network.
    Network,
    /// What of the host can be read.
    Information,
    /// Ways out.
    Escape,
}

impl Family {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Tasks => "tasks",
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Storage => "storage",
            Self::Handles => "handles",
            Self::Kernel => "kernel",
            Self::Network => "network",
            Self::Information => "information",
            Self::Escape => "escape",
        }
    }
}

/// What it takes is counted in these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things, in the plural.
    Things(&'static str),
}

/// Something that the host has so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gauge {
    /// Memory that is available.
    Memory,
    /// Processes and threads.
    Tasks,
    /// Open files.
    Files,
    /// Bytes of the disk that containers are on.
    Disk,
    /// Files on it.
    Inodes,
    /// Pseudo-terminals.
    Terminals,
    /// Events of asynchronous I/O.
    Asynchronous,
    /// Buffers of TCP.
    Tcp,
}

/// A limit of the container that its host can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Of its memory.
    Memory,
    /// Of its processes and threads.
    Tasks,
    /// Of its buffers of TCP.
    Tcp,
    /// None that could be read.
    Unread,
}

/// How far an attack goes, if nobody stops it.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Beyond this limit of the container, where there is one.
    pub own: Own,
    /// Where there is none: so much, which proves that there is none.
    pub proof: u64,
    /// Never so far that the host has too little left of this.
    pub gauge: Option<Gauge>,
    /// Seconds.
    pub seconds: f32,
}

impl Bound {
    /// So much, of what the host has no lack of.
    pub const fn of(proof: u64, seconds: f32) -> Self {
        Self { own: Own::Unread, proof, gauge: None, seconds }
    }

    /// Beyond a limit of the container.
    pub const fn beyond(self, own: Own) -> Self {
        Self { own, ..self }
    }

    /// Not beyond what the host can spare.
    pub const fn within(self, gauge: Gauge) -> Self {
        Self { gauge: Some(gauge), ..self }
    }
}

/// How the verdict is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// Held if something stopped it before its bound.
    Stopped,
    /// Held if what it takes is counted to the container's memory, or something stopped it.
    Counted,
    /// Held if something stopped it and the host can still make one itself.
    Spared(Thing),
    /// Held if a neighbour who wants all processors gets its share.
    Share,
    /// Held if a neighbour's requests and writes take hardly longer.
    Neighbour,
    /// Held if what the host keeps of it is bounded.
    Logs,
    /// Held if it can be ended in time.
    Ends,
    /// Held if it is refused.
    Refused,
}

/// What the host must still be able to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A process.
    Process,
    /// An open file.
    File,
    /// An instance of inotify.
    Inotify,
    /// A watch of inotify.
    Watch,
    /// A pseudo-terminal.
    Terminal,
    /// A key.
    Key,
    /// A message queue with a name.
    Queue,
    /// A message queue with a number.
    Messages,
    /// Semaphores.
    Semaphores,
    /// A context of asynchronous I/O.
    Asynchronous,
    /// A port to listen on.
    Port,
}

/// One attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What it belongs to.
    pub family: Family,
    /// What it does, for people.
    pub what: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How far it goes.
    pub bound: Bound,
    /// How the verdict is made.
    pub judge: Judge,
    /// The line of the definition that mends it.
    pub mend: &'static str,
    /// What the attacker does.
    pub act: fn(&mut Cell) -> Stop,
}

/// Attacks that hold files with names, which stay where a killed one had a directory of the host.
const LEAVES: [&str; 4] = ["disk-names", "disk-files", "tmpfs-files", "attributes"];

impl Attack {
    /// Whether one that is killed may leave files behind, which [`crate::attacks::SWEEP`] removes.
    pub fn leaves_files(&self) -> bool {
        LEAVES.contains(&self.name)
    }

    /// One that is refused, or not.
    const fn question(
        family: Family,
        name: &'static str,
        what: &'static str,
        mend: &'static str,
        act: fn(&mut Cell) -> Stop,
    ) -> Self {
        let (unit, bound, judge) = (Unit::Things("tries"), Bound::of(1, 2.0), Judge::Refused);
        Self { name, family, what, unit, bound, judge, mend, act }
    }
}

/// A question: its name, what it does, what mends it, and how it is asked.
pub type Question = (&'static str, &'static str, &'static str, fn(&mut Cell) -> Stop);

/// Those of a family.
pub const fn questions<const N: usize>(family: Family, rows: [Question; N]) -> [Attack; N] {
    let (name, what, mend, act) = rows[0];
    let mut all = [Attack::question(family, name, what, mend, act); N];
    let mut at = 1;
    while at < N {
        let (name, what, mend, act) = rows[at];
        all[at] = Attack::question(family, name, what, mend, act);
        at += 1;
    }
    all
}
