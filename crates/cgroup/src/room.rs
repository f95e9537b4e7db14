//! How much of this host containers may have, where nobody says anything: no container takes the
//! last of it, nor do all together.

use std::fs;
use std::path::Path;

use spec::resources::{Limit, Memory, Resources};

use crate::group::{Group, PARENT};
use crate::layout::{Layout, NEEDED, Version};
use crate::place::{Placed, enable};
use crate::resources::Now;

/// What is left to the host itself: a sixteenth of its memory, within these bounds.
const LEAST_SPARE: u64 = 128 << 20;
const MOST_SPARE: u64 = 2 << 30;

/// The most tasks of one container, as Podman has it.
const TASKS: u64 = 2048;

/// What a process may open, at the least and at the most.
const LEAST_FILES: u64 = 1024;
const MOST_FILES: u64 = 524_288;

/// What this host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of memory.
    pub memory: u64,
    /// Tasks at once.
    pub tasks: u64,
    /// Open files at once.
    pub files: u64,
}

impl Room {
    /// Asks the kernel.
    pub fn of_host() -> Self {
        let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
        let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
        let tasks = limits.iter().filter_map(|file| number(file)).min().unwrap_or(32_768);
        let info = rustix::system::sysinfo();
        let files = number("/proc/sys/fs/file-max").unwrap_or(u64::MAX);
        Self { memory: info.totalram as u64 * u64::from(info.mem_unit.max(1)), tasks, files }
    }

    /// How many files a process of a container with so many tasks may have open, at the most: all of them
    /// leave the host half of its open files. Few programs go on with less than the least.
    pub fn files_of_each(self, tasks: u64) -> u64 {
        (self.files / 2 / tasks.max(1)).clamp(LEAST_FILES, MOST_FILES)
    }

    /// What one container gets: half of the memory, no swap, and so many tasks that a few
    /// containers cannot take them all.
    pub fn one(self) -> Resources {
        Resources {
            memory: Memory {
                max: Some(Limit::At(pages(self.memory / 2))),
                swap: Some(Limit::At(0)),
                // On version 2 they are counted to its memory.
                tcp: Some(Limit::At(pages(self.memory / 64))),
                ..Memory::default()
            },
            pids: Some(Limit::At(TASKS.min(self.tasks / 8).min(self.files / 2 / LEAST_FILES).max(1))),
            ..Resources::default()
        }
    }

    /// What all together get: everything but what the host itself needs to go on.
    pub fn all(self) -> Resources {
        let spare = (self.memory / 16).clamp(LEAST_SPARE, MOST_SPARE).min(self.memory / 2);
        Resources {
            memory: Memory { max: Some(Limit::At(pages(self.memory - spare))), ..Memory::default() },
            pids: Some(Limit::At((self.tasks / 4 * 3).max(1))),
            ..Resources::default()
        }
    }
}

/// The kernel counts whole pages.
fn pages(bytes: u64) -> u64 {
    bytes & !0xffff
}

impl Room {
    /// Bounds all containers together once more: whoever has made their group may have been killed
    /// before that, or have been of a version that did not.
    pub fn hold() {
        for hierarchy in Layout::detect().into_iter().flat_map(|layout| layout.hierarchies) {
            let parent = hierarchy.own.join(PARENT);
            if parent.is_dir() {
                bound(&hierarchy.own, &parent, hierarchy.version);
            }
        }
    }
}

/// Sets the group that holds those of all containers up: what it passes on, and how much all
/// together may have. What the host does not let be set stays as it is: `tsubo info` tells.
pub(crate) fn bound(own: &Path, parent: &Path, version: Version) {
    if version == Version::Two {
        for directory in [own, parent] {
            let _ = enable::enable(directory, Some(&NEEDED), &std::collections::BTreeSet::new());
        }
    }
    let controllers = match version {
        Version::Two => enable::words(&parent.join("cgroup.controllers")),
        Version::One => ONE
            .iter()
            .filter(|(file, _)| parent.join(file).exists())
            .map(|(_, name)| (*name).to_owned())
            .collect(),
    };
    let group = Group { directories: vec![(version, parent.to_owned())], controllers: vec![controllers] };
    if let Ok(placed) = Placed::of(&group) {
        placed.wish(&Now::default(), &Room::of_host().all());
    }
}

/// By which file a hierarchy of version 1 is known.
const ONE: [(&str, &str); 2] = [("memory.limit_in_bytes", "memory"), ("pids.max", "pids")];

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(resources: &Resources) -> u64 {
        resources.memory.max.and_then(Limit::number).expect("a limit")
    }

    #[test]
    fn something_is_always_left() {
        for memory_of_host in [64 << 20, 512 << 20, 8 << 30, 1 << 40] {
            let room = Room { memory: memory_of_host, tasks: 32_768, files: 1 << 40 };
            assert!(memory(&room.one()) <= memory_of_host / 2);
            assert!(memory(&room.all()) < memory_of_host && memory(&room.all()) >= memory(&room.one()));
            assert!(memory_of_host - memory(&room.all()) <= MOST_SPARE + (1 << 16));
        }
        let small = Room { memory: 1 << 30, tasks: 400, files: 200_000 };
        assert_eq!(small.one().pids, Some(Limit::At(50)));
        assert_eq!(small.all().pids, Some(Limit::At(300)));
        let few = Room { tasks: 32_768, files: 1_000_000, ..small };
        let tasks = few.one().pids.and_then(Limit::number).expect("a limit");
        assert!(tasks * few.files_of_each(tasks) <= 500_000 && tasks > 450, "{tasks}");
        assert_eq!(few.files_of_each(64), 7812);
        assert_eq!(Room { files: u64::MAX, ..few }.files_of_each(2048), MOST_FILES);
    }

    #[test]
    fn this_host_has_some() {
        let room = Room::of_host();
        assert!(room.memory > 16 << 20 && room.tasks > 100, "{room:?}");
        room.one().check().expect("valid");
        room.all().check().expect("valid");
    }
}
