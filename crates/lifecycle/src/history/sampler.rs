//! Takes the samples: of all containers, every five seconds, and as little as possible of those that do
//! nothing.
//!
//! Whether a container did anything at all is told by one small file. A task that slept must run before
//! it can wait for a device, so where no time was used and nobody was active, nothing has changed, and
//! nothing else is read or written. Once a minute, each at a moment of its own, everything is read: the
//! kernel may have taken memory back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cgroup::figures as group;
use rustix::fs::FlockOperation;
use spec::{Error, Id, Result, ResultExt};

use super::mark::Mark;
use super::ring::Ring;
use super::sample::{Figure, Sample};
use super::{DAY, HOST, STEP, file_in};
use crate::events::Event;
use crate::figures::host::Host;
use crate::figures::load::Load;
use crate::figures::network;
use crate::figures::roster::{Member, Roster};
use crate::record::now;
use crate::{Containers, Home, Status};

/// In this many steps each container is read in full once.
const ROUND: u64 = 12;

/// In this many steps old files of ended containers are looked for.
const CLEANING: u64 = 720;

/// Who takes the samples of a state directory.
#[derive(Debug)]
pub struct Sampler {
    roster: Roster,
    state: PathBuf,
    known: BTreeMap<Id, Known>,
    host: Option<Sample>,
    time: Option<u64>,
    _lock: File,
}

/// What is remembered of a container.
#[derive(Debug)]
struct Known {
    started: u64,
    cpu: Option<u64>,
    tasks: Option<group::Tasks>,
    load: Load,
    close: Option<Sample>,
    far: Option<Sample>,
}

/// What one step has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Running containers.
    pub running: usize,
    /// Of which more was read than whether they did anything.
    pub read: usize,
    /// Samples written.
    pub written: usize,
}

impl Sampler {
    /// The only one of a state directory.
    ///
    /// # Errors
    /// Conflict while there is another.
    pub fn new(home: &Home) -> Result<Self> {
        let lock = lock(&home.lib().join("locks/.sampler"))?;
        Ok(Self {
            roster: Roster::of(Containers::of(home)),
            state: home.lib().to_owned(),
            known: BTreeMap::new(),
            host: None,
            time: None,
            _lock: lock,
        })
    }

    /// How long it is until the next step.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(STEP - now() % STEP)
    }

    /// One look at everybody. What cannot be written of one does not keep the others from it.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn step(&mut self) -> Result<Work> {
        let time = now();
        let number = time / STEP;
        let seconds = self.time.map_or(0.0, |before| time.saturating_sub(before) as f64 / 1000.0);
        let events = self.roster.refresh()?;
        self.mark(&events);
        let mut work = Work::default();
        let mut lost = Vec::new();
        let mut known = BTreeMap::new();
        for (id, member) in self.roster.members() {
            let Status::Running(running) = &member.status else { continue };
            let Some(meter) = &member.meter else { continue };
            work.running += 1;
            let before = self.known.remove(id).filter(|before| before.started == running.started);
            let mut own = before.unwrap_or_else(|| Known::new(member, running.started, &self.state));
            let cpu = meter.cpu_time();
            if cpu.is_none() && !meter.is_there() {
                lost.push(*id);
                continue;
            }
            // Each has its own moment of the minute.
            let due = (number + u64::from(id.to_string().bytes().map(u32::from).sum::<u32>())) % ROUND == 0;
            if due || own.may_have_changed(cpu) {
                work.read += 1;
                work.written += own.sample(member, meter, time, seconds, due);
            } else {
                own.load.add(0, seconds);
            }
            known.insert(*id, own);
        }
        self.known = known;
        lost.into_iter().try_for_each(|id| self.roster.read_again(id))?;
        self.sample_host(time)?;
        if number % CLEANING == 0 {
            self.clean();
        }
        self.time = Some(time);
        Ok(work)
    }

    /// Written every time: it is also the sign that somebody samples.
    fn sample_host(&mut self, time: u64) -> Result<()> {
        let sample = of_host(&Host::now(&self.state), time);
        let minute = |sample: &Sample| sample.time / (ROUND * STEP);
        let path = self.state.join(HOST);
        let ring = Ring::open(&path).doing(|| format!("opening {}", path.display()))?;
        let new = self.host.is_none_or(|before| minute(&before) != minute(&sample));
        let written = ring.put_close(&sample).and_then(|()| if new { ring.put_far(&sample) } else { Ok(()) });
        written.doing(|| format!("writing {}", path.display()))?;
        self.host = Some(sample);
        Ok(())
    }

    /// Puts what has happened beside the samples of those whom it happened to.
    fn mark(&self, events: &[Event]) {
        let mut of_each: BTreeMap<Id, Vec<Mark>> = BTreeMap::new();
        for event in events {
            if let Some(mark) = Mark::of(event.time, &event.what) {
                of_each.entry(event.id).or_default().push(mark);
            }
        }
        for (id, marks) in of_each {
            let Some(member) = self.roster.members().get(&id) else { continue };
            // One that has just been removed needs no marks.
            let _ = Ring::open(&file_in(&member.dir)).and_then(|ring| ring.add(&marks));
        }
    }

    /// Removes the files of those that ended more than a day ago.
    fn clean(&self) {
        let ended = self.roster.members().values().filter(|member| !member.status.is_running());
        for path in ended.map(|member| file_in(&member.dir)) {
            let written = fs::metadata(&path).and_then(|meta| meta.modified());
            let age = written.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
            if age.is_ok_and(|age| age > Duration::from_millis(DAY)) {
                // What stays is overwritten some day.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Known {
    fn new(member: &Member, started: u64, home: &Path) -> Self {
        let young = now().saturating_sub(started) < 2 * STEP;
        let load = super::load(home, &member.dir, started);
        let load = load.unwrap_or_else(|| if young { Load::of_new() } else { Load::unknown() });
        Self { started, cpu: None, tasks: None, load, close: None, far: None }
    }

    fn may_have_changed(&self, cpu: Option<u64>) -> bool {
        cpu.is_none() || cpu != self.cpu || self.tasks.is_none_or(|tasks| tasks.active() > 0)
    }

    /// Reads everything, and writes what is new; says how many samples that were.
    fn sample(&mut self, member: &Member, meter: &group::Meter, time: u64, seconds: f64, due: bool) -> usize {
        let figures = meter.read();
        (self.cpu, self.tasks) = (figures.cpu.usage, figures.tasks);
        self.load.add(figures.tasks.map_or(0, group::Tasks::active), seconds);
        let sample = of_container(&figures, member, self, time);
        let new = |before: &Option<Sample>| before.is_none_or(|before| !sample.says_the_same_as(&before));
        let (close, far) = (new(&self.close), due && new(&self.far));
        if !close && !far {
            return 0;
        }
        // It may have been removed meanwhile, or the disk be full: the next step tries again.
        let Ok(ring) = Ring::open(&file_in(&member.dir)) else { return 0 };
        if close && ring.put_close(&sample).is_ok() {
            self.close = Some(sample);
        }
        if far && ring.put_far(&sample).is_ok() {
            self.far = Some(sample);
        }
        usize::from(close) + usize::from(far)
    }
}

fn of_container(figures: &group::Figures, member: &Member, known: &Known, time: u64) -> Sample {
    let (cpu, memory, pressure) = (&figures.cpu, &figures.memory, &figures.pressure);
    let bytes = |of: fn(&group::Io) -> u64| Some(figures.io.as_ref()?.iter().map(of).sum());
    let network = member.first().and_then(network::of_process);
    let sample = Sample::new(time)
        .with(Figure::Started, Some(known.started))
        .with(Figure::Cpu, cpu.usage)
        .with(Figure::Throttled, cpu.throttled)
        .with(Figure::Memory, memory.working_set.or(memory.usage))
        .with(Figure::Cache, memory.cache)
        .with(Figure::Swap, memory.swap)
        .with(Figure::OomKills, memory.oom_kills)
        .with(Figure::Pids, figures.pids.current)
        .with(Figure::Read, bytes(|io| io.read_bytes))
        .with(Figure::Written, bytes(|io| io.written_bytes))
        .with(Figure::Received, network.map(|network| network.received_bytes))
        .with(Figure::Sent, network.map(|network| network.sent_bytes))
        .with(Figure::Restarts, Some(u64::from(member.restarts())));
    with_load(with_waits(sample, pressure), figures.tasks.and(known.load.averages()))
}

fn of_host(host: &Host, time: u64) -> Sample {
    let sample = Sample::new(time)
        .with(Figure::Cpu, host.cpu_busy)
        .with(Figure::Memory, host.memory.used())
        .with(Figure::Cache, host.memory.cache)
        .with(Figure::Swap, host.memory.swap_used)
        .with(Figure::Received, host.network.map(|nic| nic.counts.received_bytes))
        .with(Figure::Sent, host.network.map(|nic| nic.counts.sent_bytes));
    with_load(with_waits(sample, &host.pressure), host.load)
}

fn with_waits(sample: Sample, pressure: &group::Pressures) -> Sample {
    let total = |of: Option<group::Pressure>| of.map(|of| of.some.total);
    sample
        .with(Figure::WaitsCpu, total(pressure.cpu))
        .with(Figure::WaitsMemory, total(pressure.memory))
        .with(Figure::WaitsIo, total(pressure.io))
}

fn with_load(sample: Sample, load: Option<[f64; 3]>) -> Sample {
    let thousandths = |at: usize| load.map(|load| (load[at] * 1000.0).round() as u64);
    sample
        .with(Figure::Load1, thousandths(0))
        .with(Figure::Load5, thousandths(1))
        .with(Figure::Load15, thousandths(2))
}

fn lock(path: &Path) -> Result<File> {
    let doing = || format!("locking {}", path.display());
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).doing(doing)?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path).doing(doing)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let by = crate::lock::holder(path).map_or_else(String::new, |pid| format!(" (process {pid})"));
            Err(Error::conflict(format!("a sampler of this state directory is at work already{by}"))
                .hint("one is enough for all containers: tsubo history NAME shows what it has seen"))
        }
        result => result.map_err(std::io::Error::from).doing(doing).map(|()| file),
    }
}
