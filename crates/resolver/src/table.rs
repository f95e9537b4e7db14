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
    /// Its group, in whose words it has its aliases; empty for that of all who have none.
    #[serde(default)]
    pub group: String,
    /// It may not talk to the outside: nobody there is asked anything for it.
    #[serde(default)]
    pub closed: bool,
    /// Whom it wants to be asked about everybody else; empty for whom the network asks.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// It is on further networks with names, whose resolvers it asks about what is not here.
    #[serde(default)]
    pub more: bool,
}

/// Addresses by what their owners are called.
type Index = HashMap<String, Vec<IpAddr>>;

/// All leases of a network, with indexes of names.
#[derive(Debug, Default)]
pub struct Table {
    leases: BTreeMap<IpAddr, Lease>,
    /// By name and id, which nobody else has.
    names: Index,
    /// By alias, which anybody may choose.
    aliases: Index,
}

impl Table {
    /// Says whose an address is; None for nobody's.
    pub fn set(&mut self, address: IpAddr, lease: Option<Lease>) {
        if let Some(old) = self.leases.remove(&address) {
            names(&old).for_each(|name| forget(&mut self.names, &name, address));
            aliases(&old).for_each(|name| forget(&mut self.aliases, &name, address));
        }
        let Some(lease) = lease else { return };
        names(&lease).for_each(|name| note(&mut self.names, name, address));
        aliases(&lease).for_each(|name| note(&mut self.aliases, name, address));
        self.leases.insert(address, lease);
    }

    /// The addresses of everybody who is called so, as told to a container of a group, or to the host (None). A
    /// name is stronger than an alias, and an alias means something within its group only: nobody takes another
    /// tenant's name.
    pub fn addresses(&self, name: &str, group: Option<&str>) -> Vec<IpAddr> {
        if let Some(own) = self.names.get(name) {
            return own.clone();
        }
        let told = |address: &&IpAddr| {
            group.is_none_or(|group| self.leases.get(*address).is_some_and(|lease| lease.group == group))
        };
        self.aliases.get(name).into_iter().flatten().filter(told).copied().collect()
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

fn note(index: &mut Index, name: String, address: IpAddr) {
    let addresses = index.entry(name).or_default();
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

fn forget(index: &mut Index, name: &str, address: IpAddr) {
    if let Some(addresses) = index.get_mut(name) {
        addresses.retain(|other| *other != address);
        if addresses.is_empty() {
            index.remove(name);
        }
    }
}

fn names(lease: &Lease) -> impl Iterator<Item = String> {
    sound([&lease.name, &lease.id].into_iter())
}

fn aliases(lease: &Lease) -> impl Iterator<Item = String> {
    // One with dots is a name of somebody elsewhere.
    sound(lease.aliases.iter().filter(|alias| !alias.contains('.')))
}

fn sound<'a>(names: impl Iterator<Item = &'a String>) -> impl Iterator<Item = String> {
    let sound = |name: &&String| !name.is_empty() && name.len() <= 253;
    names.filter(sound).map(|name| name.to_ascii_lowercase())
}
