//! Who has which address, and which names.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::Deserialize;

/// What is written of one address of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Lease {
    /// The container's id.
    #[serde(default)]
    pub id: String,
    /// Its name.
    pub name: String,
    /// What else it is called on this network.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whom it wants to be asked about everybody else; empty for whom the network asks.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// It is on further networks with names, whose resolvers it asks about what is not here.
    #[serde(default)]
    pub more: bool,
}

/// All leases of a network, with an index of names.
#[derive(Debug, Default)]
pub struct Table {
    leases: BTreeMap<IpAddr, Lease>,
    names: HashMap<String, Vec<IpAddr>>,
}

impl Table {
    /// Says whose an address is; None for nobody's.
    pub fn set(&mut self, address: IpAddr, lease: Option<Lease>) {
        if let Some(old) = self.leases.remove(&address) {
            for name in names(&old) {
                self.forget(&name, address);
            }
        }
        let Some(lease) = lease else { return };
        for name in names(&lease) {
            let addresses = self.names.entry(name).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        self.leases.insert(address, lease);
    }

    fn forget(&mut self, name: &str, address: IpAddr) {
        if let Some(addresses) = self.names.get_mut(name) {
            addresses.retain(|other| *other != address);
            if addresses.is_empty() {
                self.names.remove(name);
            }
        }
    }

    /// The addresses of everybody who is called so.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whose an address is.
    pub fn lease(&self, address: &IpAddr) -> Option<&Lease> {
        self.leases.get(address)
    }

    /// All addresses.
    pub fn known(&self) -> Vec<IpAddr> {
        self.leases.keys().copied().collect()
    }

    /// Nobody has any.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

fn names(lease: &Lease) -> impl Iterator<Item = String> {
    let names = [&lease.name, &lease.id].into_iter().chain(&lease.aliases);
    let sound = |name: &&String| !name.is_empty() && name.len() <= 253;
    names.filter(sound).map(|name| name.to_ascii_lowercase())
}
