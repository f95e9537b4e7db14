//! How instances go: their requests first.

use std::rc::Rc;
use std::time::Instant;

use super::{Instance, Service, Stage};
use crate::hands;

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
        let (service, instance) = (Rc::clone(self), Rc::clone(instance));
        tokio::task::spawn_local(async move {
            let outdated = service.settings().is_none_or(|now| now.version != instance.settings.version);
            let remove = outdated || service.gone.get();
            let (home, name) = (house.home.clone(), service.container(&instance));
            let ended = house.hand(false, move || {
                let name = name?;
                hands::stop(&home, &name)?;
                if remove { hands::remove(&home, &name) } else { Ok(()) }
            });
            if let Err(error) = ended.await {
                service.tell_error(&format!("instance {} does not end", instance.number), &error);
            }
            service.drop_instance(&instance);
            house.may_have_room();
            service.adjust();
            service.park().await;
        });
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
        });
    }
}
