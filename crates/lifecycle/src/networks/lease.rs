//! Who has which address of a network: a file for each in the run directory, which the kernel makes for
//! one alone. Containers' records are the truth; the files are made from them again after a boot.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use spec::container::Spec;
use spec::limits::GroupName;
use spec::network::{Allow, Attachment, GATEWAY, Kind, Mac, Network, Networking, Peer};
use spec::{Error, Id, Name, Result, ResultExt};

use super::by_hand::{by_hand, must_have_addresses};
use super::claim::Claim;
use super::names;
use super::store::{Networks, unknown};
use crate::disk;
use crate::lock::FileLock;

/// The files of addresses, below a network's run directory.
pub(super) const LEASES: &str = "leases";
/// The files of MAC addresses: one for each member, whether it has addresses of ours or not.
pub(super) const MACS: &str = "macs";
/// What the name of a file that is being written begins with.
pub(super) const NEW: &str = ".new-";

/// Stands for the MAC address of an interface that has none yet.
pub(crate) const NO_MAC: Mac = Mac([0; 6]);

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The container's id.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// What else its network knows it by.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its group, within which these mean something; empty for that of all who have none.
    #[serde(default)]
    pub group: String,
    /// It may not talk to the outside, and nobody there is asked for names for it.
    #[serde(default)]
    pub closed: bool,
    /// Whom the resolver asks for it about everybody else; empty for whom the network asks.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// It is on further networks with names, and asks their resolvers about what this one does not know.
    #[serde(default)]
    pub more: bool,
}

/// What the resolvers of its networks are told of a container besides its names.
struct Asks {
    servers: Vec<IpAddr>,
    named: Vec<Name>,
    group: String,
    closed: bool,
}

/// Names are a way out: they are asked for where any other is open.
fn is_closed(networking: &Networking) -> bool {
    let leads_out = |allow: &Allow| !allow.inward && allow.peer == Peer::Outside;
    networking.closed && !networking.allow.iter().any(leads_out)
}

impl Asks {
    fn lease(&self, id: Id, name: Name, network: &Name, aliases: &[String]) -> Lease {
        let more = self.named.iter().any(|other| other != network);
        let (aliases, servers) = (aliases.to_vec(), self.servers.clone());
        Lease { id, name, aliases, group: self.group.clone(), closed: self.closed, servers, more }
    }
}

impl Networks {
    /// Networks are looked at only where there are several.
    fn asks(&self, networking: Option<&Networking>, group: Option<&GroupName>) -> Asks {
        let on =
            networking.into_iter().flat_map(|networking| &networking.attachments).filter_map(|attachment| {
                match attachment {
                    Attachment::Network { network, .. } => Some(network),
                    _ => None,
                }
            });
        let several = on.clone().count() > 1;
        let named = |name: &&Name| {
            several && self.get(name).is_ok_and(|known| known.is_some_and(|known| known.names))
        };
        let servers = networking.map(|networking| networking.servers.clone()).unwrap_or_default();
        let (group, closed) = (group.map(ToString::to_string), networking.is_some_and(is_closed));
        Asks { servers, named: on.filter(named).cloned().collect(), group: group.unwrap_or_default(), closed }
    }

    /// Gives a container the addresses that it does not have yet, on all its networks, or none.
    ///
    /// # Errors
    /// Conflict where somebody else has what was asked for, or all are given; a network that is not there.
    pub fn lease(&self, spec: &mut Spec) -> Result<()> {
        let Some(mut networking) = spec.network.take() else { return Ok(()) };
        let group = spec.group.as_ref().map(ToString::to_string).unwrap_or_default();
        let leased = self.lease_all(spec, &mut networking, &group);
        spec.network = Some(networking);
        leased.inspect_err(|_| self.release(spec))
    }

    fn lease_all(&self, spec: &Spec, networking: &mut Networking, group: &str) -> Result<()> {
        let (mut gateway, asks) = (None, self.asks(Some(networking), spec.group.as_ref()));
        for attachment in &mut networking.attachments {
            let Attachment::Network { network, aliases, .. } = attachment else { continue };
            let network = self.with_zone(self.must_have(network)?, group)?;
            gateway = gateway.or(network.subnets.first().map(|subnet| subnet.gateway));
            let lease = asks.lease(spec.id, spec.name.clone(), &network.name, aliases);
            self.attach(&network, &lease, attachment)?;
        }
        for (name, address) in networking.hosts.iter_mut().filter(|(_, address)| *address == GATEWAY) {
            *address = gateway.ok_or_else(|| {
                Error::user(format!("{name} cannot be the host: no network of the container leads there"))
                    .hint("with --network NAME its gateway is the host")
            })?;
        }
        Ok(())
    }

    /// Gives one interface what it needs; what it already has stays its own.
    fn attach(&self, network: &Network, lease: &Lease, attachment: &mut Attachment) -> Result<()> {
        let Attachment::Network { addresses, mac, aliases, dhcp, .. } = attachment else { return Ok(()) };
        must_have_addresses(network, addresses, *dhcp)?;
        let hands = by_hand(network, addresses)?;
        // Another than that of networks, which may be wanted within.
        let pair = || FileLock::take(self.lib(), "pairs");
        let _pair = (network.kind == Kind::Pair).then(pair).transpose()?;
        let claim = Claim::new(self, network, lease)?;
        if network.kind == Kind::Pair {
            claim.must_be_two()?;
        }
        claim.must_be_nobodys_name(aliases)?;
        for address in &hands {
            claim.must_take(LEASES, &address.addr().to_string())?;
        }
        *addresses = hands;
        for subnet in network.subnets.iter().filter(|_| !*dhcp) {
            if !addresses.iter().any(|own| own.addr().is_ipv4() == subnet.net.addr().is_ipv4()) {
                let address = claim.any(subnet, addresses, network)?;
                addresses.push(address);
            }
        }
        *mac = claim.mac(*mac, addresses)?;
        Ok(())
    }

    /// Makes sure that a container that is to start has what its record says: its files may have been lost
    /// with their directory.
    ///
    /// # Errors
    /// Conflict where somebody else has it now; a network that is gone.
    pub fn hold(&self, spec: &Spec) -> Result<()> {
        let attachments = spec.network.iter().flat_map(|network| &network.attachments);
        for attachment in attachments {
            let Attachment::Network { network, addresses, mac, aliases, .. } = attachment else { continue };
            let dir = self.run_dir(network);
            let mut files = files(&dir, addresses, *mac);
            if files.all(|file| holder(&file).is_some_and(|lease| lease.id == spec.id)) {
                continue;
            }
            let network = self.must_have(network)?;
            let asks = self.asks(spec.network.as_deref(), spec.group.as_ref());
            let lease = asks.lease(spec.id, spec.name.clone(), &network.name, aliases);
            let claim = Claim::new(self, &network, &lease)?;
            for address in addresses {
                claim.must_take(LEASES, &address.addr().to_string())?;
            }
            claim.must_take(MACS, &mac.to_string())?;
        }
        Ok(())
    }

    /// Gives back what a container had that is gone.
    pub fn release(&self, spec: &Spec) {
        if let Some(networking) = &spec.network {
            self.forget_addresses(networking);
        }
        let attachments = spec.network.iter().flat_map(|network| &network.attachments);
        for attachment in attachments {
            let Attachment::Network { network, addresses, mac, .. } = attachment else { continue };
            for file in files(&self.run_dir(network), addresses, *mac) {
                if holder(&file).is_some_and(|lease| lease.id == spec.id) {
                    // What stays is found by whoever needs it.
                    let _ = fs::remove_file(file);
                }
            }
        }
    }

    /// Has its networks know a container by this name, and whatever else its record says.
    pub(crate) fn rename(&self, spec: &Spec, to: &Name) {
        let attachments = spec.network.iter().flat_map(|network| &network.attachments);
        for attachment in attachments {
            let Attachment::Network { network, addresses, mac, aliases, .. } = attachment else { continue };
            let asks = self.asks(spec.network.as_deref(), spec.group.as_ref());
            let lease = asks.lease(spec.id, to.clone(), network, aliases);
            let dir = self.run_dir(network);
            for file in files(&dir, addresses, *mac) {
                if holder(&file).is_some_and(|now| now.id == spec.id && now != lease) {
                    // The old name stays where this fails, until it is looked for again.
                    let _ = written(&dir, &lease).and_then(|new| fs::rename(new, file));
                }
            }
        }
    }

    /// Makes a network's files anew from what is written of containers, if they are not there.
    ///
    /// # Errors
    /// Not found if the network is gone; when they cannot be made.
    pub(super) fn rebuild(&self, name: &Name) -> Result<()> {
        let _lock = self.lock()?;
        if self.run_dir(name).is_dir() {
            return Ok(());
        }
        let network = self.get(name)?.ok_or_else(|| unknown(name.as_str()))?;
        self.remember(name)?;
        if network.names {
            // Whoever begins the resolver says what is missing.
            let _ = names::remember(&self.run_dir(name));
        }
        Ok(())
    }

    /// The same for who has the lock.
    pub(super) fn remember(&self, name: &Name) -> Result<()> {
        let dir = self.run_dirs().join(format!("{NEW}{name}"));
        disk::remove_tree(&dir)?;
        let doing = || format!("making {}", dir.display());
        for inner in [LEASES, MACS] {
            // The resolver, which is nobody, reads them; no way leads here for others.
            DirBuilder::new().recursive(true).mode(0o755).create(dir.join(inner)).doing(doing)?;
        }
        for record in self.records()? {
            let attachments = record.spec.network.iter().flat_map(|network| &network.attachments);
            for attachment in attachments {
                let Attachment::Network { network, addresses, mac, aliases, .. } = attachment else {
                    continue;
                };
                if network != name {
                    continue;
                }
                let (id, own) = (record.spec.id, record.spec.name.clone());
                let asks = self.asks(record.spec.network.as_deref(), record.spec.group.as_ref());
                let lease = asks.lease(id, own, name, aliases);
                let new = written(&dir, &lease).doing(doing)?;
                for file in files(&dir, addresses, *mac) {
                    match fs::hard_link(&new, &file) {
                        // Two records with one address: who starts second is told.
                        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                            return Err(error).doing(doing);
                        }
                        _ => {}
                    }
                }
                fs::remove_file(new).doing(doing)?;
            }
        }
        fs::rename(&dir, self.run_dir(name)).doing(doing)
    }
}

/// The files that stand for what an interface has.
fn files(dir: &Path, addresses: &[IpNet], mac: Mac) -> impl Iterator<Item = PathBuf> {
    let leases = addresses.iter().map(|address| dir.join(LEASES).join(address.addr().to_string()));
    let mac = (mac != NO_MAC).then(|| dir.join(MACS).join(mac.to_string()));
    leases.chain(mac).collect::<Vec<_>>().into_iter()
}

/// Who has what a file stands for.
pub(super) fn holder(file: &Path) -> Option<Lease> {
    disk::read_json(file).ok()?
}

/// Where a lease is written before it has a place: for nobody else to write in.
fn fresh(dir: &Path, id: Id) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (own, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    dir.join(format!("{NEW}{id}-{own}-{count}"))
}

/// A file with a lease in it, which has no place yet.
pub(super) fn written(dir: &Path, lease: &Lease) -> std::io::Result<PathBuf> {
    let file = fresh(dir, lease.id);
    write(&file, lease).map(|()| file)
}

/// What is there may be a further name of a lease that is in its place: that is not written in.
pub(super) fn write(file: &Path, lease: &Lease) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let text = serde_json::to_vec(lease)?;
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file)?;
    // Whatever the umask of whoever starts a container says.
    new.set_permissions(fs::Permissions::from_mode(0o644))?;
    new.write_all(&text)
}
