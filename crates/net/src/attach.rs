//! What makes a container's network: the steps, as few calls of the kernel as possible.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;
use spec::network::{Element, Link, Plan, Side, Step, Wiring};
use spec::{Error, ErrorKind, Result, ResultExt};

use crate::address::{self, Way};
use crate::entry::{Entry, entries, spoken};
use crate::host::Host;
use crate::inside::{self, Inside};
use crate::link;
use crate::message::Batch;
use crate::raise::is_off;
use crate::socket::{Failure, Socket};
use crate::{filter, shape};

/// How many hundredths of a second a link may outlive its container: the kernel takes network namespaces down when it
/// gets to it.
const GOING: u32 = 200;

/// What became of the names of a plan: the numbers of its interfaces.
#[derive(Default)]
struct Numbers(Vec<(Side, String, u32)>);

impl Numbers {
    fn of(&self, side: Side, name: &str) -> Option<u32> {
        self.0.iter().find(|(at, known, _)| *at == side && known == name).map(|(_, _, number)| *number)
    }

    fn learn(&mut self, side: Side, name: &str, number: u32) {
        self.0.push((side, name.to_owned(), number));
    }
}

impl Host {
    /// Makes the network of a container, the network namespace of which is `inside`: all of it, or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the host's part of a network is gone ([`mend`](Self::mend) it and try
    /// again), [`ErrorKind::Conflict`] where a published port leads to another container already.
    pub fn attach(&self, plan: &Plan, inside: BorrowedFd<'_>) -> Result<()> {
        self.attach_by(plan, &Inside::of(inside)?)
    }

    /// The same where the inner side is at hand.
    pub fn attach_by(&self, plan: &Plan, inside: &Inside) -> Result<()> {
        self.wire(plan, inside).inspect_err(|_| {
            // What is undone here was made here: the error that is told is the first one.
            let _ = self.remove_links(plan);
            for step in plan {
                if let Step::Move { host, inside: name } = step {
                    let _ = inside::give_back(inside.namespace(), name, host);
                }
            }
        })
    }

    fn wire(&self, plan: &Plan, inside: &Inside) -> Result<()> {
        let mut numbers = Numbers::default();
        for step in plan {
            match step {
                Step::Link(link) => self.link_up(link, inside, &mut numbers)?,
                Step::Move { host, inside: name } => self.move_in(host, name, inside, &mut numbers)?,
                _ => {}
            }
        }
        let without_v6 = self.steps(plan, Side::Host, &self.route, &numbers, false)?;
        self.steps(plan, Side::Inside, &inside.route, &numbers, without_v6)?;
        self.activate(&numbers)?;
        for step in plan {
            if let Step::Parameter { path, value } = step {
                let path = format!("/proc/sys/{path}");
                std::fs::write(&path, value).doing(|| format!("writing {value} to {path}"))?;
            }
        }
        self.elements(plan)
    }

    fn link_up(&self, link: &Link, inside: &Inside, numbers: &mut Numbers) -> Result<()> {
        let below = self.below(link)?;
        let (mut tries, mut waits) = (0, 0);
        loop {
            let mut batch = Batch::default();
            link::make(&mut batch, link, below, inside.namespace());
            if let Wiring::Veth { host, .. } = &link.wiring {
                link::get(&mut batch, host);
            }
            let mut found = None;
            let failures = self.route.ask(&mut batch, |answer| found = link::Found::read(answer))?;
            match failures.first() {
                None => return learn(link, found, &inside.route, numbers),
                Some(failure) if failure.errno == Errno::EXIST && tries == 0 => {
                    tries += 1;
                    clear_away(self, link, &inside.route)?;
                }
                // The one of the container's life before, with its MAC address, is just going.
                Some(failure) if failure.errno == Errno::ADDRINUSE && waits < GOING => {
                    waits += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Some(failure) => return Err(link_failure(link, failure.errno)),
            }
        }
    }

    /// The number of the interface that a link is on, or the bridge that it is a port of; 0 for none.
    fn below(&self, link: &Link) -> Result<u32> {
        match &link.wiring {
            Wiring::Veth { bridge: None, .. } => Ok(0),
            Wiring::Veth { bridge: Some(name), .. } => self
                .link(name)?
                .map(|found| found.index)
                .ok_or_else(|| Error::not_found(format!("the interface {name} of the network is gone"))),
            Wiring::Macvlan { parent, .. } | Wiring::Ipvlan { parent, .. } => {
                self.raise_parent(parent).map(|found| found.index)
            }
        }
    }

    fn move_in(&self, host: &str, name: &str, inside: &Inside, numbers: &mut Numbers) -> Result<()> {
        let found = self.link(host)?.ok_or_else(|| {
            Error::not_found(format!("there is no interface {host} on this host"))
                .hint("ip link shows those that are")
        })?;
        let mut batch = Batch::default();
        link::travel(&mut batch, found.index, name, inside.namespace());
        refuse(self.route.run(&mut batch)?, || format!("moving the interface {host} into the container"))?;
        let there = link::find(&inside.route, name)?
            .ok_or_else(|| Error::internal(format!("{host} is not where it was moved to")))?;
        let mut batch = Batch::default();
        link::up(&mut batch, there.index);
        refuse(inside.route.run(&mut batch)?, || format!("putting up the interface {name}"))?;
        numbers.learn(Side::Inside, name, there.index);
        Ok(())
    }

    /// The steps on one side, at once; whether those of IPv6 were left out as it is off.
    fn steps(
        &self,
        plan: &Plan,
        side: Side,
        socket: &Socket,
        numbers: &Numbers,
        without_v6: bool,
    ) -> Result<bool> {
        let mut batch = Batch::default();
        let mut told = Vec::new();
        for step in plan.iter().filter(|step| !(without_v6 && is_v6(step))) {
            write(&mut batch, step, side, numbers);
            told.resize(batch.count() as usize, step);
        }
        let mut off = without_v6;
        for failure in socket.run(&mut batch)? {
            let Some(step) = told.get((failure.message as usize).wrapping_sub(1)) else { continue };
            if is_v6(step) && (off || is_off(failure.errno)) && plan.iter().any(is_v4_address) {
                off = true;
            } else if failure.errno == Errno::EXIST
                && side == Side::Host
                && matches!(step, Step::Route { .. })
            {
                self.take_over(step, numbers)?;
            } else {
                return Err(step_failure(step, failure.errno));
            }
        }
        Ok(off)
    }

    /// A route to a container's address that is there already: it is our own, or one of a container that is just going,
    /// or that of somebody who keeps it.
    fn take_over(&self, step: &Step, numbers: &Numbers) -> Result<()> {
        let Step::Route { interface, to, via, source, .. } = step else { return Ok(()) };
        let Some(index) = numbers.of(Side::Host, interface) else { return Ok(()) };
        let own = self.link(interface)?.map(|found| found.group);
        for _ in 0..GOING {
            let there = address::way_to(&self.route, to.addr())?;
            let other =
                there.filter(|there| *there != index).map(|there| link::by_number(&self.route, there));
            let other = other.transpose()?.flatten();
            // Who is in the same zone is of the same state directory, which gave this address to one container only.
            if other.is_none_or(|other| Some(other.group) == own) {
                let mut batch = Batch::default();
                address::route(&mut batch, index, &Way { to: *to, via: *via, source: *source }, true);
                let failed = self.route.run(&mut batch)?.first().map(|failure| failure.errno);
                return failed.map_or(Ok(()), |errno| Err(step_failure(step, errno)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Error::conflict(format!("the address {} is somebody else's on this host", to.addr()))
            .hint(format!("ip route get {} says whose; take another address or network", to.addr()))
            .hint("tsubo gc removes what is left of containers that are gone"))
    }

    /// The end of a pair that was up first carries packets only when the kernel's watch of links gets to it; to be
    /// asked for it makes that at once. Otherwise the first packet to a container may be lost.
    fn activate(&self, numbers: &Numbers) -> Result<()> {
        let mut batch = Batch::default();
        for (side, _, number) in &numbers.0 {
            if *side == Side::Host {
                link::get_number(&mut batch, *number);
            }
        }
        self.route.run(&mut batch).map(drop)
    }

    fn elements(&self, plan: &Plan) -> Result<()> {
        let all: Vec<Entry> = elements(plan).flat_map(entries).collect();
        match filter::add(&self.filter, &all)? {
            None => Ok(()),
            Some(refusal) => Err(element_failure(plan, refusal.entry, refusal.errno)),
        }
    }

    /// Makes once more what a container that runs has on the host, where somebody removed it: its routes and
    /// elements. To be called for each after [`mend`](Self::mend).
    pub fn renew(&self, plan: &Plan) -> Result<()> {
        let mut numbers = Numbers::default();
        for step in plan {
            if let Step::Link(Link { wiring: Wiring::Veth { host, .. }, .. }) = step {
                let found = self.link(host)?;
                let found = found.ok_or_else(|| {
                    Error::not_found(format!("the link {host} of the container is gone"))
                        .hint("restart the container")
                })?;
                numbers.learn(Side::Host, host, found.index);
            }
        }
        self.steps(plan, Side::Host, &self.route, &numbers, false)?;
        self.elements(plan)
    }
}

/// The elements of a plan.
pub(crate) fn elements(plan: &Plan) -> impl Iterator<Item = &Element> {
    plan.iter().filter_map(|step| match step {
        Step::Element(element) => Some(element),
        _ => None,
    })
}

/// Appends the messages of a step, if it is one of this side.
fn write(batch: &mut Batch, step: &Step, on: Side, numbers: &Numbers) {
    let number = |side, interface: &str| (side == on).then(|| numbers.of(side, interface)).flatten();
    match step {
        Step::Address { side, interface, address, segment } => {
            if let Some(index) = number(*side, interface) {
                address::give(batch, index, *address, *segment);
            }
        }
        Step::Route { side, interface, to, via, source } => {
            if let Some(index) = number(*side, interface) {
                let way = Way { to: *to, via: *via, source: *source };
                address::route(batch, index, &way, !(on == Side::Host && way.is_to_one()));
            }
        }
        Step::Neighbour { side, interface, address, mac } => {
            if let Some(index) = number(*side, interface) {
                address::neighbour(batch, index, *address, *mac);
            }
        }
        Step::Link(link) => {
            if let Some(index) = number(Side::Inside, &link.inside) {
                link::up(batch, index);
            }
            if let Wiring::Veth { host, bridge: Some(_), .. } = &link.wiring
                && let Some(index) = number(Side::Host, host)
            {
                link::lock(batch, index, link.mac);
            }
        }
        Step::Shape { interface, bytes } => {
            if let Some(index) = number(Side::Host, interface) {
                shape::shape(batch, index, *bytes);
            }
        }
        _ => {}
    }
}

fn learn(link: &Link, found: Option<link::Found>, inner: &Socket, numbers: &mut Numbers) -> Result<()> {
    if let Wiring::Veth { host, .. } = &link.wiring {
        let found =
            found.ok_or_else(|| Error::internal(format!("the interface {host} was not to be found")))?;
        numbers.learn(Side::Host, host, found.index);
        numbers.learn(Side::Inside, &link.inside, found.peer);
        return Ok(());
    }
    let found = link::find(inner, &link.inside)?;
    let found = found.ok_or_else(|| Error::internal(format!("{} is not in the container", link.inside)))?;
    numbers.learn(Side::Inside, &link.inside, found.index);
    Ok(())
}

/// Removes what has the names of a link.
fn clear_away(host: &Host, link: &Link, inner: &Socket) -> Result<()> {
    if let Wiring::Veth { host: name, .. } = &link.wiring {
        host.remove_link(name)?;
    }
    let mut batch = Batch::default();
    link::remove(&mut batch, &link.inside);
    inner.run(&mut batch).map(drop)
}

fn is_v6(step: &Step) -> bool {
    match step {
        Step::Address { address, .. } => address.addr().is_ipv6(),
        Step::Route { to, .. } => to.addr().is_ipv6(),
        Step::Neighbour { address, .. } => address.is_ipv6(),
        _ => false,
    }
}

fn is_v4_address(step: &Step) -> bool {
    matches!(step, Step::Address { address, .. } if address.addr().is_ipv4())
}

fn refuse(failures: Vec<Failure>, what: impl FnOnce() -> String) -> Result<()> {
    match failures.first() {
        None => Ok(()),
        Some(failure) => Err(Error::io(what(), failure.errno.into())),
    }
}

fn link_failure(link: &Link, errno: Errno) -> Error {
    let (kind, on) = match &link.wiring {
        Wiring::Veth { host, .. } => ("veth", host),
        Wiring::Macvlan { parent, .. } => ("macvlan", parent),
        Wiring::Ipvlan { parent, .. } => ("ipvlan", parent),
    };
    let what = format!("making the {kind} link of {} ({on})", link.inside);
    match errno {
        Errno::OPNOTSUPP => Error::unsupported(format!("this kernel has no {kind} interfaces"))
            .because(std::io::Error::from(errno))
            .hint("load the kernel's module, or use a network of another kind"),
        Errno::BUSY => Error::conflict(what).because(std::io::Error::from(errno)).hint(format!(
            "{on} is in use in another way: a bridge's port, or a parent for the other of macvlan and ipvlan"
        )),
        Errno::ADDRINUSE => Error::conflict(what)
            .because(std::io::Error::from(errno))
            .hint(format!("another interface on {on} has the MAC address {}", link.mac)),
        _ => Error::io(what, errno.into()),
    }
}

fn step_failure(step: &Step, errno: Errno) -> Error {
    let cause = std::io::Error::from(errno);
    match step {
        Step::Address { interface, address, .. } => {
            Error::io(format!("giving {interface} the address {address}"), cause)
        }
        Step::Route { source: Some(gateway), .. } if errno == Errno::INVAL => {
            Error::not_found(format!("the gateway's address {gateway} is not on this host any more"))
                .because(cause)
                .hint("somebody removed it: start again, which makes it anew")
        }
        Step::Route { interface, to, .. } => Error::io(format!("the route to {to} over {interface}"), cause),
        Step::Neighbour { interface, address, .. } => {
            Error::io(format!("the neighbour {address} on {interface}"), cause)
        }
        Step::Shape { interface, .. } if errno == Errno::NOENT || errno == Errno::OPNOTSUPP => {
            Error::unsupported(format!("limiting what goes to {interface}"))
                .because(cause)
                .hint("this kernel has no token bucket filter (sch_tbf): leave out the limit of ingress")
        }
        Step::Shape { interface, .. } => Error::io(format!("limiting what goes to {interface}"), cause),
        Step::Link(link) => Error::io(format!("locking the bridge's port of {}", link.inside), cause),
        _ => Error::io("a step of the network", cause),
    }
}

fn element_failure(plan: &Plan, entry: Option<&Entry>, errno: Errno) -> Error {
    let cause = std::io::Error::from(errno);
    let is_taken = matches!(errno, Errno::EXIST | Errno::BUSY);
    if is_taken
        && let Some(Element::Published { address, protocol, port, .. }) =
            elements(plan).find(|element| entry.is_some_and(|entry| entries(element).contains(entry)))
    {
        let port = spoken(*address, *protocol, *port);
        return Error::conflict(format!("{port} leads to another container already"))
            .because(cause)
            .hint("publish another port (tsubo ps shows who has it), or 0 for any that is free");
    }
    let set = entry.map_or("", Entry::set);
    if errno == Errno::NOENT {
        return Error::new(ErrorKind::NotFound, "the packet filter's table inet tsubo is gone, or not whole")
            .because(cause)
            .hint("somebody removed it: start again, which makes it anew");
    }
    Error::io(format!("an element of the packet filter's set {set}"), cause)
}
