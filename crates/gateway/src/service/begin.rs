//! How instances come: as many as are wanted, no more than the host has room for.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lifecycle::KeeperProcess;
use spec::{Error, ErrorKind, Result, ResultExt};

use super::queue::Refusal;
use super::{Instance, Service, Stage, ready};
use crate::hands::{self, Found, Running};
use crate::settings::Settings;
use crate::watch::Watched;

/// Where there was no room and nothing has ended since, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

impl Service {
    /// Has as many instances begin, or let go on, as are wanted at this moment.
    pub(crate) fn adjust(self: &Rc<Self>) {
        let Some(settings) = self.settings().filter(|_| !self.gone.get()) else { return };
        let now = Instant::now();
        let load = self.load();
        let mut missing = self.wanted(&settings.activation, now).saturating_sub(load.have());
        let instances = self.instances();
        // Those that sleep come first: they need no start.
        for one in instances.iter().filter(|one| one.stage.get() == Stage::Frozen && one.is_staying()) {
            if missing > 0 && load.queued > 0 {
                self.thaw(one);
            }
            // Asleep it still counts among those that are kept.
            missing = missing.saturating_sub(1);
        }
        let leaving = instances.iter().any(|one| !one.is_staying());
        let waits = self.history.borrow().backoff.wait(now).is_some();
        if waits || settings.activation.exclusive && leaving {
            return;
        }
        // Those that end still have what they have.
        let most = (2 * settings.activation.max).saturating_sub(instances.len() as u32);
        for _ in 0..missing.min(most) {
            if !self.begin(false) {
                break;
            }
        }
    }

    /// Begins one more; false if there is no room for it now.
    pub(super) fn begin(self: &Rc<Self>, successor: bool) -> bool {
        let (Some(settings), Some(house)) = (self.settings(), self.house.upgrade()) else { return false };
        let just_refused = |(ended, at): (u64, Instant)| house.ended.get() == ended && at.elapsed() < AGAIN;
        if self.no_room.get().is_some_and(just_refused) || !house.has_room_for(self, successor) {
            return false;
        }
        let instance = Instance::new(self.free_number(), settings, Instant::now());
        instance.successor.set(successor);
        self.highest.set(self.highest.get().max(instance.number));
        self.instances.borrow_mut().push(Rc::clone(&instance));
        let service = Rc::clone(self);
        tokio::task::spawn_local(async move {
            match service.bring_up(&instance).await {
                Ok(first) => service.is_up(&instance, first).await,
                // It was given up meanwhile.
                Err(_) if instance.stage.get() == Stage::Stopping => service.wind_up(&instance).await,
                Err(error) => service.failed(&instance, &error),
            }
        });
        true
    }

    /// Its container started, and ready.
    async fn bring_up(self: &Rc<Self>, instance: &Rc<Instance>) -> Result<Watched> {
        let house = self.house.upgrade().ok_or_else(|| Error::internal("the gateway ends"))?;
        let prepared = self.prepared_for(instance).await;
        let sockets = self.sockets.borrow().values().cloned().collect();
        let (told, settings) = (self.told.borrow().clone(), Rc::clone(&instance.settings));
        let (home, number) = (house.home.clone(), instance.number);
        let (of_told, of_settings) = ((*told).clone(), (*settings).clone());
        let started = house
            .hand(true, move || hands::start(&home, &of_told, &of_settings, number, prepared, sockets))
            .await;
        instance.settled.set(true);
        let mut running = started?;
        self.counters.borrow_mut().starts += 1;
        let now = Instant::now();
        instance.attach(&mut running, now);
        let Running { first, pid, keeper, sign, .. } = running;
        keeper.map(|keeper| tokio::task::spawn_local(reap(keeper)));
        let first = Watched::new(first).doing(|| "watching its first process")?;
        if instance.stage.get() == Stage::Stopping {
            return Err(Error::conflict("it is not wanted any more"));
        }
        let time = settings.activation.start_time;
        match tokio::time::timeout(time, ready::wait(instance, &first, sign.map(|sign| (sign, pid)))).await {
            Ok(Ok(())) => Ok(first),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::failed(format!("it was not ready within {time:?}")).hint(
                "does it listen on activation.port? A longer start_time, or another ready condition may help",
            )),
        }
    }

    /// One that runs already, started by whoever served before us.
    pub(crate) fn adopt(self: &Rc<Self>, found: Found) {
        let known = self.instances().iter().any(|one| one.number == found.number);
        let Some(now) = self.settings().filter(|_| !known) else {
            if !known {
                self.left.borrow_mut().push(found);
            }
            return;
        };
        let Some(mut running) = found.running else { return };
        self.highest.set(self.highest.get().max(found.number));
        // As it was made then: what holds now is for those who come.
        let settings = Rc::new(Settings { version: found.owner.version, ..(*now).clone() });
        let instance = Instance::new(found.number, settings, Instant::now());
        instance.attach(&mut running, Instant::now());
        instance.stage.set(if running.frozen { Stage::Frozen } else { Stage::Ready });
        let first = match Watched::new(running.first) {
            Ok(first) => first,
            Err(cause) => return self.tell(&format!("instance {} cannot be watched: {cause}", found.number)),
        };
        self.instances.borrow_mut().push(Rc::clone(&instance));
        let service = Rc::clone(self);
        tokio::task::spawn_local(async move { service.is_up(&instance, first).await });
    }

    /// One that is ready takes requests until it ends.
    pub(crate) async fn is_up(self: &Rc<Self>, instance: &Rc<Instance>, first: Watched) {
        if instance.stage.get() == Stage::Starting {
            instance.stage.set(Stage::Ready);
        }
        instance.was_ready.set(true);
        instance.used.set(Instant::now());
        self.serve();
        if instance.successor.replace(false) {
            self.retire_the_old(instance);
        }
        self.adjust();
        if first.readable().await.is_ok() {
            self.has_ended(instance);
        }
    }

    /// Its first process has ended: as it was told to, or not.
    fn has_ended(self: &Rc<Self>, instance: &Rc<Instance>) {
        let now = Instant::now();
        instance.free.borrow_mut().clear();
        instance.has_ended();
        if instance.stage.get() == Stage::Stopping {
            return;
        }
        let asked = instance.leaving.get().is_some();
        if !asked {
            self.tell(&format!("instance {} has ended by itself", instance.number));
            self.counters.borrow_mut().failures += 1;
            self.history.borrow_mut().backoff.died(now, now.duration_since(instance.since.get()));
        }
        self.end(instance);
    }

    /// It could not be started, or did not get ready.
    fn failed(self: &Rc<Self>, instance: &Rc<Instance>, error: &Error) {
        if error.kind() == ErrorKind::NoRoom
            && let Some(house) = self.house.upgrade()
        {
            self.drop_instance(instance);
            self.no_room.set(Some((house.ended.get(), Instant::now())));
            house.is_full(self, false);
            return;
        }
        self.tell_error(
            &format!(
                "instance {0} does not start (tsubo logs {1}.{0} may tell more)",
                instance.number,
                self.name()
            ),
            error,
        );
        let now = Instant::now();
        self.counters.borrow_mut().failures += 1;
        self.history.borrow_mut().backoff.failed(now);
        self.end(instance);
        let refusal = self.history.borrow().backoff.refusal(now);
        let others = self.instances().iter().any(|one| one.is_staying());
        if let (Some(seconds), false) = (refusal, others) {
            self.refuse(&Refusal::Failing(Duration::from_secs(seconds)));
        }
    }

    fn thaw(self: &Rc<Self>, instance: &Rc<Instance>) {
        let Some(house) = self.house.upgrade() else { return };
        instance.stage.set(Stage::Thawing);
        let (service, instance) = (Rc::clone(self), Rc::clone(instance));
        tokio::task::spawn_local(async move {
            let (home, name) = (house.home.clone(), service.container(&instance));
            match house.hand(false, move || hands::thaw(&home, &name?)).await {
                Ok(()) if instance.stage.get() == Stage::Thawing => {
                    service.counters.borrow_mut().thaws += 1;
                    instance.stage.set(Stage::Ready);
                    instance.used.set(Instant::now());
                    service.serve();
                }
                Ok(()) => {}
                Err(error) => {
                    service.tell_error(&format!("instance {} does not go on", instance.number), &error);
                    service.end(&instance);
                }
            }
        });
    }

    pub(super) fn container(&self, instance: &Instance) -> Result<spec::Name> {
        hands::name_of(self.told.borrow().name.as_str(), instance.number)
    }

    pub(crate) fn tell(&self, what: &str) {
        eprintln!("{}: {what}", self.name());
    }

    pub(crate) fn tell_error(&self, what: &str, error: &Error) {
        let hints: String = error.hints().iter().map(|hint| format!("; {hint}")).collect();
        self.tell(&format!("{what}: {}{hints}", error.chain()));
    }
}

/// Waits for the end of a keeper that is a child of ours.
async fn reap(keeper: KeeperProcess) {
    let watched = keeper.as_fd().try_clone_to_owned().and_then(Watched::new);
    if let Ok(watched) = watched {
        // Where it cannot be waited for it is a zombie until we end.
        let _ = watched.readable().await;
        let _ = keeper.reap();
    }
}
