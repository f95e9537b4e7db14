//! What runs short in a container, looked at each second where a hook waits for that: it is told when it
//! begins, and again only after it was over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cgroup::figures::{Figures, Meter};
use lifecycle::hooks::Detail;
use lifecycle::job::Job;
use serde::{Deserialize, Serialize};
use spec::hooks::{Event, Hook, Resource, When};

/// Between two looks.
const EACH: Duration = Duration::from_secs(1);

/// Who uses less than this share of a processor is idle.
const IDLE: f64 = 0.005;

/// What is looked at.
pub(crate) struct Shortage {
    next: Instant,
    last: Option<(Instant, Figures)>,
    /// Since when it has been idle.
    idle: Instant,
    ooms: u64,
    /// Hooks whose condition holds, and was told.
    told: BTreeSet<usize>,
    wants_disk: bool,
}

/// [`Shortage`] on its way to another program.
#[derive(Serialize, Deserialize)]
pub(crate) struct ShortageAtRest {
    idle: Duration,
    told: BTreeSet<usize>,
    ooms: u64,
}

impl Shortage {
    /// None where no hook waits for any of it.
    pub(crate) fn of(list: &[Hook]) -> Option<Self> {
        let waits =
            |hook: &Hook| matches!(hook.when, When::Short(_) | When::Idle(_) | When::After(Event::Oom));
        let wants_disk = list.iter().any(|hook| matches!(hook.when, When::Short(Resource::Disk(_))));
        let now = Instant::now();
        list.iter().any(waits).then(|| Self {
            next: now + EACH,
            last: None,
            idle: now,
            ooms: 0,
            told: BTreeSet::new(),
            wants_disk,
        })
    }

    /// What a program that takes our place must know of it.
    pub(crate) fn at_rest(&self) -> ShortageAtRest {
        ShortageAtRest { idle: self.idle.elapsed(), told: self.told.clone(), ooms: self.ooms }
    }

    pub(crate) fn adopt(&mut self, rest: ShortageAtRest) {
        let now = Instant::now();
        self.idle = now.checked_sub(rest.idle).unwrap_or(now);
        (self.told, self.ooms) = (rest.told, rest.ooms);
        // What was counted before is not new.
        self.last = Some((now, Figures::default()));
    }

    /// How many ends for want of memory were told.
    pub(crate) fn ooms(&self) -> u64 {
        self.ooms
    }

    /// When the next look is due.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Which hooks it is time for, by their numbers.
    pub(crate) fn look(
        &mut self,
        list: &[Hook],
        job: &Job,
        group: Option<&cgroup::Group>,
        first: i32,
    ) -> Vec<(usize, Detail)> {
        let now = Instant::now();
        if self.next > now {
            return Vec::new();
        }
        self.next = now + EACH;
        // Without groups there is still the disk.
        let figures = group.map(|group| Meter::of(group).read()).unwrap_or_default();
        let disk = if self.wants_disk { lifecycle::figures::fullest(&job.spec, first) } else { None };
        let seen = Seen::of(self.last.as_ref(), &figures, now, disk);
        if seen.busy.is_some_and(|busy| busy >= IDLE) {
            self.idle = now;
        }
        let idle = now - self.idle;
        let ooms = figures.memory.oom_kills.unwrap_or(0);
        let is_oom = self.last.is_some() && ooms > self.ooms;
        (self.last, self.ooms) = (Some((now, figures)), ooms);
        let mut short = Vec::new();
        for (number, hook) in list.iter().enumerate() {
            let Some((holds, value)) = seen.answer(&hook.when, idle, is_oom) else { continue };
            if !holds {
                self.told.remove(&number);
            } else if self.told.insert(number) {
                short.push((number, Detail::from([("value".to_owned(), value.into())])));
            }
        }
        short
    }
}

/// What was seen from one look to the next.
struct Seen {
    pressure: Option<f64>,
    pids: Option<(u64, u64)>,
    throttled: Option<f64>,
    disk: Option<f64>,
    /// In processors.
    busy: Option<f64>,
}

impl Seen {
    fn of(last: Option<&(Instant, Figures)>, now: &Figures, at: Instant, disk: Option<f64>) -> Self {
        let grown = |field: fn(&Figures) -> Option<u64>| {
            let (_, before) = last?;
            field(now)?.checked_sub(field(before)?)
        };
        let periods = grown(|figures| figures.cpu.periods);
        let throttled = grown(|figures| figures.cpu.throttled_periods);
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
        let time = last.map(|(before, _)| (at - *before).as_nanos() as f64);
        Self {
            // Version 1 knows no pressure of a group: how near memory is to its limit stands for it.
            pressure: now.pressure.memory.map(|pressure| pressure.some.avg10).or_else(|| near(now)),
            pids: now.pids.current.zip(now.pids.limit),
            throttled: periods.zip(throttled).map(|(whole, part)| share(part, whole)),
            disk,
            busy: grown(|figures| figures.cpu.usage).zip(time).map(|(used, time)| used as f64 / time),
        }
    }

    /// Whether it holds, and the figure; None where nothing is known.
    fn answer(&self, when: &When, idle: Duration, is_oom: bool) -> Option<(bool, f64)> {
        let reaches = |value: f64, share: u8| (value >= f64::from(share), value);
        match when {
            When::Short(Resource::MemoryPressure(share)) => Some(reaches(self.pressure?, *share)),
            When::Short(Resource::Pids) => self.pids.map(|(now, most)| (now >= most, now as f64)),
            When::Short(Resource::Throttled(share)) => Some(reaches(self.throttled?, *share)),
            When::Short(Resource::Disk(share)) => Some(reaches(self.disk?, *share)),
            When::Idle(time) => self.busy.map(|_| (idle >= Duration::from_millis(*time), idle.as_secs_f64())),
            When::After(Event::Oom) => Some((is_oom, 1.0)),
            _ => None,
        }
    }
}

/// What cannot be given back, above nine tenths of the limit, as a percentage of the last tenth.
fn near(now: &Figures) -> Option<f64> {
    let (used, limit) = (now.memory.working_set?, now.memory.limit?);
    let tenth = limit / 10;
    (tenth > 0).then(|| used.saturating_sub(limit - tenth) as f64 * 100.0 / tenth as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(periods: u64, throttled: u64, pids: u64) -> Figures {
        let mut figures = Figures::default();
        figures.cpu.periods = Some(periods);
        figures.cpu.throttled_periods = Some(throttled);
        figures.cpu.usage = Some(0);
        (figures.pids.current, figures.pids.limit) = (Some(pids), Some(10));
        figures
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let at = Instant::now();
        let before = (at, figures(100, 50, 3));
        let seen = Seen::of(Some(&before), &figures(110, 51, 10), at + EACH, Some(80.0));
        let answer =
            |text: &str| seen.answer(&text.parse().expect("a moment"), Duration::from_secs(9), false);
        assert_eq!(answer("cpu throttled 10%"), Some((true, 10.0)));
        assert_eq!(answer("cpu throttled 11%"), Some((false, 10.0)));
        assert_eq!(answer("pids at limit"), Some((true, 10.0)));
        assert_eq!(answer("disk 80%"), Some((true, 80.0)));
        assert_eq!(answer("memory pressure 1%"), None);
        assert_eq!(answer("idle 9s").map(|(holds, _)| holds), Some(true));
        assert_eq!(answer("idle 10s").map(|(holds, _)| holds), Some(false));
        assert_eq!(seen.busy, Some(0.0));
        let first = Seen::of(None, &figures(1, 1, 1), at, None);
        assert_eq!(first.answer(&"cpu throttled 1%".parse().expect("a moment"), EACH, false), None);
    }

    #[test]
    fn near_the_limit_of_memory() {
        let mut now = Figures::default();
        (now.memory.working_set, now.memory.limit) = (Some(95), Some(100));
        assert_eq!(near(&now), Some(50.0));
        now.memory.working_set = Some(10);
        assert_eq!(near(&now), Some(0.0));
    }
}
