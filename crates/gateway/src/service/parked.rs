//! The next start of a service that is stopped, prepared as far as it can be: its container made, and a keeper that
//! waits for the word to go.

use std::rc::Rc;

use lifecycle::Prepared;

use super::{Instance, Service};
use crate::hands;

/// A start that needs only the word.
pub(super) struct Parked {
    number: u32,
    version: String,
    prepared: Prepared,
}

impl Service {
    /// Prepares its next start, if nothing of it runs. What is in the way is told when it is started.
    pub(crate) async fn park(self: &Rc<Self>) {
        let (Some(settings), Some(house)) = (self.settings(), self.house.upgrade()) else { return };
        let Ok(mut parked) = self.parked.try_lock() else { return };
        if self.gone.get() || !self.instances().is_empty() || parked.is_some() || house.leaves.get() {
            return;
        }
        let park = house.may_park(self);
        let (home, told) = (house.home.clone(), (**self.told.borrow()).clone());
        let version = settings.version.clone();
        let settings = (*settings).clone();
        let made = house.hand(false, move || hands::prepare(&home, &told, &settings, 1, park)).await;
        *parked = made.ok().flatten().map(|prepared| Parked { number: 1, version, prepared });
        let outdated =
            self.settings().is_none_or(|now| parked.as_ref().is_some_and(|one| one.version != now.version));
        if outdated || self.gone.get() {
            discard(parked.take());
        }
    }

    /// What was prepared for this instance; what is just being made is waited for.
    pub(super) async fn prepared_for(&self, instance: &Instance) -> Option<Prepared> {
        let parked = self.parked.lock().await.take()?;
        if parked.number == instance.number && parked.version == instance.settings.version {
            return Some(parked.prepared);
        }
        discard(Some(parked));
        None
    }

    /// Whether its next start is prepared, or just being so.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.try_lock().map_or(true, |parked| parked.is_some())
    }

    /// Its next start takes what a start takes.
    pub(crate) fn unpark(&self) {
        if let Ok(mut parked) = self.parked.try_lock() {
            discard(parked.take());
        }
    }

    /// Whether anybody has ever asked for it.
    pub(crate) fn was_asked(&self) -> bool {
        self.counters.borrow().starts > 0
    }
}

/// To take back what was made takes its time.
fn discard(parked: Option<Parked>) {
    let Some(parked) = parked else { return };
    tokio::task::spawn_blocking(move || drop(parked.prepared));
}
