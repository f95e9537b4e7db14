//! Who waits for room on a host that is full, and who makes it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Instant;

use crate::policy::fair::{self, Group, Idle, Turns};
use crate::service::{Instance, Service, Stage};

/// What is counted: instances, each as much as any other.
const ONE: u64 = 1;

/// One that waits.
struct Wants {
    service: Weak<Service>,
    since: Instant,
    /// It waits for one instance to go, whichever, and nobody slips past it. What waits for memory may wait for
    /// ever, and keeps nobody from going on with less.
    keeps_its_turn: bool,
}

/// Those that wait for room.
#[derive(Default)]
pub(super) struct Waiting {
    all: RefCell<Vec<Wants>>,
    turns: RefCell<Turns<u64>>,
}

impl Waiting {
    /// It waits from now on, if it does not yet.
    pub(super) fn wants(&self, service: &Rc<Service>, keeps_its_turn: bool) {
        let mut all = self.all.borrow_mut();
        match all.iter_mut().find(|one| one.is(service)) {
            Some(known) => known.keeps_its_turn = keeps_its_turn,
            None => {
                let (service, since) = (Rc::downgrade(service), Instant::now());
                all.push(Wants { service, since, keeps_its_turn });
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.all.borrow().iter().filter(|one| one.still()).count()
    }

    /// It has got some.
    pub(super) fn has_got(&self, service: &Rc<Service>) {
        let mut all = self.all.borrow_mut();
        let before = all.len();
        all.retain(|one| !one.is(service));
        if all.len() < before {
            let weight = u64::from(service.told.borrow().weight);
            self.turns.borrow_mut().served(service.id, weight, ONE);
        }
    }

    /// Whether nobody else comes before it.
    pub(super) fn is_turn_of(&self, service: &Rc<Service>) -> bool {
        self.first(|one| one.keeps_its_turn).is_none_or(|next| Rc::ptr_eq(&next, service))
    }

    /// Whose turn it is. Who does not need it any more waits no longer.
    pub(super) fn next(&self) -> Option<Rc<Service>> {
        self.all.borrow_mut().retain(Wants::still);
        self.first(|_| true)
    }

    fn first(&self, among: impl Fn(&Wants) -> bool) -> Option<Rc<Service>> {
        let all = self.all.borrow();
        let known = all.iter().filter(|one| among(one) && one.still());
        let (services, waiting): (Vec<_>, Vec<_>) = known
            .filter_map(|one| {
                let service = one.service.upgrade()?;
                let waits = fair::Waiting { group: service.id, since: one.since };
                Some((service, waits))
            })
            .unzip();
        let place = self.turns.borrow().next(&waiting)?;
        services.into_iter().nth(place)
    }
}

impl Wants {
    fn is(&self, service: &Rc<Service>) -> bool {
        std::ptr::eq(self.service.as_ptr(), Rc::as_ptr(service))
    }

    fn still(&self) -> bool {
        self.service.upgrade().is_some_and(|service| service.waiting() > 0 || service.is_short())
    }
}

/// The instance that gives way to one of `asking`, if any can.
pub(super) fn who_gives_way(
    services: &[Rc<Service>],
    asking: &Rc<Service>,
) -> Option<(Rc<Service>, Rc<Instance>)> {
    let groups: Vec<_> = services
        .iter()
        .map(|one| Group { weight: one.told.borrow().weight.into(), held: one.instances().len() as u64 })
        .collect();
    let mut idle = Vec::new();
    for (place, service) in services.iter().enumerate().filter(|(_, one)| !Rc::ptr_eq(one, asking)) {
        let all = service.instances();
        let staying = all.iter().filter(|one| one.is_staying()).count();
        // Those that it always has it keeps.
        let least = service.settings().map_or(0, |settings| settings.activation.min as usize);
        let spare = all.into_iter().filter(|one| may_go(one)).take(staying.saturating_sub(least));
        idle.extend(spare.map(|one| (Idle { group: place, since: one.used.get() }, Rc::clone(service), one)));
    }
    let seen: Vec<_> = idle.iter().map(|(seen, ..)| *seen).collect();
    let place = services.iter().position(|one| Rc::ptr_eq(one, asking))?;
    let victim = fair::victim(&groups, &seen, place, ONE)?;
    let (_, service, instance) = idle.swap_remove(victim);
    Some((service, instance))
}

fn may_go(instance: &Instance) -> bool {
    let rests = matches!(instance.stage.get(), Stage::Ready | Stage::Frozen);
    rests && instance.in_flight.get() == 0 && instance.is_staying()
}
