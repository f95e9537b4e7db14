//! The ports of the host that lead to a container: which they are at this start, and what carries what comes there.

use std::os::fd::{BorrowedFd, OwnedFd};

use spec::Result;
use spec::network::{Element, Networking, Publish, Shown};

use super::wire::with_host;
use super::{foreign, ports, relay};
use crate::disk::{self, Durable};
use crate::job::Job;

/// Beside the record: the ports that nobody said, as they were chosen.
const CHOSEN: &str = "ports.json";

/// Ports of the host, taken for one container.
pub(super) struct Doors {
    /// Those that lead to its address.
    outer: Vec<Publish>,
    /// Those that lead to its own loopback.
    inner: Vec<Publish>,
    /// Of the outer ones.
    sockets: Vec<OwnedFd>,
    /// These are listened on.
    inner_sockets: Vec<OwnedFd>,
    relayed: bool,
}

impl Doors {
    /// Takes them, so that nobody else has them from now on.
    ///
    /// # Errors
    /// Conflict for one that was said and another program has.
    pub(super) fn reserve(job: &Job, networking: &Networking) -> Result<Self> {
        let ours = !foreign::publish(networking) && networking.published.iter().any(is_for_others);
        let relayed = ours && with_host(net::Host::filters_input)?;
        let any = networking.published.iter().any(|publish| publish.host == 0);
        let before = if any || !networking.shown.is_empty() { chosen(job) } else { Vec::new() };
        let (mut outer, mut sockets) = published(&networking.published, &before, relayed)?;
        let (own, open): (Vec<Shown>, Vec<Shown>) = networking.shown.iter().partition(|shown| shown.local);
        let (more, held) = shown(&open, &before, relayed);
        outer.extend(more);
        sockets.extend(held);
        let (inner, inner_sockets) = shown(&own, &before, true);
        Ok(Self { outer, inner, sockets, inner_sockets, relayed })
    }

    /// Those that lead to its address, with the numbers that were found.
    pub(super) fn led_on(&self) -> &[Publish] {
        &self.outer
    }

    /// Whether a process carries what comes to them, as the packet filter may not lead it on.
    pub(super) fn are_relayed(&self) -> bool {
        self.relayed
    }

    /// Begins what carries packets where they are not led on: along `ways` to its address from outside, and to its
    /// own loopback from within its network. Gives all the ports, and what is to be held as long as it runs.
    ///
    /// # Errors
    /// When a process cannot be made.
    pub(super) fn open(
        self,
        job: &Job,
        ways: &[Element],
        inside: BorrowedFd<'_>,
    ) -> Result<(Vec<Publish>, Vec<OwnedFd>)> {
        let leash = (!ways.is_empty()).then(|| relay::begin(&self.sockets, ways, None)).transpose()?;
        let inner_ways = relay::inner_ways(&self.inner);
        let begin = || relay::begin(&self.inner_sockets, &inner_ways, Some(inside));
        let inner_leash = (!self.inner.is_empty()).then(begin).transpose()?;
        let published = [self.outer, self.inner].concat();
        if let Some(networking) = job.spec.network.as_deref() {
            // If it is lost the next life has other ports.
            let _ = remember(job, networking, &published);
        }
        let leashes = leash.into_iter().chain(inner_leash);
        Ok((published, self.sockets.into_iter().chain(self.inner_sockets).chain(leashes).collect()))
    }
}

/// What comes from the host itself never passes its rules for what comes in.
fn is_for_others(published: &Publish) -> bool {
    published.address.is_none_or(|address| !address.is_loopback())
}

/// Ports that were said. Those that may be any stay what they were in the life before, as long as nobody else has them.
fn published(wanted: &[Publish], before: &[Publish], relayed: bool) -> Result<(Vec<Publish>, Vec<OwnedFd>)> {
    let again: Vec<Publish> = wanted
        .iter()
        .map(|now| if now.host == 0 { same(now, before).unwrap_or(*now) } else { *now })
        .collect();
    ports::reserve(&again, relayed)
        .or_else(|error| if again == wanted { Err(error) } else { ports::reserve(wanted, relayed) })
}

/// Ports that nobody said: that of the life before, the service's own, or any that is free. Where not even that is
/// to be had there is none.
fn shown(shown: &[Shown], before: &[Publish], listened: bool) -> (Vec<Publish>, Vec<OwnedFd>) {
    let (mut published, mut held) = (Vec::new(), Vec::new());
    for Shown { publish, .. } in shown {
        let wishes = same(publish, before).into_iter().chain([*publish, Publish { host: 0, ..*publish }]);
        let taken = wishes.into_iter().find_map(|wish| ports::reserve(&[wish], listened).ok());
        let (port, sockets) = taken.unwrap_or_default();
        published.extend(port);
        held.extend(sockets);
    }
    (published, held)
}

/// Of earlier ones that which led to the same port of the container.
fn same(now: &Publish, before: &[Publish]) -> Option<Publish> {
    before.iter().find(|then| Publish { host: now.host, ..**then } == *now).copied()
}

fn chosen(job: &Job) -> Vec<Publish> {
    disk::read_json(&job.dir.join(CHOSEN)).ok().flatten().unwrap_or_default()
}

/// Keeps ports that were chosen for the next life.
fn remember(job: &Job, networking: &Networking, published: &[Publish]) -> Result<()> {
    let said = |one: &&Publish| {
        networking.published.contains(one) || networking.shown.iter().any(|shown| shown.publish == **one)
    };
    let chosen_now: Vec<Publish> = published.iter().filter(|one| !said(one)).copied().collect();
    if chosen_now.is_empty() || chosen_now == chosen(job) {
        return Ok(());
    }
    disk::write_json(&job.dir.join(CHOSEN), &chosen_now, Durable::No)
}
