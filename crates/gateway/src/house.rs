//! All services of one gateway, and what they share: the host's room, and the threads that wait for
//! containers.

mod room;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use lifecycle::Home;
use spec::{Error, Result};
use tokio::sync::Semaphore;

use room::Waiting;

use crate::service::Service;

/// So many containers are started at once: more of them only take each other's time.
const STARTS: usize = 4;

/// A start that takes longer waits for something (a hook, a lock), and others need not wait for it.
const TURN: Duration = Duration::from_secs(1);

/// But so many of those at most: threads are for everything else, too.
const OVERDUE: usize = 32;

/// From one look at the services to the next.
const TICK: Duration = Duration::from_millis(100);

/// All services.
pub(crate) struct House {
    pub(crate) home: Home,
    pub(crate) services: RefCell<Vec<Rc<Service>>>,
    /// So many instances at once.
    pub(crate) most: Cell<Option<usize>>,
    /// So many services have their next start prepared, at most, and those that have, the latest last.
    pub(crate) places: Cell<usize>,
    parked: RefCell<VecDeque<Weak<Service>>>,
    /// We end, and another takes over: nothing is done to instances any more.
    pub(crate) leaves: Cell<bool>,
    /// So many instances have ended.
    pub(crate) ended: Cell<u64>,
    starts: Semaphore,
    overdue: Semaphore,
    asks: Semaphore,
    room: Waiting,
}

impl House {
    pub(crate) fn new(home: Home) -> Rc<Self> {
        Rc::new(Self {
            home,
            services: RefCell::default(),
            most: Cell::new(None),
            places: Cell::new(0),
            parked: RefCell::default(),
            leaves: Cell::new(false),
            ended: Cell::new(0),
            starts: Semaphore::new(STARTS),
            overdue: Semaphore::new(OVERDUE),
            asks: Semaphore::new(STARTS),
            room: Waiting::default(),
        })
    }

    /// Has a thread that may wait do something; `start` for what is bounded in number.
    pub(crate) async fn hand<T: Send + 'static>(
        &self,
        start: bool,
        act: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = match start {
            true => Some(self.starts.acquire().await.map_err(|_| Error::internal("the gateway ends"))?),
            false => None,
        };
        let mut acts = tokio::task::spawn_blocking(act);
        let done = match turn {
            None => acts.await,
            Some(turn) => match tokio::time::timeout(TURN, &mut acts).await {
                Ok(done) => done,
                Err(_) => {
                    let _place = self.overdue.try_acquire().unwrap_or(turn);
                    acts.await
                }
            },
        };
        done.unwrap_or_else(|_| Err(Error::internal("a thread of the gateway has failed")))
    }

    /// Asks a policy: some of them at once, so that there are threads for everything else.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.asks.acquire().await.map_err(|_| Error::internal("the gateway ends"))?;
        self.hand(false, act).await
    }

    /// Looks after everything, for ever.
    pub(crate) async fn tend(self: Rc<Self>) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.leaves.get() {
                continue;
            }
            self.bury_the_gone();
            let now = Instant::now();
            let services = self.services.borrow().clone();
            for service in &services {
                match service.is_active() {
                    true => service.tend(now),
                    false => service.history.borrow_mut().advice.rest(now),
                }
            }
            // Room may come from elsewhere.
            self.may_have_room();
        }
    }

    /// Those that have gone from the configuration, and have nothing left, leave nothing behind.
    fn bury_the_gone(self: &Rc<Self>) {
        let mut gone = Vec::new();
        self.services.borrow_mut().retain(|one| {
            let stays = !one.gone.get() || one.is_active();
            if !stays {
                gone.push(Rc::clone(one));
            }
            stays
        });
        for service in gone {
            service.unpark();
            service.history.borrow_mut().advice.forget();
            let house = Rc::clone(self);
            tokio::task::spawn_local(async move { service.remove_containers(&house).await });
        }
    }

    /// Whether a service may have its next start prepared: at the cost of whoever was asked least recently, where it
    /// was asked itself.
    pub(crate) fn may_park(&self, service: &Rc<Service>) -> bool {
        let mut parked = self.parked.borrow_mut();
        parked.retain(|one| one.upgrade().is_some_and(|one| one.is_parked() && !Rc::ptr_eq(&one, service)));
        if parked.len() >= self.places.get() {
            let first = parked.front().and_then(Weak::upgrade).filter(|_| service.was_asked());
            let Some(first) = first else { return false };
            parked.pop_front();
            first.unpark();
        }
        parked.push_back(Rc::downgrade(service));
        true
    }

    /// Whether any request waits for an instance.
    pub(crate) fn someone_waits(&self) -> bool {
        self.services.borrow().iter().any(|one| one.waiting() > 0)
    }

    /// Whether any request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let services = self.services.borrow();
        services
            .iter()
            .any(|one| one.waiting() > 0 || one.instances().iter().any(|one| one.in_flight.get() > 0))
    }

    /// Whether a service may have one more instance; if not, it is told when that has changed, and somebody who
    /// can do without one gives it up.
    pub(crate) fn has_room_for(&self, service: &Rc<Service>, successor: bool) -> bool {
        let running: usize = self.services.borrow().iter().map(|one| one.instances().len()).sum();
        let has_room = self.most.get().is_none_or(|most| running < most);
        if has_room && self.room.is_turn_of(service) {
            self.room.has_got(service);
            return true;
        }
        // Nobody gives way to one that only takes the place of another.
        if !successor {
            self.is_full(service, true);
        }
        false
    }

    /// There is no room, for any instance or for one of this service: whoever should, and can, gives some up.
    pub(crate) fn is_full(&self, service: &Rc<Service>, for_any: bool) {
        self.room.wants(service, for_any);
        let services = self.services.borrow().clone();
        let going = services.iter().flat_map(|one| one.instances()).filter(|one| !one.is_staying()).count();
        // Those who go already make room; and for one that nobody waits for nobody goes.
        if going >= self.room.len() || service.waiting() == 0 {
            return;
        }
        if let Some((owner, idle)) = room::who_gives_way(&services, service) {
            owner.retire(&idle);
        }
    }

    /// An instance has ended.
    pub(crate) fn something_ended(&self) {
        self.ended.set(self.ended.get() + 1);
        self.may_have_room();
    }

    /// Something has ended: who waited for that may have it.
    pub(crate) fn may_have_room(&self) {
        if let Some(service) = self.room.next() {
            tokio::task::spawn_local(async move { service.adjust() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn starts_that_hang_hold_up_nobody() {
        let dir = tempfile::tempdir().expect("tempdir");
        let house = House::new(Home::at(dir.path(), dir.path()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut hung = Vec::new();
            for _ in 0..STARTS {
                let (go, waits) = mpsc::channel::<()>();
                let house = Rc::clone(&house);
                let act = move || waits.recv().map_err(|_| Error::internal("nobody"));
                hung.push((go, tokio::task::spawn_local(async move { house.hand(true, act).await })));
            }
            tokio::task::yield_now().await;
            assert_eq!(house.hand(true, || Ok(5)).await.expect("its turn"), 5);
            for (go, act) in hung {
                go.send(()).expect("it waits");
                act.await.expect("a task").expect("done");
            }
        });
    }
}
