//! What networks have in the kernel: whether it is there, and what of it is nobody's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use net::{Entry, Host};
use spec::network::Network;
use spec::{Error, Id, Name, Result};

use super::lease::LEASES;
use super::{Networks, names, subnets};
use crate::lock::Lock;
use crate::record::Record;
use crate::state::STATE;

impl Networks {
    /// What of a network is missing on the host, or odd; empty if all is well.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn look(&self, network: &Network) -> Result<Vec<String>> {
        let mut found = Host::open()?.look(network)?;
        found.extend(match self.revive(network) {
            Ok(false) => None,
            Ok(true) => Some("its resolver had ended, and was begun again".to_owned()),
            Err(error) => Some(error.chain()),
        });
        Ok(found)
    }

    /// Begins the resolver of a network with containers that run again, if it has ended; whether it had.
    ///
    /// # Errors
    /// What it says itself.
    pub(super) fn revive(&self, network: &Network) -> Result<bool> {
        let run = self.run_dir(&network.name);
        if !network.names || crate::rootless::inside() || names::runs(&run) {
            return Ok(false);
        }
        names::ensure(network, &run.join(LEASES), &run).map(|()| true)
    }

    /// Removes what a network has on the host that no container uses.
    pub(super) fn lower(&self, network: &Network, run: &Path) -> Result<()> {
        names::stop(&network.name, run)?;
        match Host::open().and_then(|host| host.lower(network)) {
            // Where there never was a packet filter it has nothing.
            Err(error) if error.kind() == spec::ErrorKind::Unsupported => Ok(()),
            lowered => lowered.map_err(|error| kept(network, error)),
        }
    }

    /// Removes links of containers that are gone, and what says of links that are gone who may talk over
    /// them; those of another state directory are in zones of its own.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn sweep(&self) -> Result<Vec<String>> {
        let networks = self.list()?;
        if networks.is_empty() || crate::rootless::inside() {
            return Ok(Vec::new());
        }
        let host = Host::open()?;
        let entries = host.entries()?;
        let links = host.links()?;
        // After the links: those that are made meanwhile are not looked at.
        let records = self.records()?;
        let known: Vec<Id> = records.iter().map(|record| record.spec.id).collect();
        let is_ours =
            |zone: u32| networks.iter().any(|network| network.zones.values().any(|own| *own == zone));
        let mut removed = Vec::new();
        for link in links.iter().filter(|link| is_ours(link.group)) {
            let id = link.name.get(1..13).and_then(|id| id.parse::<Id>().ok());
            if id.is_some_and(|id| !known.contains(&id)) {
                host.remove_link(&link.name)?;
                removed.push(format!("link {}", link.name));
            }
        }
        let mut lost: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in &entries {
            if let Some(interface) = entry.interface() {
                lost.entry(interface).or_default().push(entry.clone());
            }
        }
        let mut rules = 0;
        for (interface, entries) in lost {
            let record = records.iter().find(|record| is_link_of(&interface, record.spec.id));
            rules += self.sweep_link(&host, &interface, record, &entries)?;
        }
        removed.extend((rules > 0).then(|| format!("{rules} rules of links that are gone")));
        removed.extend(self.sweep_ports(&host, &networks, &entries)?);
        Ok(removed)
    }

    /// Rules of a link that is gone; how many they were. Nobody makes it anew meanwhile, with the same rules.
    fn sweep_link(
        &self,
        host: &Host,
        interface: &str,
        record: Option<&Record>,
        entries: &[Entry],
    ) -> Result<usize> {
        if host.link(interface)?.is_some() {
            return Ok(0);
        }
        let rest = match record {
            Some(record) => match self.at_rest(&record.spec.name, record.spec.id) {
                None => return Ok(0),
                rest => rest,
            },
            None => None,
        };
        let gone = host.link(interface)?.is_none();
        if gone {
            host.remove_entries(entries)?;
        }
        drop(rest);
        Ok(if gone { entries.len() } else { 0 })
    }

    /// The lock of a container that does not run: it is not started as long as it is held. None for one that
    /// runs, or that somebody is at.
    fn at_rest(&self, name: &Name, id: Id) -> Option<AtRest> {
        let dir = self.lib().join("containers").join(name);
        let lock = Lock::try_take(&dir).ok()??;
        let state = self.run_dirs().with_file_name("containers").join(id.to_string()).join(STATE);
        let rest = AtRest { lock: Some(lock), dir };
        (!state.exists()).then_some(rest)
    }

    /// Ports that lead to an address of ours which nobody has who runs, or is just being started.
    fn sweep_ports(&self, host: &Host, networks: &[Network], entries: &[Entry]) -> Result<Option<String>> {
        let mut holders: BTreeMap<IpAddr, (Name, Id)> = BTreeMap::new();
        for network in networks {
            for member in self.members(&network.name)? {
                let own = (member.name, member.id);
                holders.extend(member.addresses.into_iter().map(|address| (address, own.clone())));
            }
        }
        let is_ours = |to: &IpAddr| {
            networks.iter().any(|network| network.subnets.iter().any(|subnet| subnet.net.contains(to)))
        };
        let mut lost: BTreeMap<IpAddr, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            if let Some(to) = entry.leads_to().filter(is_ours) {
                lost.entry(to).or_default().push(entry.clone());
            }
        }
        let mut ports = 0;
        for (to, entries) in lost {
            let rest = match holders.get(&to) {
                Some((name, id)) => match self.at_rest(name, *id) {
                    None => continue,
                    rest => rest,
                },
                None => None,
            };
            if !leads_to_others(host, networks, to)? {
                host.remove_entries(&entries)?;
                ports += entries.len();
            }
            drop(rest);
        }
        Ok((ports > 0).then(|| format!("{ports} published ports of containers that are gone")))
    }
}

/// The lock of a container that does not run.
struct AtRest {
    lock: Option<Lock>,
    dir: PathBuf,
}

impl Drop for AtRest {
    fn drop(&mut self) {
        // What was removed meanwhile needs none.
        if !self.dir.exists() {
            self.lock.take().into_iter().for_each(Lock::discard);
        }
    }
}

fn is_link_of(interface: &str, id: Id) -> bool {
    interface.get(1..13).and_then(|text| text.parse::<Id>().ok()) == Some(id)
}

/// Whether the way to an address is over a link that is not in a zone of ours: another state directory's has the
/// same addresses.
fn leads_to_others(host: &Host, networks: &[Network], to: IpAddr) -> Result<bool> {
    let Some(interface) = subnets::way_to(to) else { return Ok(false) };
    let zone = host.link(&interface)?.map(|link| link.group);
    let is_ours = |zone: u32| networks.iter().any(|network| network.zones.values().any(|own| *own == zone));
    Ok(zone.is_some_and(|zone| !is_ours(zone)))
}

fn kept(network: &Network, error: Error) -> Error {
    error.context(format!("removing what network {} has on this host", network.name))
}
