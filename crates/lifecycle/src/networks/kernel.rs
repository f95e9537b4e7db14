//! What networks have in the kernel: whether it is there, and what of it is nobody's.

use std::path::Path;

use net::Host;
use spec::network::Network;
use spec::{Error, Id, Name, Result};

use super::{Member, Networks, names};
use crate::lock::Lock;

impl Networks {
    /// What of a network is missing on the host, or odd; empty if all is well.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn look(&self, network: &Network) -> Result<Vec<String>> {
        Host::open()?.look(network)
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
        let known: Vec<Id> = self.records()?.iter().map(|record| record.spec.id).collect();
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
        let gone = |name: String| host.link(&name).is_ok_and(|link| link.is_none());
        let lost: Vec<_> =
            entries.iter().filter(|entry| entry.interface().is_some_and(gone)).cloned().collect();
        host.remove_entries(&lost)?;
        removed.extend((!lost.is_empty()).then(|| format!("{} rules of links that are gone", lost.len())));
        removed.extend(self.sweep_ports(&host, &networks, &entries)?);
        Ok(removed)
    }

    /// Ports that lead to an address of ours which nobody has who runs, or is just being started.
    fn sweep_ports(
        &self,
        host: &Host,
        networks: &[Network],
        entries: &[net::Entry],
    ) -> Result<Option<String>> {
        let mut used = Vec::new();
        for network in networks {
            let members = self.members(&network.name)?.into_iter();
            let busy = |member: &Member| member.running || self.is_busy(&member.name);
            used.extend(members.filter(busy).flat_map(|member| member.addresses));
        }
        let is_lost = |entry: &net::Entry| {
            entry.leads_to().is_some_and(|to| {
                let ours = networks
                    .iter()
                    .any(|network| network.subnets.iter().any(|subnet| subnet.net.contains(&to)));
                ours && !used.contains(&to)
            })
        };
        let lost: Vec<_> = entries.iter().filter(|entry| is_lost(entry)).cloned().collect();
        host.remove_entries(&lost)?;
        Ok((!lost.is_empty()).then(|| format!("{} published ports of containers that are gone", lost.len())))
    }

    /// Whether a command is at a container: it may just be starting it.
    fn is_busy(&self, name: &Name) -> bool {
        let dir = self.lib().join("containers").join(name);
        let Ok(Some(lock)) = Lock::try_take(&dir) else { return true };
        if !dir.exists() {
            lock.discard();
        }
        false
    }
}

fn kept(network: &Network, error: Error) -> Error {
    error.context(format!("removing what network {} has on this host", network.name))
}
