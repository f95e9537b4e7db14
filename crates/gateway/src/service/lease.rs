//! The right to one request on one instance; given back when it is dropped.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Instance, Service};

/// A request's place on an instance.
pub(crate) struct Lease {
    service: Rc<Service>,
    instance: Rc<Instance>,
    /// How long it was waited for.
    pub(crate) waited: Duration,
    /// The instance was not there when it was asked for.
    pub(crate) cold: bool,
}

impl Lease {
    /// Takes a place; the caller has seen that there is one.
    pub(super) fn take(service: &Rc<Service>, instance: &Rc<Instance>, waited: Duration, cold: bool) -> Self {
        instance.in_flight.set(instance.in_flight.get() + 1);
        Self { service: Rc::clone(service), instance: Rc::clone(instance), waited, cold }
    }

    pub(crate) fn instance(&self) -> &Rc<Instance> {
        &self.instance
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let instance = &self.instance;
        instance.in_flight.set(instance.in_flight.get().saturating_sub(1));
        instance.used.set(Instant::now());
        self.service.freed(instance);
    }
}
