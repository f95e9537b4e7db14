//! Driving a watched service through its life: ready, exercised, stopped.

use std::time::{Duration, Instant};

use observe::{Seen, Settings, Watch};
use spec::container::Spec;
use spec::observation::{PathUse, Stage};
use spec::{Error, Result};

use super::setup::Setup;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
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
    /// The instruments of the service.
    pub watch: Watch,
    /// Makes instruments for an exercise inside.
    pub another: &'a dyn Fn() -> Result<Watch>,
    /// What exercises inside used.
    pub insides: Vec<Seen>,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
    /// Where progress is shown.
    pub progress: &'a dyn Progress,
}

impl Drive<'_> {
    /// From the first instruction to the last.
    ///
    /// # Errors
    /// Failed, when the service or an exercise does; interrupted.
    pub fn through(&mut self, service: &mut Service) -> Result<()> {
        if self.setup.is_job() {
            return self.job(service);
        }
        self.progress.stage("waiting until the service is ready");
        let limit = Duration::from_secs(self.setup.ready_timeout);
        readiness::wait(service, self.setup.ready.as_ref(), limit, self.interrupt)?;
        service.look();
        self.watch.stage(Stage::Exercise);
        for (number, exercise) in self.setup.exercises.iter().enumerate() {
            self.progress.stage(&format!("exercise: {exercise}"));
            self.progress.amount(number as u64, self.setup.exercises.len() as u64);
            self.exercise(service, exercise)?;
            service.look();
            still_runs(service, exercise)?;
        }
        self.linger(service, Duration::from_millis(self.setup.linger))?;
        service.look();
        self.progress.stage("stopping the service");
        self.watch.stage(Stage::Stop);
        service.stop().map(drop)
    }

    /// After the service's end: what it and the exercises inside used.
    ///
    /// # Errors
    /// When an instrument lost something.
    pub fn finish(self) -> Result<Seen> {
        let mut seen = self.watch.finish()?;
        for inside in self.insides {
            merge(&mut seen, inside);
        }
        Ok(seen)
    }

    fn exercise(&mut self, service: &mut Service, exercise: &Exercise) -> Result<()> {
        let limit = Duration::from_secs(self.setup.exercise_timeout);
        match exercise {
            Exercise::Host(command) => run_on_host(command, service, limit, self.interrupt),
            Exercise::Inside(command) => {
                let mut watch = (self.another)()?;
                watch.stage(Stage::Exercise);
                let exercise =
                    inside::Inside { command, spec: self.spec, setup: self.setup, settings: &self.settings };
                let outcome = exercise.run(service, &mut watch, self.interrupt);
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
    fn job(&mut self, service: &mut Service) -> Result<()> {
        let attended = crate::terminal::is_interactive();
        if attended {
            self.progress.note("exercise the service now, and press ^C here when you are done");
        }
        self.progress.stage("running");
        let start = Instant::now();
        loop {
            service.look();
            match service.wait(Duration::from_millis(50))? {
                Some(0) => return Ok(()),
                Some(code) => return Err(ended(service, code, "")),
                None if attended && self.interrupt.take() => break,
                None if attended => {}
                None => {
                    self.interrupt.check()?;
                    if start.elapsed() > UNATTENDED {
                        break;
                    }
                }
            }
        }
        self.watch.stage(Stage::Stop);
        service.stop().map(drop)
    }

    /// Lets the service run on, as `--for` asks.
    fn linger(&self, service: &mut Service, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.interrupt.check()?;
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
    match service.ended()? {
        Some(code) => Err(ended(service, code, &format!(" during the exercise \"{exercise}\""))),
        None => Ok(()),
    }
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
    seen.instruments.extend(inside.instruments);
    seen.syscalls.extend(inside.syscalls);
    seen.gained_privilege |= inside.gained_privilege;
}
