//! The end of a container's network, and what is left of those that ended otherwise.

use rustix::io::Errno;
use spec::network::{Element, Plan, Step, Wiring};
use spec::{Error, Result};

use crate::attach::elements;
use crate::entry::{Entry, counted, entries};
use crate::filter;
use crate::host::Host;
use crate::link::{self, Found};
use crate::message::Batch;

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
        filter::remove(&self.filter, &all)
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
