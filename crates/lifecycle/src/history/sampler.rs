//! Takes the samples: of all containers, every five seconds, and as little as possible of those that do
//! nothing.
//!
//! Whether a container did anything at all is told by one small file, which is kept open. A task that
//! slept must run before it can wait for a device, so where no time was used and nobody was active,
//! nothing has changed, and nothing else is read or written. Of who did next to nothing only the tasks
//! are looked at, and the rest once a minute, each at a moment of its own; of who does nothing every
//! five minutes: the kernel may have taken memory back.

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
use crate::{Containers, Home, Status, open_files};

/// In this many steps everything is read once of who has done a little.
const MINUTE: u64 = 12;

/// And of who does nothing.
const REFRESH: u64 = 60;

/// A little is less than half a per cent of a processor: nanoseconds in a second.
const QUIET: f64 = 5e6;

/// Descriptors that all other work may take.
const SPARE: usize = 100;

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
    /// How many files may be kept open.
    room: usize,
    _lock: File,
}

/// What is remembered of a container.
#[derive(Debug)]
struct Known {
    started: u64,
    clock: Option<group::Clock>,
    cpu: Option<u64>,
    tasks: Option<group::Tasks>,
    /// Something has changed since everything was read.
    dirty: bool,
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
            room: open_files::raise().saturating_sub(SPARE),
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
            let mut own = match before {
                Some(before) => before,
                None => {
                    let clock = if known.len() < self.room { meter.clock() } else { None };
                    Known::new(member, running.started, clock, self.time.is_none(), &self.state)
                }
            };
            let cpu = own.cpu_time(meter);
            if cpu.is_none() && !meter.is_there() {
                lost.push(*id);
                continue;
            }
            // Each has its own moment of the minute.
            let moment = number + u64::from(id.to_string().bytes().map(u32::from).sum::<u32>());
            match own.depth(cpu, seconds, moment) {
                Depth::Nothing => own.load.add(0, seconds),
                Depth::Tasks => {
                    own.tasks = meter.tasks();
                    own.add_load(seconds);
                }
                Depth::Everything => {
                    work.read += 1;
                    work.written += own.sample(member, meter, time, seconds);
                }
            }
            known.insert(*id, own);
        }
        self.known = known;
        // What cannot be written is no reason to count this time once more.
        self.time = Some(time);
        lost.into_iter().for_each(|id| self.roster.read_again(id));
        self.sample_host(time)?;
        if number % CLEANING == 0 {
            self.clean();
        }
        Ok(work)
    }

    /// Written every time: it is also the sign that somebody samples.
    fn sample_host(&mut self, time: u64) -> Result<()> {
        let sample = of_host(&Host::now(&self.state), time);
        let path = self.state.join(HOST);
        let ring = Ring::open(&path).doing(|| format!("opening {}", path.display()))?;
        let new = self.host.is_none_or(|before| minute(before.time) != minute(time));
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

/// How much of a container is read in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Nothing,
    Tasks,
    Everything,
}

impl Known {
    fn new(member: &Member, started: u64, clock: Option<group::Clock>, first: bool, home: &Path) -> Self {
        // One that came while we watched was seen from its start.
        let young = !first || now().saturating_sub(started) < 2 * STEP;
        let load = super::load(home, &member.dir, started);
        let load = load.unwrap_or_else(|| if young { Load::of_new() } else { Load::unknown() });
        Self { started, clock, cpu: None, tasks: None, dirty: true, load, close: None, far: None }
    }

    fn cpu_time(&self, meter: &group::Meter) -> Option<u64> {
        self.clock.as_ref().map_or_else(|| meter.cpu_time(), group::Clock::read)
    }

    fn depth(&mut self, cpu: Option<u64>, seconds: f64, moment: u64) -> Depth {
        let spent = cpu.zip(self.cpu).map(|(now, before)| now.saturating_sub(before) as f64);
        let quiet = spent.is_some_and(|spent| spent < QUIET * seconds);
        let active = self.tasks.is_none_or(|tasks| tasks.active() > 0);
        let changed = active || spent != Some(0.0);
        self.cpu = cpu;
        self.dirty |= changed;
        if !quiet || self.dirty && moment % MINUTE == 0 || moment % REFRESH == 0 {
            Depth::Everything
        } else if changed {
            Depth::Tasks
        } else {
            Depth::Nothing
        }
    }

    fn add_load(&mut self, seconds: f64) {
        self.load.add(self.tasks.map_or(0, group::Tasks::active), seconds);
    }

    /// Reads everything, and writes what is new; says how many samples that were.
    fn sample(&mut self, member: &Member, meter: &group::Meter, time: u64, seconds: f64) -> usize {
        let figures = meter.read();
        (self.cpu, self.tasks, self.dirty) = (figures.cpu.usage, figures.tasks, false);
        self.add_load(seconds);
        let sample = of_container(&figures, member, self, time);
        let new = |before: &Option<Sample>| before.is_none_or(|before| !sample.says_the_same_as(&before));
        let far = self.far.is_none_or(|before| minute(before.time) != minute(time)) && new(&self.far);
        let close = new(&self.close);
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

fn minute(time: u64) -> u64 {
    time / (MINUTE * STEP)
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
