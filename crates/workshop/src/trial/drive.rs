//! Driving a watched service through its life: ready, exercised, stopped.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use observe::{Asked, CAPABILITY_CHECKS, SYSTEM_CALLS, Seen, Settings, Watch};
use spec::container::Spec;
use spec::observation::{Curve, PathUse, Port, Stage, Used};
use spec::{Error, Result};

use super::setup::Setup;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::service::conduct::Conduct;
use crate::service::exercise::{Exercise, run_on_host};
use crate::service::{Service, inside, readiness};

/// How long a service without condition, exercise or time is watched when nobody can press ^C.
const UNATTENDED: Duration = Duration::from_secs(10);

/// One watched run of one setup.
pub struct Drive<'a> {
    /// The container's spec, for what joins it.
    pub spec: &'a Spec,
    /// What is to be done.
    pub setup: &'a Setup,
    /// How it is watched.
    pub settings: Settings,
    /// Makes instruments: for the service, and for each exercise inside.
    pub instruments: &'a dyn Fn() -> Result<Watch>,
    /// Where the service's output is kept.
    pub log: &'a Path,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
    /// Where progress is shown.
    pub progress: &'a dyn Progress,
}

/// How a run went.
pub struct Outcome {
    /// What the service held at the most, or why it failed.
    pub held: Result<Held>,
    /// What was seen, whether it failed or not.
    pub seen: Result<Seen>,
}

/// What a service held at the most.
#[derive(Debug)]
pub struct Held {
    /// Ports it listened on.
    pub ports: BTreeSet<Port>,
    /// Memory, tasks, files, processor time.
    pub used: Used,
    /// The same over time.
    pub curve: Curve,
    /// How it conducted itself.
    pub conduct: Conduct,
}

impl Drive<'_> {
    /// Starts the service, takes it through its life, and gathers what was seen.
    ///
    /// # Errors
    /// When there is nothing to watch with. That the service fails is an outcome.
    pub fn run(&self) -> Result<Outcome> {
        let mut course =
            Course { drive: self, watch: (self.instruments)()?, insides: Vec::new(), left: Vec::new() };
        self.progress.stage(&format!("starting {}", self.setup.command.join(" ")));
        let filter = observe::filter(&self.settings);
        let ready = self.setup.ready.as_ref();
        let started = Service::start(self.spec, ready, &mut course.watch, &filter, self.log);
        let held = started.and_then(|mut service| {
            let mut conduct = course.through(&mut service)?;
            (conduct.lines, conduct.all_lines) = service.output.all();
            let ports = std::mem::take(&mut service.held.ports);
            let (used, curve) = service.used();
            Ok(Held { ports, used, curve, conduct })
        });
        Ok(Outcome { held, seen: course.finish() })
    }
}

/// A run under way.
struct Course<'a> {
    drive: &'a Drive<'a>,
    watch: Watch,
    /// What exercises inside used.
    insides: Vec<Seen>,
    /// Watches of what exercises inside left running: that ends with the container.
    left: Vec<Watch>,
}

impl Course<'_> {
    /// From the first instruction to the last.
    ///
    /// # Errors
    /// Failed, when the service or an exercise does; interrupted.
    fn through(&mut self, service: &mut Service) -> Result<Conduct> {
        if self.drive.setup.is_job() {
            return self.job(service);
        }
        self.drive.progress.stage("waiting until the service is ready");
        let limit = Duration::from_secs(self.drive.setup.ready_timeout);
        readiness::wait(service, self.drive.setup.ready.as_ref(), limit, self.drive.interrupt)?;
        service.look();
        self.watch.stage(Stage::Exercise);
        for (number, exercise) in self.drive.setup.exercises.iter().enumerate() {
            self.drive.progress.stage(&format!("exercise: {exercise}"));
            self.drive.progress.amount(number as u64, self.drive.setup.exercises.len() as u64);
            self.exercise(service, exercise)?;
            service.look();
            still_runs(service, exercise)?;
        }
        self.linger(service, Duration::from_millis(self.drive.setup.linger))?;
        service.look();
        let conduct = Conduct::look(service.pid(), self.drive.spec);
        self.drive.progress.stage("stopping the service");
        self.watch.stage(Stage::Stop);
        self.left.iter().for_each(|watch| watch.stage(Stage::Stop));
        let code = service.stop()?;
        Ok(Conduct { code, ..conduct })
    }

    /// After the service's end: what it and the exercises inside used.
    ///
    /// # Errors
    /// When an instrument lost something.
    fn finish(self) -> Result<Seen> {
        let mut seen = self.watch.finish()?;
        for inside in self.insides {
            merge(&mut seen, inside);
        }
        for watch in self.left {
            merge(&mut seen, watch.finish()?);
        }
        Ok(seen)
    }

    fn exercise(&mut self, service: &mut Service, exercise: &Exercise) -> Result<()> {
        let limit = Duration::from_secs(self.drive.setup.exercise_timeout);
        match exercise {
            Exercise::Host(command) => {
                run_on_host(command, &self.drive.setup.folder, service, limit, self.drive.interrupt)
            }
            Exercise::Inside(command) => {
                let mut watch = (self.drive.instruments)()?;
                watch.stage(Stage::Exercise);
                let exercise = inside::Inside {
                    command,
                    spec: self.drive.spec,
                    setup: self.drive.setup,
                    settings: &self.drive.settings,
                };
                let outcome = exercise.run(service, &mut watch, self.drive.interrupt);
                if !watch.is_over(inside::MOMENT) {
                    self.left.push(watch);
                    return outcome;
                }
                // What a failed exercise asked for in vain is what its reader wants to know.
                if let Ok(seen) = watch.finish() {
                    self.insides.push(seen);
                } else {
                    outcome?;
                    return Err(Error::internal(format!(
                        "the exercise {command:?} could not be watched to its end"
                    )));
                }
                outcome
            }
        }
    }

    /// A service that runs to its end by itself; a person may end it earlier with ^C, which is
    /// then no failure but the end of the exercise by hand.
    fn job(&mut self, service: &mut Service) -> Result<Conduct> {
        let attended = crate::terminal::is_interactive();
        if attended {
            self.drive.progress.note("exercise the service now, and press ^C here when you are done");
        }
        self.drive.progress.stage("running");
        let start = Instant::now();
        loop {
            service.look();
            match service.wait(Duration::from_millis(50))? {
                Some(0) => return Ok(Conduct::default()),
                Some(code) => return Err(ended(service, code, "")),
                None if attended && self.drive.interrupt.take().is_some() => break,
                None if attended => {}
                None => {
                    self.drive.interrupt.check()?;
                    if start.elapsed() > UNATTENDED {
                        break;
                    }
                }
            }
        }
        let conduct = Conduct::look(service.pid(), self.drive.spec);
        self.watch.stage(Stage::Stop);
        let code = service.stop()?;
        Ok(Conduct { code, ..conduct })
    }

    /// Lets the service run on, as `--for` asks.
    fn linger(&self, service: &mut Service, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.drive.interrupt.check()?;
            let left = end.saturating_duration_since(Instant::now());
            match service.wait(left.min(Duration::from_millis(100)))? {
                Some(0) => return Ok(()),
                Some(code) => return Err(ended(service, code, "")),
                None => {}
            }
        }
        Ok(())
    }
}

fn still_runs(service: &mut Service, exercise: &Exercise) -> Result<()> {
    // What was killed takes a moment to end, since all in its namespace end before it.
    let patience = Instant::now() + Duration::from_secs(5);
    while service.ended()?.is_none() && is_dying(service.pid()) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    match service.ended()? {
        Some(code) => Err(ended(service, code, &format!(" during the exercise \"{exercise}\""))),
        None => Ok(()),
    }
}

/// Whether a process has been killed, or ends, without having ended yet.
fn is_dying(pid: i32) -> bool {
    /// PF_EXITING among the flags of a task (proc(5), the ninth field of stat).
    const EXITING: u64 = 4;
    /// SIGKILL in a set of signals.
    const KILLED: u64 = 1 << 8;
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (stat, status) = (read("stat"), read("status"));
    // The name, in parentheses, may hold blanks.
    let flags =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    flags.is_none_or(|flags| flags & EXITING != 0) || pending.is_none_or(|set| set & KILLED != 0)
}

fn ended(service: &Service, code: i32, when: &str) -> Error {
    Error::failed(format!("the service ended with code {code}{when}")).hint(service.output.as_hint())
}

/// Adds what an exercise inside used.
fn merge(seen: &mut Seen, inside: Seen) {
    for (path, new) in inside.paths {
        let entry =
            seen.paths.entry(path).or_insert_with(|| PathUse { stage: new.stage, ..PathUse::default() });
        entry.how.extend(new.how);
        entry.by.extend(new.by);
        entry.stage = entry.stage.min(new.stage);
    }
    seen.warnings.extend(inside.warnings);
    // What one of them may have missed is not complete.
    for instrument in [CAPABILITY_CHECKS, SYSTEM_CALLS] {
        if !inside.instruments.contains(instrument) {
            seen.instruments.remove(instrument);
        }
    }
    seen.syscalls.extend(inside.syscalls);
    seen.gained_privilege |= inside.gained_privilege;
    seen.groups |= inside.groups;
    add(&mut seen.capabilities, inside.capabilities);
    add(&mut seen.refused, inside.refused);
}

fn add(all: &mut Asked, more: Asked) {
    for (capability, by) in more {
        all.entry(capability).or_default().extend(by);
    }
}
