//! What is looked after now and then: idleness, age, health, what is too much.

use std::rc::Rc;
use std::time::{Duration, Instant};

use spec::activation::{Activation, Protocol};
use spec::ready::Url;

use super::{Instance, Service, Stage, ready};
use crate::door::lent;
use crate::policy::arrivals::Rest;
use crate::policy::scale::{self, Leave};

/// Between two counts of the clients of lent sockets.
const LOOK: Duration = Duration::from_secs(1);

/// So many bad answers in a row mean that an instance is not well.
const ILL: u32 = 3;

impl Service {
    /// A request has come.
    pub(super) fn note_arrival(&self, now: Instant) {
        let mut history = self.history.borrow_mut();
        if let Some(since) = history.quiet.take() {
            history.arrivals.returned(now.duration_since(since));
        }
    }

    /// Looks after everything once.
    pub(crate) fn tend(self: &Rc<Self>, now: Instant) {
        let Some(choices) = self.choices() else { return };
        if self.gone.get() {
            self.instances().iter().for_each(|one| self.retire(one));
        }
        self.count_the_connected(now);
        self.end_what_drains_for_too_long(&choices, now);
        self.replace(&choices);
        self.let_rest(&choices, now);
        self.ask_for_health(&choices, now);
        self.relieve(&choices, now);
        self.ask(&choices, now);
        self.adjust();
    }

    /// Whose sockets were lent has its clients counted by the kernel, once a second.
    fn count_the_connected(self: &Rc<Self>, now: Instant) {
        let told = self.told.borrow().clone();
        if told.sockets.is_empty() {
            return;
        }
        if self.lent.get() > 0 {
            self.instances().iter().for_each(|one| one.used.set(now));
        }
        let due = |at: Instant| now.duration_since(at) >= LOOK;
        if self.history.borrow().counted.is_some_and(|at| !due(at)) {
            return;
        }
        self.history.borrow_mut().counted = Some(now);
        let (Some(house), service) = (self.house.upgrade(), Rc::clone(self)) else { return };
        let sockets = told.sockets.clone();
        tokio::task::spawn_local(async move {
            let connected = house.hand(false, move || Ok(lent::connected(&sockets))).await;
            service.lent.set(connected.unwrap_or(0));
        });
    }

    fn end_what_drains_for_too_long(self: &Rc<Self>, choices: &Activation, now: Instant) {
        for one in self.instances() {
            let long = |since: Instant| now.duration_since(since) >= choices.drain_time;
            if one.leaving.get().is_some_and(long) && one.stage.get() != Stage::Stopping {
                self.end(&one);
            }
        }
    }

    /// One after the other: a new one first, where both may be.
    fn replace(self: &Rc<Self>, choices: &Activation) {
        let instances = self.instances();
        let stale: Vec<_> = instances.iter().filter(|one| one.is_staying() && self.is_stale(one)).collect();
        if stale.is_empty() || instances.iter().any(|one| one.successor.get()) {
            return;
        }
        for one in stale {
            match one.stage.get() {
                // Nobody asks for it: the next request starts another.
                Stage::Frozen | Stage::Thawing => self.end(one),
                Stage::Ready if choices.exclusive => self.retire(one),
                Stage::Ready if self.history.borrow().backoff.wait(Instant::now()).is_some() => {}
                Stage::Ready if self.begin(true) => return,
                // Where there is no room for two it goes first, and the next takes its place.
                Stage::Ready => return self.retire(one),
                Stage::Starting | Stage::Freezing | Stage::Stopping => {}
            }
        }
    }

    /// Of more than are needed one goes; what has nothing to do is frozen, then stopped.
    fn let_rest(self: &Rc<Self>, choices: &Activation, now: Instant) {
        if self.waiting() > 0 {
            return;
        }
        self.send_away(choices, now);
        let rest = Rest::of(choices, &self.history.borrow().arrivals);
        let staying: Vec<_> = self.instances().into_iter().filter(|one| one.is_staying()).collect();
        let mut spare = (staying.len() as u32).saturating_sub(choices.min);
        for one in staying.iter().rev().filter(|one| one.in_flight.get() == 0 && !one.successor.get()) {
            let rests = now.duration_since(one.used.get());
            let due = |time: Option<Duration>| time.is_some_and(|time| rests >= time);
            match one.stage.get() {
                Stage::Ready | Stage::Frozen if spare > 0 && due(rest.stop) => {
                    self.retire(one);
                    spare -= 1;
                }
                // Nobody would let one go on whose clients come to it past us.
                Stage::Ready if due(rest.freeze) && !one.never_frozen.get() && !self.lends() => {
                    self.freeze(one)
                }
                _ => {}
            }
        }
    }

    /// One that is too many goes.
    fn send_away(self: &Rc<Self>, choices: &Activation, now: Instant) {
        let wanted = self.wanted(choices, now);
        let awake: Vec<_> = self
            .instances()
            .into_iter()
            .filter(|one| one.is_staying() && one.stage.get() != Stage::Frozen)
            .collect();
        if awake.iter().any(|one| one.successor.get()) {
            return;
        }
        let seen: Vec<_> = awake
            .iter()
            .map(|one| scale::Instance {
                in_flight: one.in_flight.get(),
                coming: one.stage.get() != Stage::Ready,
                since: one.since.get(),
            })
            .collect();
        match scale::leaving(&seen, wanted.max(1)) {
            Some(Leave::Stop(place)) => self.retire(&awake[place]),
            // Nobody is idle, and nothing hurries: one will be.
            Some(Leave::Drain(_)) | None => {}
        }
    }

    fn ask_for_health(self: &Rc<Self>, choices: &Activation, now: Instant) {
        let Some(path) = &choices.health else { return };
        for one in self.instances() {
            let due = now.duration_since(one.asked.get()) >= choices.health_interval;
            if due && one.stage.get() == Stage::Ready && one.is_staying() {
                one.asked.set(now);
                let (service, path) = (Rc::clone(self), path.clone());
                tokio::task::spawn_local(async move { service.examine(&one, path).await });
            }
        }
    }

    async fn examine(self: Rc<Self>, instance: &Rc<Instance>, path: String) {
        let question = async {
            match instance.protocol() {
                Protocol::Http => {
                    let url = Url { host: "127.0.0.1".to_owned(), port: instance.settings.port, path };
                    ready::answers(instance, &url).await.unwrap_or(false)
                }
                Protocol::H2c | Protocol::Tcp => instance.connect().await.is_ok(),
            }
        };
        let time = instance.settings.activation.health_interval;
        let well = tokio::time::timeout(time, question).await.unwrap_or(false);
        if well || instance.stage.get() != Stage::Ready {
            instance.ill.set(0);
            return;
        }
        instance.ill.set(instance.ill.get() + 1);
        if instance.ill.get() >= ILL {
            self.tell(&format!(
                "instance {} is not well ({ILL} bad answers): it is replaced",
                instance.number
            ));
            self.end(instance);
        }
    }
}
