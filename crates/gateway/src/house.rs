//! All services of one gateway, and what they share: the host's room, and the threads that wait for
//! containers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use lifecycle::Home;
use spec::{Error, Result};
use tokio::sync::Semaphore;

use crate::service::{Instance, Service, Stage};

/// So many containers are started at once: more of them only take each other's time.
const STARTS: usize = 4;

/// From one look at the services to the next.
const TICK: Duration = Duration::from_millis(100);

/// All services.
pub(crate) struct House {
    pub(crate) home: Home,
    pub(crate) services: RefCell<Vec<Rc<Service>>>,
    /// So many instances at once.
    pub(crate) most: Cell<Option<usize>>,
    /// We end, and another takes over: nothing is done to instances any more.
    pub(crate) leaves: Cell<bool>,
    starts: Semaphore,
    /// Those that wait for room.
    wanting: RefCell<VecDeque<Weak<Service>>>,
}

impl House {
    pub(crate) fn new(home: Home) -> Rc<Self> {
        Rc::new(Self {
            home,
            services: RefCell::default(),
            most: Cell::new(None),
            leaves: Cell::new(false),
            starts: Semaphore::new(STARTS),
            wanting: RefCell::default(),
        })
    }

    /// Has a thread that may wait do something; `start` for what is bounded in number.
    pub(crate) async fn hand<T: Send + 'static>(
        &self,
        start: bool,
        act: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = match start {
            true => Some(self.starts.acquire().await.map_err(|_| Error::internal("the gateway ends"))?),
            false => None,
        };
        let done = tokio::task::spawn_blocking(act).await;
        done.unwrap_or_else(|_| Err(Error::internal("a thread of the gateway has failed")))
    }

    /// Looks after everything, for ever.
    pub(crate) async fn tend(self: Rc<Self>) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.leaves.get() {
                continue;
            }
            self.services.borrow_mut().retain(|one| !one.gone.get() || one.is_active());
            let now = Instant::now();
            let active: Vec<_> =
                self.services.borrow().iter().filter(|one| one.is_active()).cloned().collect();
            active.iter().for_each(|service| service.tend(now));
        }
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
    pub(crate) fn has_room_for(&self, service: &Rc<Service>) -> bool {
        let running: usize = self.services.borrow().iter().map(|one| one.instances().len()).sum();
        if self.most.get().is_none_or(|most| running < most) {
            return true;
        }
        self.is_full(service);
        false
    }

    /// There is no room: the one that has been idle for longest makes some.
    pub(crate) fn is_full(&self, service: &Rc<Service>) {
        let mut wanting = self.wanting.borrow_mut();
        if !wanting.iter().any(|one| one.ptr_eq(&Rc::downgrade(service))) {
            wanting.push_back(Rc::downgrade(service));
        }
        drop(wanting);
        if let Some((owner, idle)) = self.least_used(service) {
            owner.retire(&idle);
        }
    }

    fn least_used(&self, except: &Rc<Service>) -> Option<(Rc<Service>, Rc<Instance>)> {
        let services = self.services.borrow().clone();
        let all = services.into_iter().filter(|one| !Rc::ptr_eq(one, except));
        let idle = all.flat_map(|service| {
            let instances = service.instances();
            instances.into_iter().map(move |one| (Rc::clone(&service), one))
        });
        idle.filter(|(_, one)| {
            one.in_flight.get() == 0
                && one.is_staying()
                && matches!(one.stage.get(), Stage::Ready | Stage::Frozen)
        })
        .min_by_key(|(_, one)| one.used.get())
    }

    /// Something has ended: who waited for that may have it.
    pub(crate) fn may_have_room(&self) {
        let next = self.wanting.borrow_mut().pop_front().and_then(|one| one.upgrade());
        if let Some(service) = next {
            tokio::task::spawn_local(async move { service.adjust() });
        }
    }
}
