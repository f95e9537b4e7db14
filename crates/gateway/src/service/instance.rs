//! One instance: a container, how it stands, and the connections to it that are free.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use spec::activation::Protocol;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::strain::Strain;
use crate::dial::{self, Probe};
use crate::hands::Running;
use crate::proxy::upstream::Free;
use crate::settings::Settings;

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being started, or is not ready yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It is being frozen.
    Freezing,
    /// Its processes are held.
    Frozen,
    /// It is being let go on.
    Thawing,
    /// It is being ended, or has ended.
    Stopping,
}

impl Stage {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
            Self::Thawing => "thawing",
            Self::Stopping => "stopping",
        }
    }
}

/// What somebody has open is closed so long before his end is known, mostly; and one that ends in order closes it long
/// before.
const LAST_MOMENTS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// An instance of a service.
pub(crate) struct Instance {
    pub(crate) number: u32,
    /// What it was made by.
    pub(crate) settings: Rc<Settings>,
    pub(crate) stage: Cell<Stage>,
    /// It takes no more requests: it finishes those that it has, then ends.
    pub(crate) leaving: Cell<Option<Instant>>,
    pub(crate) in_flight: Cell<u32>,
    /// When its container was started.
    pub(crate) since: Cell<Instant>,
    /// When it had its last request.
    pub(crate) used: Cell<Instant>,
    /// It is to take the place of older ones.
    pub(crate) successor: Cell<bool>,
    /// It has taken requests.
    pub(crate) was_ready: Cell<bool>,
    /// Its container was started, or could not be: until then nobody else does anything to that.
    pub(crate) settled: Cell<bool>,
    network: RefCell<Option<Rc<OwnedFd>>>,
    ended: Notify,
    pub(crate) free: RefCell<Free>,
    /// So many questions about its health in a row had no good answer.
    pub(crate) ill: Cell<u32>,
    pub(crate) asked: Cell<Instant>,
    /// What it is short of, where that matters.
    pub(crate) strain: RefCell<Option<Rc<Strain>>>,
    /// It has held too much memory for long.
    pub(crate) leaks: Cell<bool>,
    /// This host cannot hold its processes.
    pub(crate) never_frozen: Cell<bool>,
}

impl Instance {
    pub(crate) fn new(number: u32, settings: Rc<Settings>, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            number,
            settings,
            stage: Cell::new(Stage::Starting),
            leaving: Cell::new(None),
            in_flight: Cell::new(0),
            since: Cell::new(now),
            used: Cell::new(now),
            successor: Cell::new(false),
            was_ready: Cell::new(false),
            settled: Cell::new(false),
            network: RefCell::new(None),
            ended: Notify::new(),
            free: RefCell::default(),
            ill: Cell::new(0),
            asked: Cell::new(now),
            strain: RefCell::new(None),
            leaks: Cell::new(false),
            never_frozen: Cell::new(false),
        })
    }

    /// Its container runs.
    pub(crate) fn attach(&self, running: &mut Running, now: Instant) {
        self.settled.set(true);
        *self.network.borrow_mut() = running.network.take().map(Rc::new);
        self.since.set(now.checked_sub(running.age).unwrap_or(now));
        let strain = Strain::of(&self.settings.activation, running.group.as_ref(), now);
        *self.strain.borrow_mut() = strain.map(Rc::new);
    }

    /// It is known that its first process has ended.
    pub(crate) fn has_ended(&self) {
        self.ended.notify_waiters();
    }

    /// It gives no answers: waits until it is known whether it has ended. Who asks again at once would be led to
    /// the same one. It is waited longer where it was asked `again`.
    pub(crate) async fn last_moment(&self, again: bool) {
        if self.stage.get() != Stage::Stopping {
            // Whoever has not ended by then may be asked again.
            let _ = tokio::time::timeout(LAST_MOMENTS[usize::from(again)], self.ended.notified()).await;
        }
    }

    /// Whether it can have one more request now.
    pub(crate) fn has_room(&self) -> bool {
        self.stage.get() == Stage::Ready
            && self.is_staying()
            && self.in_flight.get() < self.settings.activation.concurrency
    }

    /// Whether it is counted on.
    pub(crate) fn is_staying(&self) -> bool {
        self.leaving.get().is_none() && self.stage.get() != Stage::Stopping
    }

    /// Whether it is about to be ready.
    pub(crate) fn is_coming(&self) -> bool {
        self.is_staying() && matches!(self.stage.get(), Stage::Starting | Stage::Thawing)
    }

    /// A new connection to its service.
    pub(crate) async fn connect(&self) -> std::io::Result<TcpStream> {
        let network = self.network.borrow().clone();
        dial::connect(network.as_deref().map(AsFd::as_fd), self.settings.port).await
    }

    /// Tells whether its service listens, where the kernel does.
    pub(super) fn probe(&self) -> Option<Probe> {
        let network = self.network.borrow().clone();
        Probe::new(network.as_deref().map(AsFd::as_fd))
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.settings.activation.protocol
    }
}
