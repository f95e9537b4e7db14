//! How far a request has come on its way to an instance.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::door::patience::Patience;

/// One request; known to its body, and to who waits for an answer to it.
pub(crate) struct Progress {
    patience: Patience,
    /// All of it has been sent.
    whole: Cell<bool>,
    /// More of it is waited for, from the client.
    waits: Cell<bool>,
    /// What the client has sent cannot be understood, or it has gone.
    broken: Cell<bool>,
    /// The head of an answer has come: both sides may be silent from here on.
    answered: Cell<bool>,
    moved: Cell<Instant>,
}

impl Progress {
    /// `whole` where there is nothing but a head.
    pub(super) fn new(patience: Patience, whole: bool) -> Self {
        Self {
            patience,
            whole: Cell::new(whole),
            waits: Cell::new(false),
            broken: Cell::new(false),
            answered: Cell::new(false),
            moved: Cell::new(Instant::now()),
        }
    }

    /// The instance asks for more of it, and the client has sent none.
    pub(super) fn waits(&self) {
        if !self.waits.replace(true) && !self.answered.get() {
            self.patience.waits_for_body();
        }
    }

    /// Some of it goes to the instance.
    pub(super) fn moves(&self) {
        self.rests();
        self.moved.set(Instant::now());
    }

    /// That was the last of it.
    pub(super) fn is_at_end(&self) {
        self.rests();
        self.whole.set(true);
    }

    /// There is no more of it that could be understood.
    pub(super) fn is_broken_off(&self) {
        self.rests();
        self.broken.set(true);
    }

    /// Whether that is so.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Whether all of it has been sent: its connection may then be used again.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.get()
    }

    /// The head of its answer has come.
    pub(super) fn is_answered(&self) {
        self.rests();
        self.answered.set(true);
    }

    /// Returns once the instance has done nothing about it for so long, neither taken more of it nor answered. What
    /// the client takes its time for is not counted.
    pub(super) async fn is_late(&self, time: Duration) {
        self.moved.set(Instant::now());
        loop {
            let end = if self.waits.get() { Instant::now() } else { self.moved.get() } + time;
            tokio::time::sleep_until(end.into()).await;
            if !self.waits.get() && self.moved.get().elapsed() >= time {
                return;
            }
        }
    }

    fn rests(&self) {
        if self.waits.replace(false) && !self.answered.get() {
            self.patience.has_body();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.rests();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Clients;

    const TIME: Duration = Duration::from_micros(1);

    #[tokio::test]
    async fn what_the_client_takes_its_time_for_is_not_counted() {
        let progress = Progress::new(Patience::new(Clients::default()), false);
        progress.waits();
        let (late, moment) = (progress.is_late(TIME), Duration::from_millis(5));
        assert!(tokio::time::timeout(moment, late).await.is_err());
        progress.is_at_end();
        progress.is_late(TIME).await;
        assert!(progress.is_whole());
    }
}
