//! What an instance is short of: more processor and memory for it come before more instances.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cgroup::figures::{Cpu, Meter};
use spec::activation::Activation;
use spec::limits::{Cpus, Limits, Size};
use spec::resources::Limit;

use super::{Instance, Service, Stage};
use crate::hands;
use crate::policy::share::{Look, Share};

/// Between two looks.
const EACH: Duration = Duration::from_millis(250);

/// An instance that holds too much memory is replaced when it has done so for this long.
const LEAKS: Duration = Duration::from_secs(30);

/// What one instance has, and what was seen of it.
pub(crate) struct Strain {
    meter: Meter,
    seen: RefCell<Seen>,
}

struct Seen {
    at: Instant,
    cpu: Cpu,
    cpus: Share,
    memory: Share,
    /// It is being given something else.
    changes: bool,
    /// Since when it holds too much.
    full: Option<Instant>,
}

impl Strain {
    /// None where nothing of it would be used.
    pub(super) fn of(choices: &Activation, group: Option<&cgroup::Group>, now: Instant) -> Option<Self> {
        let watched = choices.cpus.is_some() || choices.memory.is_some() || choices.leak.is_some();
        let meter = Meter::of(group.filter(|_| watched)?);
        let seen = Seen {
            at: now,
            cpu: meter.cpu(),
            cpus: Share::new(choices.cpus),
            memory: Share::new(choices.memory),
            changes: false,
            full: None,
        };
        Some(Self { meter, seen: RefCell::new(seen) })
    }
}

impl Service {
    /// Looks at what each instance is short of.
    pub(super) fn relieve(self: &Rc<Self>, choices: &Activation, now: Instant) {
        let mut exhausted = false;
        for one in self.instances() {
            let strain = one.strain.borrow().clone();
            let Some(strain) = strain.filter(|_| one.stage.get() == Stage::Ready && one.is_staying()) else {
                continue;
            };
            let seen = &mut *strain.seen.borrow_mut();
            let since = now.duration_since(seen.at);
            if since < EACH || seen.changes {
                continue;
            }
            let (cpu, memory) = (strain.meter.cpu(), strain.meter.memory());
            let before = std::mem::replace(&mut seen.cpu, cpu);
            seen.at = now;
            let used = memory.working_set.or(memory.usage).unwrap_or(0);
            let limit = memory.limit.unwrap_or(u64::MAX);
            let cpus = seen.cpus.look(now, look_at(&before, &cpu, since), choices.calm);
            let bytes = seen.memory.look(now, Look::at_memory(used, limit), choices.calm);
            exhausted |= seen.cpus.is_exhausted() || seen.memory.is_exhausted();
            if cpus.is_some() || bytes.is_some() {
                seen.changes = true;
                self.give(&one, Rc::clone(&strain), cpus, bytes);
            }
            let full = choices.leak.is_some_and(|most| used / 100 * 100 >= limit / 100 * u64::from(most));
            seen.full = full.then(|| seen.full.unwrap_or(now));
            one.leaks.set(seen.full.is_some_and(|since| now.duration_since(since) >= LEAKS));
        }
        if exhausted {
            let load = self.load();
            self.history.borrow_mut().capacity.exhausted(load);
        }
    }

    /// Gives an instance other limits; where the host has no room for that it keeps what it has.
    fn give(
        self: &Rc<Self>,
        instance: &Rc<Instance>,
        strain: Rc<Strain>,
        cpus: Option<u64>,
        bytes: Option<u64>,
    ) {
        let Some(house) = self.house.upgrade() else { return };
        let limits = Limits {
            cpus: cpus.map(|amount| Cpus(Limit::At(amount))),
            memory: bytes.map(|amount| Size(Limit::At(amount))),
            ..Limits::default()
        };
        let (service, instance) = (Rc::clone(self), Rc::clone(instance));
        tokio::task::spawn_local(async move {
            let (home, name) = (house.home.clone(), service.container(&instance));
            let given = house.hand(false, move || hands::limit(&home, &name?, &limits)).await;
            let seen = &mut *strain.seen.borrow_mut();
            seen.changes = false;
            if given.is_err() {
                let now = Instant::now();
                if cpus.is_some() {
                    seen.cpus.refused(now);
                }
                if bytes.is_some() {
                    seen.memory.refused(now);
                }
            }
        });
    }
}

/// The share of periods in which it was throttled, and the thousandths of a processor that it used.
fn look_at(before: &Cpu, now: &Cpu, since: Duration) -> Look {
    let more = |now: Option<u64>, before: Option<u64>| now.unwrap_or(0).saturating_sub(before.unwrap_or(0));
    let periods = more(now.periods, before.periods);
    let throttled = more(now.throttled_periods, before.throttled_periods);
    let share = if periods == 0 { 0.0 } else { throttled as f64 / periods as f64 };
    let used = u128::from(more(now.usage, before.usage)) * 1000 / since.as_nanos().max(1);
    Look::at_cpu(share, used as u64)
}
