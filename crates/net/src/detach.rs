//! The end of a container's network, and what is left of those that ended otherwise.

use std::net::IpAddr;

use rustix::io::Errno;
use spec::network::{Element, Plan, Side, Step, Wiring};
use spec::{Error, Result};

use crate::attach::elements;
use crate::entry::{Entry, counted, entries};
use crate::host::Host;
use crate::link::{self, Found};
use crate::message::Batch;
use crate::{connection, filter};

/// The sets that hold elements of single containers.
const OF_CONTAINERS: [&str; 21] = [
    "outside",
    "speak4",
    "speak6",
    "speak_zone",
    "speak_outside",
    "speak_host",
    "hear4",
    "hear6",
    "hear_zone",
    "hear_outside",
    "published4",
    "published6",
    "published4_any",
    "published6_any",
    "connections",
    "packets",
    "egress",
    "locked",
    "port4",
    "port6",
    "target6",
];

impl Host {
    /// Removes the container's elements, as far as they are there and its own. Its links go with its network namespace.
    pub fn detach(&self, plan: &Plan) -> Result<()> {
        let mut all = Vec::new();
        for element in elements(plan).filter(|element| !is_shared(element)) {
            for entry in entries(element) {
                if matches!(element, Element::Published { .. }) && !self.is_ours(&entry)? {
                    continue;
                }
                all.push(entry);
            }
        }
        all.extend(host_ends(plan).map(counted));
        let talked = self.has_talked(plan, &all)?;
        filter::remove(&self.filter, &all)?;
        if talked { connection::forget(&self.filter, &addresses(plan)) } else { Ok(()) }
    }

    /// Whether the kernel may remember connections of the container: to look for them costs more than all else. What
    /// it never had is not asked about, as its addresses may be another's.
    fn has_talked(&self, plan: &Plan, there: &[Entry]) -> Result<bool> {
        if connection::count(&self.filter)? == 0 {
            return Ok(false);
        }
        if there.iter().any(|entry| entry.leads_to().is_some()) {
            return Ok(true);
        }
        let hears = elements(plan)
            .filter(|element| matches!(element, Element::Allow { permit, .. } if permit.inward))
            .flat_map(entries);
        for entry in hears.chain(host_ends(plan).map(counted)) {
            if filter::get(&self.filter, &entry)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a port leads to where we led it.
    fn is_ours(&self, entry: &Entry) -> Result<bool> {
        Ok(filter::get(&self.filter, entry)?.is_some_and(|there| there.data == entry.data))
    }

    /// Removes the links of a plan that have an end on the host, at once.
    pub fn remove_links(&self, plan: &Plan) -> Result<()> {
        host_ends(plan).try_for_each(|name| self.remove_link(name))
    }

    /// The links of containers: those in groups of ours.
    pub fn links(&self) -> Result<Vec<Found>> {
        let mut all = link::all(&self.route)?;
        all.retain(|found| found.group > spec::network::ZONES || is_link_name(&found.name));
        Ok(all)
    }

    /// The elements of single containers.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        for set in OF_CONTAINERS {
            all.extend(filter::list(&self.filter, set)?);
        }
        Ok(all)
    }

    /// Removes elements, as far as they are there.
    pub fn remove_entries(&self, entries: &[Entry]) -> Result<()> {
        filter::remove(&self.filter, entries)
    }

    /// Removes a link, if it is there.
    pub fn remove_link(&self, name: &str) -> Result<()> {
        let mut batch = Batch::default();
        link::remove(&mut batch, name);
        match self.route.run(&mut batch)?.first() {
            Some(failure) if failure.errno != Errno::NODEV => {
                Err(Error::io(format!("removing the interface {name}"), failure.errno.into()))
            }
            _ => Ok(()),
        }
    }
}

/// Elements that belong to networks, not to containers.
fn is_shared(element: &Element) -> bool {
    matches!(element, Element::Zones(..) | Element::Names(..))
}

/// The container's addresses on links of its own. (Those on a segment are not the host's business.)
fn addresses(plan: &Plan) -> Vec<IpAddr> {
    let own = |step: &Step| match step {
        Step::Address { side: Side::Inside, address, segment: false, .. } => Some(address.addr()),
        _ => None,
    };
    plan.iter().filter_map(own).collect()
}

/// The host's ends of the links of a plan.
fn host_ends(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.iter().filter_map(|step| match step {
        Step::Link(spec::network::Link { wiring: Wiring::Veth { host, .. }, .. }) => Some(host.as_str()),
        _ => None,
    })
}

/// As [`link_name`](spec::network::link_name) makes them.
fn is_link_name(name: &str) -> bool {
    name.len() >= 14
        && name.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
