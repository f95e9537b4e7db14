//! How much of the host there is to be promised, and what is missing of it.

use std::path::Path;

use spec::limits::rounded;
use spec::resources::{Limit, Resources};
use spec::{Error, ErrorKind, Name, Promise};

use super::{Answer, Sum};

/// A thing that can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Memory, in bytes.
    Memory,
    /// Processes and threads.
    Tasks,
    /// Room on the disk of the state directory, in bytes.
    Disk,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Tasks, Self::Disk];

    /// In people's words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Tasks => "processes",
            Self::Disk => "disk",
        }
    }

    /// How much of it is in a promise.
    pub fn of(self, promise: &Promise) -> u64 {
        match self {
            Self::Memory => promise.memory,
            Self::Tasks => promise.tasks,
            Self::Disk => promise.disk,
        }
    }

    /// An amount of it, for people.
    pub fn shown(self, amount: u64) -> String {
        match self {
            Self::Memory | Self::Disk => rounded(amount),
            Self::Tasks => amount.to_string(),
        }
    }
}

/// What all containers together may be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: u64,
    /// Tasks.
    pub tasks: u64,
    /// Bytes of the state directory's disk.
    pub disk: u64,
}

impl Bounds {
    /// What control groups hold all containers of this host to, and what is free of the disk of
    /// `state`; that is not asked where nobody wants to know.
    pub fn of_host(state: Option<&Path>) -> Self {
        let Resources { memory, pids, .. } = cgroup::Room::of_host().all();
        let number = |limit: Option<Limit>| limit.and_then(Limit::number).unwrap_or(u64::MAX);
        let disk = state.and_then(|dir| rustix::fs::statvfs(dir).ok());
        Self {
            memory: number(memory.max),
            tasks: number(pids),
            disk: disk.map_or(u64::MAX, |vfs| vfs.f_bavail * vfs.f_frsize),
        }
    }

    /// How much there is of something.
    pub fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Memory => self.memory,
            Kind::Tasks => self.tasks,
            Kind::Disk => self.disk,
        }
    }

    /// What is said to a promise.
    pub(super) fn answer(&self, wanted: Promise, sum: &Sum) -> Answer {
        Kind::ALL
            .into_iter()
            .find_map(|kind| self.short_of(kind, wanted, sum))
            .map_or(Answer::Promised, Answer::Short)
    }

    /// What would be missing. Whoever wants nothing of it, or less than before, breaks no promise.
    fn short_of(&self, kind: Kind, wanted: Promise, sum: &Sum) -> Option<Shortage> {
        let (wants, promised, room) = (kind.of(&wanted), kind.of(&sum.promised), self.of(kind));
        let missing = promised.saturating_add(wants).saturating_sub(room);
        let others = sum.others;
        (missing > 0 && wants > kind.of(&sum.before)).then_some(Shortage {
            kind,
            wants,
            promised,
            room,
            missing,
            others,
        })
    }
}

/// Why something cannot be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(super) kind: Kind,
    wants: u64,
    pub(super) promised: u64,
    room: u64,
    pub(super) missing: u64,
    pub(super) others: usize,
}

impl Shortage {
    /// In words, with the ways out.
    pub(super) fn refusal(&self, name: &Name) -> Error {
        let Self { kind, wants, promised, room, missing, others } = *self;
        let shown = |amount| kind.shown(amount);
        let to = match others {
            0 => "nobody".to_owned(),
            1 => "one running container".to_owned(),
            others => format!("{others} running containers"),
        };
        let of = match kind {
            Kind::Disk => format!("of the {} that are free", shown(room)),
            _ => format!("of the {} that containers have together", shown(room)),
        };
        let told = format!(
            "container {name} takes {} of {}; {of} {} are promised to {to}: {} are missing",
            shown(wants),
            kind.word(),
            shown(promised),
            shown(missing),
        );
        let less = match kind {
            Kind::Memory => "say that it needs less: --memory SIZE",
            Kind::Tasks => "say that it needs fewer: --pids-limit N",
            Kind::Disk => "say that it needs less: --limit disk=SIZE",
        };
        Error::new(ErrorKind::NoRoom, told)
            .hint("tsubo capacity tells what is promised; stop other containers, or")
            .hint(less)
            .hint("--overcommit starts it nevertheless: then not all can have what they were promised")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_is_missing_and_the_ways_out() {
        let bounds = Bounds { memory: 10 << 30, tasks: 100, disk: 5 };
        let sum = Promise { memory: 8 << 30, tasks: 90, disk: 0, cpu: 0 };
        let wants = Promise { memory: 3 << 30, tasks: 1, disk: 0, cpu: 0 };
        let sum = Sum { promised: sum, others: 7, ..Sum::default() };
        let Answer::Short(short) = bounds.answer(wants, &sum) else { panic!("it was promised") };
        let error = short.refusal(&"web".parse().expect("name"));
        assert_eq!(error.kind(), ErrorKind::NoRoom);
        for word in ["web takes 3G of memory", "8G are promised to 7 running", "of the 10G", "1G are missing"]
        {
            assert!(error.chain().contains(word), "{}", error.chain());
        }
        for word in ["--overcommit", "--memory", "tsubo capacity"] {
            assert!(error.hints().iter().any(|hint| hint.contains(word)), "{:?}", error.hints());
        }
        // The disk is short of, but nobody asks for any.
        assert_eq!(bounds.answer(Promise::default(), &sum), Answer::Promised);
    }

    #[test]
    fn this_host_has_some() {
        let bounds = Bounds::of_host(Some(Path::new("/")));
        assert!(
            Kind::ALL.iter().all(|kind| bounds.of(*kind) > 10 && bounds.of(*kind) < u64::MAX),
            "{bounds:?}"
        );
    }
}
