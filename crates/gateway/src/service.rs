//! One service: its instances, and the requests that wait for one.

mod advice;
mod begin;
mod instance;
mod lease;
mod parked;
mod queue;
mod ready;
mod retire;
mod strain;
mod tend;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lifecycle::Socket;
use spec::activation::Activation;
use spec::{Error, Result, ResultExt};

use tokio::sync::Mutex;

use crate::account::metrics::Counters;
use crate::config::ServiceConfig;
use crate::hands::Found;
use crate::house::House;
use crate::policy::arrivals::Arrivals;
use crate::policy::backoff::Backoff;
use crate::policy::peak::Peak;
use crate::policy::scale;
use crate::policy::scale::{Capacity, Load};
use crate::settings::Settings;

use advice::Advice;
pub(crate) use instance::{Instance, Stage};
pub(crate) use lease::Lease;
use parked::Parked;
pub(crate) use queue::Refusal;

/// The number of the next one.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A service of a gateway.
pub(crate) struct Service {
    /// Tells it from all others of this process.
    pub(crate) id: u64,
    pub(crate) told: RefCell<Rc<ServiceConfig>>,
    pub(crate) house: Weak<House>,
    /// None until its package is known.
    settings: RefCell<Option<Rc<Settings>>>,
    /// Why it cannot be started at all, where its package or configuration is no good.
    pub(crate) trouble: RefCell<Option<String>>,
    instances: RefCell<Vec<Rc<Instance>>>,
    queue: RefCell<queue::Queue>,
    pub(crate) history: RefCell<History>,
    /// It has gone from the configuration: nothing is started any more.
    pub(crate) gone: Cell<bool>,
    pub(crate) counters: RefCell<Counters>,
    /// Instances that run, found when nothing was known of its package.
    left: RefCell<Vec<Found>>,
    /// Its clients, where sockets are lent.
    pub(crate) lent: Cell<u32>,
    /// A browser that was shown the waiting page has called it.
    pub(crate) called: Cell<bool>,
    /// There was no room on the host, when so many had ended.
    no_room: Cell<Option<(u64, Instant)>>,
    /// The highest number that an instance had.
    pub(crate) highest: Cell<u32>,
    /// Sockets that its instances are given.
    sockets: RefCell<BTreeMap<SocketAddr, Socket>>,
    /// What was made for the next start; held while it is being made.
    parked: Mutex<Option<Parked>>,
}

/// What it goes by besides the present.
pub(crate) struct History {
    pub(crate) backoff: Backoff,
    pub(crate) peak: Peak,
    pub(crate) capacity: Capacity,
    pub(crate) arrivals: Arrivals,
    pub(crate) advice: Advice,
    /// When the clients of lent sockets were counted.
    pub(crate) counted: Option<Instant>,
    /// When there was nothing to do any more.
    pub(crate) quiet: Option<Instant>,
}

impl History {
    fn new(now: Instant) -> Self {
        Self {
            backoff: Backoff::default(),
            peak: Peak::new(now, Activation::default().calm),
            capacity: Capacity::default(),
            arrivals: Arrivals::default(),
            advice: Advice::default(),
            counted: None,
            quiet: None,
        }
    }
}

impl Service {
    pub(crate) fn new(told: ServiceConfig, house: Weak<House>) -> Rc<Self> {
        Rc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            told: RefCell::new(Rc::new(told)),
            house,
            settings: RefCell::new(None),
            trouble: RefCell::new(None),
            instances: RefCell::default(),
            queue: RefCell::default(),
            history: RefCell::new(History::new(Instant::now())),
            gone: Cell::new(false),
            counters: RefCell::default(),
            left: RefCell::default(),
            lent: Cell::new(0),
            called: Cell::new(false),
            no_room: Cell::new(None),
            highest: Cell::new(0),
            sockets: RefCell::default(),
            parked: Mutex::new(None),
        })
    }

    pub(crate) fn name(&self) -> String {
        self.told.borrow().name.to_string()
    }

    pub(crate) fn settings(&self) -> Option<Rc<Settings>> {
        self.settings.borrow().clone()
    }

    /// From now on these hold; instances of another version are replaced.
    pub(crate) fn settle(self: &Rc<Self>, settings: Settings) {
        self.is_well();
        let calm = settings.activation.calm;
        *self.settings.borrow_mut() = Some(Rc::new(settings));
        let mut history = self.history.borrow_mut();
        history.peak = Peak::new(Instant::now(), calm);
        history.backoff.reset();
        drop(history);
        let left = std::mem::take(&mut *self.left.borrow_mut());
        left.into_iter().for_each(|found| self.adopt(found));
    }

    /// Its package and its configuration are good, again perhaps.
    pub(crate) fn is_well(&self) {
        if let Some(told) = self.trouble.borrow_mut().take() {
            self.tell(&format!("can be served again ({told})"));
        }
    }

    /// Its package or its configuration is no good; what runs goes on.
    pub(crate) fn is_broken(&self, error: &Error) {
        self.tell_error("cannot be served", error);
        *self.trouble.borrow_mut() = Some(error.chain());
    }

    /// Its instances are given this socket from now on.
    pub(crate) fn lend(&self, at: SocketAddr, socket: &OwnedFd) -> Result<()> {
        let socket = Arc::new(socket.try_clone().doing(|| "lending a socket")?);
        self.sockets.borrow_mut().insert(at, Socket { name: "listen".to_owned(), socket });
        Ok(())
    }

    /// And those that come this one not any more.
    pub(crate) fn take_back(&self, at: SocketAddr) {
        self.sockets.borrow_mut().remove(&at);
    }

    /// Whether clients come to its instances past us.
    fn lends(&self) -> bool {
        !self.sockets.borrow().is_empty()
    }

    /// All that there are, in whatever stage.
    pub(crate) fn instances(&self) -> Vec<Rc<Instance>> {
        self.instances.borrow().clone()
    }

    /// Whether one that is ready, or can be at once, is there.
    pub(crate) fn is_there(&self) -> bool {
        let there = |one: &Rc<Instance>| one.is_staying() && one.stage.get() != Stage::Starting;
        self.instances.borrow().iter().any(there)
    }

    /// So many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Whether there is anything to look after.
    pub(crate) fn is_active(&self) -> bool {
        !self.instances.borrow().is_empty() || self.waiting() > 0 || self.wants_some()
    }

    /// Whether it has fewer instances than it always has.
    pub(crate) fn is_short(&self) -> bool {
        let least = self.settings().map_or(0, |settings| settings.activation.min);
        let staying = self.instances.borrow().iter().filter(|one| one.is_staying()).count();
        !self.gone.get() && staying < least as usize
    }

    fn wants_some(&self) -> bool {
        !self.gone.get()
            && self.settings.borrow().as_ref().is_some_and(|settings| settings.activation.min > 0)
    }

    fn choices(&self) -> Option<Arc<Activation>> {
        self.settings.borrow().as_ref().map(|settings| Arc::clone(&settings.activation))
    }

    /// What is asked of it, and who is there for that.
    fn load(&self) -> Load {
        let instances = self.instances.borrow();
        let staying = || instances.iter().filter(|one| one.is_staying());
        let is_there = |one: &&Rc<Instance>| matches!(one.stage.get(), Stage::Ready | Stage::Freezing);
        Load {
            queued: self.waiting() as u32,
            in_flight: staying().map(|one| one.in_flight.get()).sum::<u32>() + self.lent.get(),
            coming: staying().filter(|one| one.is_coming()).count() as u32,
            ready: staying().filter(is_there).count() as u32,
        }
    }

    /// How many instances it should have at this moment, frozen ones not counted: by its policy, where that says
    /// anything, but one at least for those who wait.
    fn wanted(&self, activation: &Activation, now: Instant) -> u32 {
        let own = self.own_rule(activation, now);
        let least = activation.min.max(own.min(1));
        match self.history.borrow().advice.now(now) {
            Some(advised) => advised.clamp(least, activation.max),
            None => own,
        }
    }

    fn own_rule(&self, activation: &Activation, now: Instant) -> u32 {
        let load = self.load();
        let history = &mut *self.history.borrow_mut();
        history.peak.note(now, load.asked());
        let peak = history.peak.most(now);
        history.capacity.calm(peak);
        scale::wanted(activation, load, peak, &history.capacity)
    }

    /// The lowest number that no instance has.
    fn free_number(&self) -> u32 {
        let instances = self.instances.borrow();
        (1..).find(|number| instances.iter().all(|one| one.number != *number)).unwrap_or(1)
    }
}
