//! Who is on a network.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use spec::network::{Link, Mac, Step};
use spec::{Id, Name, Result};

use super::lease::{LEASES, Lease, MACS, NEW, holder};
use super::store::Networks;
use super::{Connected, dhcp};
use crate::disk;
use crate::record::Running;
use crate::state::STATE;

/// One container on a network.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Its id.
    pub id: Id,
    /// Its addresses there; those that come from outside only while it runs.
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
        // All that a container has is mostly one file with several names: it is read once.
        let mut read: HashMap<u64, Lease> = HashMap::new();
        for (kind, is_mac) in [(MACS, true), (LEASES, false)] {
            for (what, inode, path) in places(&dir.join(kind)) {
                let known = read.get(&inode).cloned().or_else(|| holder(&path));
                let Some(lease) = known else { continue };
                read.entry(inode).or_insert_with(|| lease.clone());
                let member = self.member(&mut all, lease);
                match is_mac {
                    true => member.mac = what.parse().ok(),
                    false => member.addresses.extend(what.parse::<IpAddr>().ok()),
                }
            }
        }
        let mut members: Vec<Member> = all.into_values().collect();
        for member in &mut members {
            if member.running && member.addresses.is_empty() {
                member.addresses = self.given(member);
            }
            member.addresses.sort();
        }
        Ok(members)
    }

    /// What others have given it on the interface with its MAC address.
    fn given(&self, member: &Member) -> Vec<IpAddr> {
        let Some(connected) = self.connection(member.id) else { return Vec::new() };
        let is_it = |link: &&Link| Some(link.mac) == member.mac;
        let mut links = connected.plan.iter().filter_map(|step| match step {
            Step::Link(link) => Some(link),
            _ => None,
        });
        let Some(link) = links.find(is_it) else { return Vec::new() };
        let given = connected.given.iter().filter(|given| given.interface == link.inside);
        given.flat_map(|given| &given.addresses).map(ipnet::IpNet::addr).collect()
    }

    /// How a container is connected that runs.
    pub(super) fn connection(&self, id: Id) -> Option<Connected> {
        let dir = self.run_dirs().with_file_name("containers").join(id.to_string());
        let mut connected = disk::read_json::<Running>(&dir.join(STATE)).ok()??.network?;
        dhcp::refresh(&mut connected, &dir);
        Some(connected)
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
    places(dir).into_iter().filter_map(|(name, _, path)| Some((name, holder(&path)?))).collect()
}

/// What files there are, with their numbers.
fn places(dir: &Path) -> Vec<(String, u64, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named =
        entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.ino(), entry.path())));
    named.filter(|(name, ..)| !name.starts_with(NEW)).collect()
}

/// The names of all who have something of a network.
pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let all = [MACS, LEASES].into_iter().flat_map(|kind| entries(&dir.join(kind)));
    let mut names: Vec<String> = all.map(|(_, lease)| lease.name.to_string()).collect();
    names.sort();
    names.dedup();
    names
}
