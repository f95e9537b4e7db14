//! How instances go: their requests first.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::queue::Refusal;
use super::{Instance, Service, Stage};
use crate::hands;
use crate::house::House;

/// What one that was never ready has to end.
const MOMENT: Duration = Duration::from_secs(1);

impl Service {
    /// A request on this instance is over.
    pub(super) fn freed(self: &Rc<Self>, instance: &Rc<Instance>) {
        if instance.leaving.get().is_some() && instance.in_flight.get() == 0 {
            self.end(instance);
        }
        self.serve();
        if self.load().asked() == 0 {
            self.history.borrow_mut().quiet = Some(Instant::now());
        }
        if let Some(house) = self.house.upgrade() {
            house.may_have_room();
        }
    }

    /// It takes no more requests, finishes those that it has, and ends.
    pub(crate) fn retire(self: &Rc<Self>, instance: &Rc<Instance>) {
        if instance.leaving.get().is_none() {
            instance.leaving.set(Some(Instant::now()));
        }
        if instance.in_flight.get() == 0 {
            self.end(instance);
        }
    }

    /// Nobody listens in it any more, though somebody did: others are to take what comes.
    pub(crate) fn is_deaf(self: &Rc<Self>, instance: &Rc<Instance>) {
        if instance.is_staying() && instance.stage.get() == Stage::Ready {
            self.tell(&format!("instance {} does not listen any more: it is replaced", instance.number));
            self.retire(instance);
        }
    }

    /// Those that were there before one came to take their place.
    pub(super) fn retire_the_old(self: &Rc<Self>, successor: &Rc<Instance>) {
        let old = self.instances().into_iter().find(|one| {
            !Rc::ptr_eq(one, successor) && one.is_staying() && !one.successor.get() && self.is_stale(one)
        });
        if let Some(old) = old {
            self.retire(&old);
        }
    }

    /// Ends it now, whatever it does.
    pub(crate) fn end(self: &Rc<Self>, instance: &Rc<Instance>) {
        let Some(house) = self.house.upgrade().filter(|house| !house.leaves.get()) else { return };
        if instance.stage.replace(Stage::Stopping) == Stage::Stopping {
            return;
        }
        instance.free.borrow_mut().clear();
        if !instance.settled.get() {
            // Whoever starts it sees that it is not wanted any more.
            return;
        }
        let (service, instance) = (Rc::clone(self), Rc::clone(instance));
        drop(house);
        tokio::task::spawn_local(async move { service.wind_up(&instance).await });
    }

    /// Ends its container, and forgets it.
    pub(super) async fn wind_up(self: &Rc<Self>, instance: &Rc<Instance>) {
        let Some(house) = self.house.upgrade() else { return };
        let outdated = self.settings().is_none_or(|now| now.version != instance.settings.version);
        let remove = outdated || self.gone.get();
        // One that never was well has nothing to finish.
        let time = if instance.was_ready.get() { hands::STOP_TIME } else { MOMENT };
        let least = instance.settings.least();
        let (home, name) = (house.home.clone(), self.container(instance));
        let ended = house.hand(false, move || {
            let name = name?;
            hands::stop(&home, &name, time)?;
            match (remove, least) {
                (true, _) => hands::remove(&home, &name, false),
                // What it was given under load is not what it begins with the next time.
                (false, Some(least)) => hands::limit(&home, &name, &least),
                (false, None) => Ok(()),
            }
        });
        if let Err(error) = ended.await {
            self.tell_error(&format!("instance {} does not end", instance.number), &error);
        }
        self.drop_instance(instance);
        house.something_ended();
        self.adjust();
        self.park().await;
    }

    /// It has gone from the configuration: who waits is told, and its instances finish what they have.
    pub(crate) fn leave(self: &Rc<Self>) {
        self.gone.set(true);
        self.refuse(&Refusal::Broken);
    }

    /// Removes the containers of its instances, none of which runs.
    pub(crate) async fn remove_containers(&self, house: &House) {
        for number in 1..=self.highest.get().max(1) {
            let (home, name) = (house.home.clone(), hands::name_of(self.told.borrow().name.as_str(), number));
            // What stays, or was begun anew meanwhile, is found by the next gateway.
            let _ = house.hand(false, move || hands::remove(&home, &name?, false)).await;
        }
    }

    pub(super) fn drop_instance(&self, instance: &Rc<Instance>) {
        self.instances.borrow_mut().retain(|one| !Rc::ptr_eq(one, instance));
    }

    /// Whether it is too old, holds too much memory, or is of an older version of its package.
    pub(super) fn is_stale(&self, instance: &Instance) -> bool {
        let Some(settings) = self.settings() else { return false };
        let old = settings.activation.max_age.is_some_and(|most| instance.since.get().elapsed() >= most);
        old || instance.leaks.get() || settings.version != instance.settings.version
    }

    /// Holds its processes.
    pub(super) fn freeze(self: &Rc<Self>, instance: &Rc<Instance>) {
        let Some(house) = self.house.upgrade() else { return };
        instance.stage.set(Stage::Freezing);
        // A service that is held answers nothing, not even that it has closed a connection.
        instance.free.borrow_mut().clear();
        let (service, instance) = (Rc::clone(self), Rc::clone(instance));
        tokio::task::spawn_local(async move {
            let (home, name) = (house.home.clone(), service.container(&instance));
            let frozen = house.hand(false, move || hands::freeze(&home, &name?)).await;
            if instance.stage.get() == Stage::Freezing {
                instance.stage.set(if frozen.is_ok() { Stage::Frozen } else { Stage::Ready });
            }
            if let Err(error) = frozen {
                service.tell_error(&format!("instance {} is not frozen", instance.number), &error);
                // Once is enough to know that this host cannot.
                instance.never_frozen.set(true);
            }
            service.serve();
            service.adjust();
            if instance.stage.get() == Stage::Frozen {
                let (home, name) = (house.home.clone(), service.container(&instance));
                // Where it gives nothing back it is frozen all the same.
                let _ = house.hand(false, move || hands::reclaim(&home, &name?)).await;
            }
        });
    }
}
