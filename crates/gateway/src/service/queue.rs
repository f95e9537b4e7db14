//! Requests that wait for an instance: bounded in number and in time, served in the order in which they
//! came.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::lease::Lease;
use super::{Instance, Service};

/// Why a request gets no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many wait already.
    Full,
    /// It has waited for as long as it may.
    Late,
    /// The service does not start, or dies as soon as it has: after this time it is tried again.
    Failing(Duration),
    /// Its package or its configuration is no good.
    Broken,
}

/// Those who wait.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    reply: oneshot::Sender<Result<Lease, Refusal>>,
    since: Instant,
    /// Nobody was there when it came.
    cold: bool,
}

impl Queue {
    /// Those who still wait: who has gone away is not counted for long.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn forget_the_gone(&mut self) {
        self.waiting.retain(|waiter| !waiter.reply.is_closed());
    }

    fn next(&mut self) -> Option<Waiter> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|waiter| !waiter.reply.is_closed())
    }
}

impl Service {
    /// A place on an instance: at once where one has room, else when one has.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn acquire(self: &Rc<Self>) -> Result<Lease, Refusal> {
        let since = Instant::now();
        self.note_arrival(since);
        if self.queue.borrow().len() == 0
            && let Some(instance) = self.with_room()
        {
            return Ok(Lease::take(self, &instance, Duration::ZERO, false));
        }
        let time = self.may_wait(since).inspect_err(|refusal| self.count_refusal(refusal))?;
        self.counters.borrow_mut().queued += 1;
        let (reply, answer) = oneshot::channel();
        let cold = !self.is_there();
        self.queue.borrow_mut().waiting.push_back(Waiter { reply, since, cold });
        self.serve();
        self.adjust();
        let answer = match tokio::time::timeout(time, answer).await {
            Ok(answer) => answer.unwrap_or(Err(Refusal::Broken)),
            Err(_) => {
                self.queue.borrow_mut().forget_the_gone();
                Err(Refusal::Late)
            }
        };
        answer.inspect_err(|refusal| self.count_refusal(refusal))
    }

    fn count_refusal(&self, refusal: &Refusal) {
        let refused = &mut self.counters.borrow_mut().refused;
        match refusal {
            Refusal::Full => refused.full += 1,
            Refusal::Late => refused.late += 1,
            Refusal::Failing(_) => refused.failing += 1,
            Refusal::Broken => refused.broken += 1,
        }
    }

    /// How long one that comes now may wait.
    fn may_wait(&self, now: Instant) -> Result<Duration, Refusal> {
        let Some(choices) = self.choices() else { return Err(Refusal::Broken) };
        if self.gone.get() {
            return Err(Refusal::Broken);
        }
        let alive = self.instances.borrow().iter().any(|one| one.is_staying());
        if let (false, Some(seconds)) = (alive, self.history.borrow().backoff.refusal(now)) {
            return Err(Refusal::Failing(Duration::from_secs(seconds)));
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= choices.queue as usize {
            queue.forget_the_gone();
            if queue.len() >= choices.queue as usize {
                return Err(Refusal::Full);
            }
        }
        Ok(choices.queue_time)
    }

    /// Whether one that comes now would wait for something.
    pub(crate) fn may_come(&self) -> bool {
        self.may_wait(Instant::now()).is_ok()
    }

    /// The instance that has the fewest requests, of those that can have one more.
    fn with_room(&self) -> Option<Rc<Instance>> {
        let instances = self.instances.borrow();
        let free = instances.iter().filter(|one| one.has_room());
        free.min_by_key(|one| (one.in_flight.get(), one.number)).cloned()
    }

    /// Gives places to those who wait, for as long as there are some.
    pub(crate) fn serve(self: &Rc<Self>) {
        while let Some(instance) = self.with_room() {
            let Some(Waiter { reply, since, cold }) = self.queue.borrow_mut().next() else { return };
            let lease = Lease::take(self, &instance, since.elapsed(), cold);
            // Who has gone away in this moment gives it back.
            let _ = reply.send(Ok(lease));
        }
    }

    /// Tells all who wait that there will be nothing.
    pub(crate) fn refuse(&self, refusal: &Refusal) {
        let waiting = std::mem::take(&mut self.queue.borrow_mut().waiting);
        for waiter in waiting {
            let _ = waiter.reply.send(Err(refusal.clone()));
        }
    }
}
