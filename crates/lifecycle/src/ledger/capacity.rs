//! How many more there is room for, and what runs out first: what is promised, and what is in use at
//! this moment. This looks at everything, and takes its time: it decides about no start.

use std::fs;
use std::time::{Duration, Instant};

use cgroup::figures::Meter;
use serde::Serialize;
use spec::{Promise, Result};

use super::{Entry, Ledger, Room};
use crate::figures::Host;
use crate::record::Status;
use crate::{Containers, Home};

/// For so long the processors are watched.
const WATCHED: Duration = Duration::from_millis(200);

/// What one more container takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Each {
    /// What it would be promised.
    pub promise: Promise,
    /// Files that it has open, as far as is known.
    pub files: u64,
}

/// One thing that can run out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `memory`, `processes`, `disk`, `processor`, `files`.
    pub resource: &'static str,
    /// `bytes`, `tasks`, `thousandths` of a processor, `descriptors`.
    pub unit: &'static str,
    /// What the host has.
    pub host: Option<u64>,
    /// What of it containers may have together.
    pub room: Option<u64>,
    /// What is promised to those that run.
    pub promised: Option<u64>,
    /// What everybody uses now.
    pub in_use: Option<u64>,
    /// What can be given away now: neither promised nor in use.
    pub free: Option<u64>,
    /// What one more takes.
    pub each: Option<u64>,
    /// For so many that is enough.
    pub fits: Option<u64>,
    /// So many would be let in: promises alone count there.
    pub let_in: Option<u64>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// So many more fit; None where nothing is known of what one takes.
    pub fits: Option<u64>,
    /// What runs out first.
    pub first: Option<&'static str>,
    /// So many more would be let in.
    pub let_in: Option<u64>,
    /// Containers that are promised something.
    pub containers: usize,
    /// Resource by resource.
    pub resources: Vec<Row>,
}

/// What is in use.
#[derive(Debug, Clone, Default)]
struct Now {
    host: Host,
    /// All that the kernel could make.
    most_tasks: u64,
    tasks: Option<u64>,
    /// Open files, and the most there may be.
    files: Option<(u64, u64)>,
    /// Thousandths of a processor.
    cpu: Option<u64>,
    /// What containers that are promised something use.
    taken: Promise,
    /// Promised, and not in use yet: it is not free, though it looks so.
    untaken: Promise,
}

impl Capacity {
    /// Looks at the host and at all that run on it.
    ///
    /// # Errors
    /// When the ledger or the containers cannot be read.
    pub fn now(home: &Home, each: Option<Each>) -> Result<Self> {
        let room = Room::now(home)?;
        let (begun, before) = (Instant::now(), Host::now(home.lib()));
        let (taken, untaken) = taken(&Ledger::of(home).entries()?, &Containers::of(home))?;
        std::thread::sleep(WATCHED.saturating_sub(begun.elapsed()));
        let host = Host::now(home.lib());
        let busy = host.cpu_busy.zip(before.cpu_busy).map(|(now, before)| now.saturating_sub(before));
        let cpu = busy.map(|busy| busy * 1000 / begun.elapsed().as_nanos().max(1) as u64);
        // Neither what has just begun counts, nor what has just ended.
        let load = host.load.map(|[minute, ..]| (minute * 1000.0) as u64);
        let cpu = cpu.map(|cpu| load.map_or(cpu, |load| load.min(cpu)));
        let most_tasks = cgroup::Room::of_host().tasks;
        let now = Now { host, most_tasks, tasks: tasks(), files: files(), cpu, taken, untaken };
        Ok(Self::of(&room, &now, each))
    }

    fn of(room: &Room, now: &Now, each: Option<Each>) -> Self {
        let resources = rows(room, now, each.unwrap_or_default());
        let known = resources.iter().filter_map(|row| Some((row.fits?, row.resource)));
        let least = known.min_by_key(|(fits, _)| *fits);
        let let_in = resources.iter().filter_map(|row| row.let_in).min();
        Self {
            fits: least.map(|(fits, _)| fits),
            first: least.map(|(_, resource)| resource),
            let_in,
            containers: room.containers,
            resources,
        }
    }
}

fn rows(room: &Room, now: &Now, each: Each) -> Vec<Row> {
    let Room { bounds, promised, .. } = room;
    let Now { host, most_tasks, taken, untaken, .. } = now;
    let total = host.memory.total;
    let available = total
        .zip(host.memory.used())
        .map(|(total, used)| left(total, bounds.memory, used, taken.memory, untaken.memory));
    let left = now.tasks.map(|used| left(*most_tasks, bounds.tasks, used, taken.tasks, untaken.tasks));
    let processors = u64::from(host.processors) * 1000;
    let memory = Row {
        resource: "memory",
        unit: "bytes",
        host: total,
        in_use: host.memory.used(),
        ..promised_row(bounds.memory, promised.memory, available, each.promise.memory)
    };
    let tasks = Row {
        resource: "processes",
        unit: "tasks",
        host: Some(*most_tasks),
        in_use: now.tasks,
        ..promised_row(bounds.tasks, promised.tasks, left, each.promise.tasks)
    };
    let disk = Row {
        resource: "disk",
        unit: "bytes",
        host: host.disk.as_ref().and_then(|disk| disk.size),
        in_use: host.disk.as_ref().map(|disk| disk.used),
        ..promised_row(bounds.disk, promised.disk, None, each.promise.disk)
    };
    let cpu = Row {
        resource: "processor",
        unit: "thousandths",
        host: Some(processors),
        room: Some(processors),
        promised: Some(promised.cpu),
        in_use: now.cpu,
        ..free_row(Some(processors.saturating_sub(promised.cpu.max(now.cpu.unwrap_or(0)))), each.promise.cpu)
    };
    let files = Row {
        resource: "files",
        unit: "descriptors",
        host: now.files.map(|(_, most)| most),
        room: now.files.map(|(_, most)| most),
        in_use: now.files.map(|(used, _)| used),
        ..free_row(now.files.map(|(used, most)| most.saturating_sub(used)), each.files)
    };
    vec![memory, tasks, disk, cpu, files]
}

/// What is left of all when everybody takes what was promised; others go on using what they use, and
/// the host itself has what is kept for it.
fn left(all: u64, room: u64, used: u64, taken: u64, untaken: u64) -> u64 {
    let others = used.saturating_sub(taken).max(all.saturating_sub(room));
    all.saturating_sub(others).saturating_sub(taken).saturating_sub(untaken)
}

/// Of something that is promised; `available` is what is not in use of it, where that counts too.
fn promised_row(room: u64, promised: u64, available: Option<u64>, each: u64) -> Row {
    let left = room.saturating_sub(promised);
    let free = available.map_or(left, |available| available.min(left));
    let let_in = (each > 0).then(|| left / each);
    Row { room: Some(room), promised: Some(promised), let_in, ..free_row(Some(free), each) }
}

fn free_row(free: Option<u64>, each: u64) -> Row {
    let each = (each > 0).then_some(each);
    Row { free, each, fits: free.zip(each).map(|(free, each)| free / each), ..Row::default() }
}

/// What running containers use of what they were promised, or beyond, and what they do not use yet.
/// Page cache that nobody needs counts as available, so only what they cannot do without is theirs.
fn taken(entries: &[Entry], containers: &Containers) -> Result<(Promise, Promise)> {
    let (mut taken, mut untaken) = (Promise::default(), Promise::default());
    for one in containers.list()? {
        let Some(entry) = entries.iter().find(|entry| entry.id == one.id()) else { continue };
        let Status::Running(state) = one.status()? else { continue };
        let figures = state.group.as_ref().map(|group| Meter::of(group).read()).unwrap_or_default();
        let memory = figures.memory.working_set.unwrap_or(0);
        let tasks = figures.pids.current.unwrap_or(0);
        taken = taken.plus(Promise { memory, tasks, ..Promise::default() });
        untaken = untaken.plus(Promise {
            memory: entry.promise.memory.saturating_sub(memory),
            tasks: entry.promise.tasks.saturating_sub(tasks),
            ..Promise::default()
        });
    }
    Ok((taken, untaken))
}

/// `0.20 0.18 0.12 1/80 11206`: those that run, of all there are.
fn tasks() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').nth(3)?.split('/').nth(1)?.parse().ok()
}

/// `1504 0 9223372036854775807`: open, unused, at most.
fn files() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut words = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let (open, unused, most) = (words.next()?, words.next()?, words.next()?);
    Some((open.saturating_sub(unused), most))
}

#[cfg(test)]
mod tests {
    use super::super::Bounds;
    use super::*;
    use crate::figures::HostMemory;

    const GIB: u64 = 1 << 30;

    fn room(memory: u64, tasks: u64) -> Room {
        let promised = Promise { memory, tasks, disk: 0, cpu: 500 };
        Room { bounds: Bounds { memory: 15 * GIB, tasks: 3000, disk: 100 * GIB }, promised, containers: 3 }
    }

    fn now(available: u64) -> Now {
        let memory =
            HostMemory { total: Some(16 * GIB), available: Some(available), ..HostMemory::default() };
        let host = Host { processors: 4, memory, ..Host::default() };
        // Of five gibibytes that are promised one is not used yet.
        let taken = Promise { memory: 4 * GIB, tasks: 5, ..Promise::default() };
        let untaken = Promise { memory: GIB, tasks: 5, ..Promise::default() };
        let (files, cpu) = (Some((100, 1100)), Some(300));
        Now { host, most_tasks: 4000, tasks: Some(200), files, cpu, taken, untaken }
    }

    fn each(memory: u64, tasks: u64, cpu: u64, files: u64) -> Option<Each> {
        Some(Each { promise: Promise { memory, tasks, disk: 0, cpu }, files })
    }

    #[test]
    fn what_runs_out_first_decides() {
        let told = |each| {
            let capacity = Capacity::of(&room(5 * GIB, 1000), &now(12 * GIB), each);
            (capacity.fits, capacity.first)
        };
        assert_eq!(told(each(2 * GIB, 10, 1, 1)), (Some(5), Some("memory")));
        assert_eq!(told(each(GIB, 500, 1, 1)), (Some(4), Some("processes")));
        assert_eq!(told(each(1, 1, 1500, 1)), (Some(2), Some("processor")));
        assert_eq!(told(each(1, 1, 0, 334)), (Some(2), Some("files")));
        assert_eq!(told(each(0, 0, 0, 0)), (None, None));
        assert_eq!(told(None), (None, None));
    }

    #[test]
    fn what_others_use_now_counts_and_is_told_apart() {
        // Others use 8 of 16 gibibytes, which is more than is kept for the host.
        let capacity = Capacity::of(&room(5 * GIB, 0), &now(4 * GIB), each(GIB, 0, 0, 0));
        assert_eq!((capacity.fits, capacity.let_in), (Some(3), Some(10)));
        let memory = &capacity.resources[0];
        assert_eq!((memory.free, memory.in_use), (Some(3 * GIB), Some(12 * GIB)));
        // On an idle host both are the same.
        let capacity = Capacity::of(&room(5 * GIB, 0), &now(12 * GIB), each(GIB, 0, 0, 0));
        assert_eq!((capacity.fits, capacity.let_in), (Some(10), Some(10)));
    }

    #[test]
    fn this_host_has_some() {
        assert!(tasks() > Some(10));
        assert!(files().is_some_and(|(used, most)| 0 < used && used < most));
    }
}
