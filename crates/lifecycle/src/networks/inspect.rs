//! Who is on a network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use spec::network::Mac;
use spec::{Id, Name, Result};

use super::lease::{LEASES, Lease, MACS, NEW, holder};
use super::store::Networks;
use crate::state::STATE;

/// One container on a network.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub id: Id,
    /// Its addresses there; none where they come from outside.
    pub addresses: Vec<IpAddr>,
    /// Its MAC address there.
    pub mac: Option<Mac>,
    /// What else it is known by.
    pub aliases: Vec<String>,
    /// A keeper has said that it runs.
    pub running: bool,
}

impl Networks {
    /// The containers on a network, by name, also those that do not run.
    ///
    /// # Errors
    /// When the network is gone.
    pub fn members(&self, name: &Name) -> Result<Vec<Member>> {
        let dir = self.run_dir(name);
        if !dir.is_dir() {
            self.rebuild(name)?;
        }
        let mut all: BTreeMap<(Name, Id), Member> = BTreeMap::new();
        for (mac, lease) in entries(&dir.join(MACS)) {
            let member = self.member(&mut all, lease);
            member.mac = mac.parse().ok();
        }
        for (address, lease) in entries(&dir.join(LEASES)) {
            let member = self.member(&mut all, lease);
            member.addresses.extend(address.parse::<IpAddr>().ok());
        }
        let mut members: Vec<Member> = all.into_values().collect();
        members.iter_mut().for_each(|member| member.addresses.sort());
        Ok(members)
    }

    fn member<'a>(&self, all: &'a mut BTreeMap<(Name, Id), Member>, lease: Lease) -> &'a mut Member {
        all.entry((lease.name.clone(), lease.id)).or_insert_with(|| Member {
            running: self
                .run_dirs()
                .with_file_name("containers")
                .join(lease.id.to_string())
                .join(STATE)
                .exists(),
            name: lease.name,
            id: lease.id,
            addresses: Vec::new(),
            mac: None,
            aliases: lease.aliases,
        })
    }
}

/// What files there are, and who has what they stand for.
pub(super) fn entries(dir: &Path) -> Vec<(String, Lease)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let placed = named.filter(|(name, _)| !name.starts_with(NEW));
    placed.filter_map(|(name, path)| Some((name, holder(&path)?))).collect()
}

/// The names of all who have something of a network.
pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let all = [MACS, LEASES].into_iter().flat_map(|kind| entries(&dir.join(kind)));
    let mut names: Vec<String> = all.map(|(_, lease)| lease.name.to_string()).collect();
    names.sort();
    names.dedup();
    names
}
