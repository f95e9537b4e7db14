//! Looks at all containers and their host, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cgroup::figures as group;
use serde::Serialize;
use spec::{Id, Name, Result};

use super::host::Host;
use super::load::Load;
use super::network::{self, Network};
use super::rates::{cpu_percent, per_second, share};
use super::room::{self, Room};
use super::roster::{Member, Roster};
use crate::pinned::Pinned;
use crate::record::{self, Status};
use crate::{Containers, Home, history};

/// One whose figures are read sooner than this after its start has had no load before.
const YOUNG: Duration = Duration::from_secs(10);

/// Everything, at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Between this look and the one before, over which rates are told; None at the first.
    pub interval_seconds: Option<f64>,
    /// The host.
    pub host: Host,
    /// By name.
    pub containers: Vec<Figures>,
}

/// One container.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub id: Id,
    /// What it was made from.
    pub image: String,
    /// In a word or two.
    pub status: String,
    /// Whether it runs.
    pub running: bool,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: Option<u64>,
    /// How often its policy has started it again.
    pub restarts: u32,
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Tasks, and the most there may be.
    pub pids: group::Pids,
    /// Those of them that want a processor or wait for a device.
    pub tasks: Option<group::Tasks>,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// How long somebody waited.
    pub pressure: group::Pressures,
    /// Block devices.
    pub io: Option<Io>,
    /// Network devices, where it has a network namespace of its own.
    pub network: Option<Nic>,
    /// Files that its processes have open.
    pub open_files: Option<u64>,
    /// File systems that are its own.
    pub file_systems: Vec<Room>,
}

/// Processors.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cpu {
    /// As counted.
    #[serde(flatten)]
    pub counts: group::Cpu,
    /// Of one processor.
    pub percent: Option<f64>,
    /// Of what it may use.
    pub percent_of_limit: Option<f64>,
    /// Of all processors of the host.
    pub percent_of_host: Option<f64>,
    /// Of the time of its periods, for which tasks were held.
    pub throttled_percent: Option<f64>,
}

/// Memory.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// As counted.
    #[serde(flatten)]
    pub counts: group::Memory,
    /// The working set, of what it may use.
    pub percent_of_limit: Option<f64>,
    /// The working set, of all memory of the host.
    pub percent_of_host: Option<f64>,
}

/// Block devices.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Io {
    /// Of all devices.
    pub read_bytes: u64,
    /// Of all devices.
    pub written_bytes: u64,
    /// Since the look before.
    pub read_bytes_per_second: Option<f64>,
    /// Since the look before.
    pub written_bytes_per_second: Option<f64>,
    /// Each device.
    pub devices: Vec<group::Io>,
}

/// Network devices.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Nic {
    /// As counted.
    #[serde(flatten)]
    pub counts: Network,
    /// Since the look before.
    pub received_bytes_per_second: Option<f64>,
    /// Since the look before.
    pub sent_bytes_per_second: Option<f64>,
}

/// Remembers what was seen before.
#[derive(Debug)]
pub struct Survey {
    roster: Roster,
    state: PathBuf,
    before: Option<(Instant, Host)>,
    known: BTreeMap<Id, Known>,
}

/// What is remembered of one container.
#[derive(Debug)]
struct Known {
    /// When it was started: the counts of its groups begin anew then.
    started: Option<u64>,
    read: Instant,
    cpu: group::Cpu,
    io: Option<Io>,
    network: Option<Network>,
    load: Load,
}

impl Survey {
    /// Of the containers of a state directory.
    pub fn of(home: &Home) -> Self {
        let roster = Roster::of(Containers::of(home));
        Self { roster, state: home.lib().to_owned(), before: None, known: BTreeMap::new() }
    }

    /// Looks at those that `wanted` wants, by name, id and whether they run.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn look(&mut self, wanted: &dyn Fn(&Name, Id, bool) -> bool) -> Result<Snapshot> {
        self.roster.refresh()?;
        self.forget_lost();
        let (now, time_ms) = (Instant::now(), record::now());
        let mut host = Host::now(&self.state);
        let seconds = self.before.as_ref().map(|(before, _)| now.duration_since(*before).as_secs_f64());
        if let (Some((_, before)), Some(seconds)) = (&self.before, seconds) {
            host.cpu_percent = cpu_percent(before.cpu_busy, host.cpu_busy, seconds);
            let counts = before.network.map(|nic| nic.counts);
            host.network = host.network.map(|nic| Nic::of(nic.counts, counts, seconds));
        }
        let devices = room::devices_of_host();
        let mut known = BTreeMap::new();
        let mut containers = Vec::new();
        let members = self.roster.members().iter();
        for (id, member) in
            members.filter(|(id, member)| wanted(&member.name, **id, member.status.is_running()))
        {
            let before = self.known.remove(id).filter(|before| before.started == started(member));
            let (figures, seen) = look_at(*id, member, before.as_ref(), &host, &devices, &self.state);
            known.insert(*id, seen);
            containers.push(figures);
        }
        self.known = known;
        self.before = Some((now, host.clone()));
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Snapshot { time_ms, interval_seconds: seconds, host, containers })
    }

    /// Those whose groups have gone without a word of their end.
    fn forget_lost(&mut self) {
        let lost = |member: &Member| member.meter.as_ref().is_some_and(|meter| !meter.is_there());
        let members = self.roster.members().iter();
        let lost: Vec<Id> = members.filter(|(_, member)| lost(member)).map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.roster.read_again(id));
    }
}

fn started(member: &Member) -> Option<u64> {
    match &member.status {
        Status::Running(running) => Some(running.started),
        _ => None,
    }
}

fn look_at(
    id: Id,
    member: &Member,
    before: Option<&Known>,
    host: &Host,
    devices: &BTreeSet<String>,
    state: &Path,
) -> (Figures, Known) {
    let counts = member.meter.as_ref().map(group::Meter::read).unwrap_or_default();
    let read = Instant::now();
    let seconds = before.map_or(0.0, |before| read.duration_since(before.read).as_secs_f64());
    let running = member.status.is_running();
    let io = counts.io.map(|devices| io(devices, before.and_then(|before| before.io.as_ref()), seconds));
    let first = member.first();
    let network = first.and_then(network::of_process);
    let nic = network.map(|now| Nic::of(now, before.and_then(|before| before.network), seconds));
    let load = counts.tasks.map(|tasks| load(member, before, tasks, seconds, state));
    let figures = Figures {
        name: member.name.clone(),
        id,
        image: member.image.clone(),
        status: member.word.clone(),
        running,
        started_ms: started(member),
        restarts: member.restarts(),
        cpu: cpu(counts.cpu, before.map(|before| before.cpu), seconds, host),
        memory: memory(counts.memory, host),
        pids: counts.pids,
        tasks: counts.tasks,
        load: load.and_then(|load| load.averages()),
        pressure: counts.pressure,
        io: io.clone(),
        network: nic,
        open_files: open_files(member),
        file_systems: member.pinned().map(|first| rooms(first, member, devices)).unwrap_or_default(),
    };
    let load = load.unwrap_or_else(Load::unknown);
    (figures, Known { started: started(member), read, cpu: counts.cpu, io, network, load })
}

/// What its volumes hold is asked of whatever holds it, which knows its limit.
fn rooms(first: Pinned, member: &Member, devices: &BTreeSet<String>) -> Vec<Room> {
    let mut rooms = room::of_process(first.pid, devices);
    if let Some(volumes) = member.kept.as_ref().and_then(|(dir, at)| room::of_volumes(first, dir, at)) {
        rooms.retain(|room| room.at != volumes.at);
        rooms.push(volumes);
    }
    rooms
}

fn cpu(counts: group::Cpu, before: Option<group::Cpu>, seconds: f64, host: &Host) -> Cpu {
    let before = before.unwrap_or_default();
    let percent = cpu_percent(before.usage, counts.usage, seconds);
    Cpu {
        counts,
        percent,
        percent_of_limit: share(percent, counts.limit.map(|limit| limit * 100.0)),
        percent_of_host: share(percent, Some(f64::from(host.processors) * 100.0)),
        throttled_percent: cpu_percent(before.throttled, counts.throttled, seconds),
    }
}

fn memory(counts: group::Memory, host: &Host) -> Memory {
    let used = counts.working_set.or(counts.usage).map(|bytes| bytes as f64);
    Memory {
        counts,
        percent_of_limit: share(used, counts.limit.map(|limit| limit as f64)),
        percent_of_host: share(used, host.memory.total.map(|total| total as f64)),
    }
}

fn io(devices: Vec<group::Io>, before: Option<&Io>, seconds: f64) -> Io {
    let read_bytes = devices.iter().map(|device| device.read_bytes).sum();
    let written_bytes = devices.iter().map(|device| device.written_bytes).sum();
    let rate = |before: Option<u64>, now| per_second(before, Some(now), seconds);
    Io {
        read_bytes_per_second: rate(before.map(|before| before.read_bytes), read_bytes),
        written_bytes_per_second: rate(before.map(|before| before.written_bytes), written_bytes),
        read_bytes,
        written_bytes,
        devices,
    }
}

impl Nic {
    pub(super) fn of(counts: Network, before: Option<Network>, seconds: f64) -> Self {
        let rate = |before: Option<u64>, now| per_second(before, Some(now), seconds);
        Self {
            received_bytes_per_second: rate(
                before.map(|before| before.received_bytes),
                counts.received_bytes,
            ),
            sent_bytes_per_second: rate(before.map(|before| before.sent_bytes), counts.sent_bytes),
            counts,
        }
    }
}

/// Going on from before, or from what a sampler has seen. What has just been started had no load
/// before.
fn load(member: &Member, before: Option<&Known>, tasks: group::Tasks, seconds: f64, state: &Path) -> Load {
    let started = started(member).unwrap_or(0);
    let age = Duration::from_millis(record::now().saturating_sub(started));
    let (mut load, passed) = match before {
        Some(before) => (before.load, seconds),
        None => match history::load(state, &member.dir, started) {
            Some(load) => (load, 0.0),
            None if age < YOUNG => (Load::of_new(), age.as_secs_f64()),
            None => (Load::unknown(), 0.0),
        },
    };
    load.add(tasks.active(), passed);
    load
}

/// All that its processes have open. Since Linux 6.2 the size of the directory is their number.
fn open_files(member: &Member) -> Option<u64> {
    let Status::Running(running) = &member.status else { return None };
    let of_process = |pid: i32| -> Option<u64> {
        let dir = format!("/proc/{pid}/fd");
        let number = fs::metadata(&dir).ok()?.size();
        if number > 0 { Some(number) } else { fs::read_dir(&dir).ok().map(|entries| entries.count() as u64) }
    };
    let processes = running.processes();
    (!processes.is_empty()).then(|| processes.into_iter().filter_map(of_process).sum())
}
