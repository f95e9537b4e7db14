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
use spec::network::{
    Allow, Attachment, GATEWAY, Kind, Mac, Network, Networking, Peer, Publish, Rate, Subnet,
};
use spec::{Error, Id, Name, Result, ResultExt};

use super::store::{Networks, unknown};
use super::subnets::{is_host, nth, offset};
use super::{foreign, names};
use crate::disk;
use crate::home::new_id;
use crate::lock::FileLock;

/// The files of addresses, below a network's run directory.
pub(super) const LEASES: &str = "leases";
/// The files of MAC addresses: one for each member, whether it has addresses of ours or not.
pub(super) const MACS: &str = "macs";
/// What the name of a file that is being written begins with.
pub(super) const NEW: &str = ".new-";

/// So many addresses are looked at for a free one.
const MOST: u128 = 1 << 20;

/// How long its maker may have been at it, if it is tried again.
const TRIES: usize = 3;

/// The port of names (RFC 1035).
const NAMES: u16 = 53;

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

    /// Refuses what no container could have, before anything is done: networks that are not there, addresses
    /// that are not theirs.
    ///
    /// # Errors
    /// The first of it.
    pub fn foresee(&self, spec: &Spec) -> Result<()> {
        let Some(networking) = spec.network.as_deref() else { return Ok(()) };
        foreign::foresee(self, spec)?;
        for attachment in &networking.attachments {
            let Attachment::Network { network, addresses, dhcp, .. } = attachment else { continue };
            let network = self.must_have(network)?;
            by_hand(&network, addresses)?;
            must_have_addresses(&network, addresses, *dhcp)?;
            leaves_names(&networking.published)?;
            if network.names {
                self.may_be_asked(&networking.servers)?;
            }
            let rate = networking.rate;
            if rate != Rate::default() && !network.kind.is_routed() {
                return Err(Error::unsupported(format!(
                    "what goes over network {} cannot be limited: its kind is {}",
                    network.name,
                    network.kind.word()
                ))
                .hint("networks of kind nat and isolated can"));
            }
        }
        Ok(())
    }

    /// Refuses servers that a resolver of ours would ask in the host's name, and the container may not itself.
    fn may_be_asked(&self, servers: &[IpAddr]) -> Result<()> {
        if servers.is_empty() {
            return Ok(());
        }
        let networks = self.list()?;
        for server in servers {
            let own = |network: &&Network| {
                (network.kind.is_routed() || network.kind == Kind::Pair)
                    && network.subnets.iter().any(|subnet| subnet.net.contains(&server.to_canonical()))
            };
            let whose = match networks.iter().find(own) {
                Some(network) => format!("is on network {}", network.name),
                None if is_local(*server) => "means the host itself".to_owned(),
                None => continue,
            };
            return Err(Error::user(format!(
                "{server} cannot be asked for names: that {whose}, and the host asks it in the container's place"
            ))
            .hint("say one that lies elsewhere, or none: whom the host asks is asked; on a network without names (tsubo network create --no-names) a container asks itself"));
        }
        Ok(())
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

/// The addresses that were asked for, with the length of their subnet's prefix.
fn by_hand(network: &Network, addresses: &[IpNet]) -> Result<Vec<IpNet>> {
    addresses.iter().map(|address| in_subnet(network, *address)).collect()
}

fn in_subnet(network: &Network, asked: IpNet) -> Result<IpNet> {
    let (address, name) = (asked.addr(), &network.name);
    let Some(subnet) = network.subnets.iter().find(|subnet| subnet.net.contains(&address)) else {
        if network.subnets.is_empty() && asked.prefix_len() < asked.max_prefix_len() {
            return Ok(asked);
        }
        if network.subnets.is_empty() {
            return Err(Error::user(format!(
                "nothing says how many neighbours {address} has on network {name}"
            ))
            .hint(format!("say it, as in ip={address}/24")));
        }
        let all: Vec<_> = network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
        return Err(Error::user(format!(
            "{address} is not in network {name}, which has {}",
            all.join(" and ")
        ))
        .hint(format!("choose one of these, or none: a free one is found; tsubo network inspect {name}")));
    };
    let what = match address {
        own if own == subnet.gateway => Some("is its gateway's"),
        other if !is_host(subnet.net, other) => Some("means all or none of its hosts"),
        _ => None,
    };
    match what {
        Some(what) => {
            Err(Error::user(format!("{address} cannot be a container's on network {name}: it {what}"))
                .hint("choose another, or none: a free one is found"))
        }
        None => Ok(with_length(address, subnet.net.prefix_len())),
    }
}

fn with_length(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).unwrap_or(IpNet::from(address))
}

/// Refuses to leave an interface without any address.
fn must_have_addresses(network: &Network, addresses: &[IpNet], dhcp: bool) -> Result<()> {
    if dhcp {
        return super::dhcp::must_have_a_server(network);
    }
    if !network.subnets.is_empty() || !addresses.is_empty() {
        return Ok(());
    }
    let (name, kind) = (&network.name, network.kind.word());
    Err(Error::unsupported(format!(
        "network {name} ({kind}) has no addresses to give, and nobody has said where to get them"
    ))
    .hint(format!("ask a server there: --network {name}:dhcp; or say one: --network {name}:ip=192.168.1.7/24; or make the network with --subnet")))
}

/// Refuses to publish the port of names on all addresses: the resolvers of networks answer on those of gateways.
fn leaves_names(published: &[Publish]) -> Result<()> {
    let Some(publish) = published.iter().find(|one| one.host == NAMES && one.address.is_none()) else {
        return Ok(());
    };
    let Publish { protocol, container, .. } = publish;
    Err(Error::user(format!(
        "port {NAMES}/{} of all addresses of the host cannot be published: names of containers are answered on some",
        protocol.word()
    ))
    .hint(format!("say one of them: -p IP:{NAMES}:{container}/{}", protocol.word())))
}

/// An address that means whoever sends there, or his neighbours.
fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let near = match address {
        IpAddr::V4(four) => four.is_link_local() || four.is_broadcast() || four.octets()[0] == 0,
        IpAddr::V6(six) => six.is_unicast_link_local(),
    };
    near || address.is_loopback() || address.is_unspecified() || address.is_multicast()
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
fn written(dir: &Path, lease: &Lease) -> std::io::Result<PathBuf> {
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

/// One container that takes what it needs of one network. What it has taken stays when this goes.
struct Claim<'a> {
    networks: &'a Networks,
    name: &'a Name,
    lease: &'a Lease,
    dir: PathBuf,
    /// Its lease, which takes a place by a further name.
    file: PathBuf,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // It is found, and removed, where this fails.
        let _ = fs::remove_file(&self.file);
    }
}

impl<'a> Claim<'a> {
    fn new(networks: &'a Networks, network: &'a Network, lease: &'a Lease) -> Result<Self> {
        let (name, dir) = (&network.name, networks.run_dir(&network.name));
        let file = match written(&dir, lease) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                networks.rebuild(name)?;
                written(&dir, lease)
            }
            written => written,
        };
        let file = file.doing(|| format!("taking an address of network {name}"))?;
        Ok(Self { networks, name, lease, dir, file })
    }

    /// Takes something, if nobody has it.
    fn take(&self, kind: &str, what: &str) -> Result<bool> {
        let place = self.dir.join(kind).join(what);
        let doing = || format!("taking {what} of network {}", self.name);
        for _ in 0..TRIES {
            match fs::hard_link(&self.file, &place) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
                // The network is being removed, or its files were.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.networks.rebuild(self.name)?;
                    write(&self.file, self.lease).doing(doing)?;
                }
                Err(error) => return Err(error).doing(doing),
            }
        }
        Err(Error::conflict(format!("network {} is being removed", self.name)))
    }

    /// Takes this very thing. What one's own record says is one's own already.
    fn must_take(&self, kind: &str, what: &str) -> Result<()> {
        for last in [false, true] {
            if self.take(kind, what)? {
                return Ok(());
            }
            let holder = holder(&self.dir.join(kind).join(what));
            match holder {
                Some(lease) if lease.id == self.lease.id => return Ok(()),
                Some(lease) if last => {
                    return Err(Error::conflict(format!(
                        "{what} is container {}'s on network {} already",
                        lease.name, self.name
                    ))
                    .hint("choose another, or none: a free one is found"));
                }
                // It may be nobody's any more.
                Some(_) => drop(self.networks.reclaim(self.name)?),
                None => {}
            }
        }
        Err(Error::conflict(format!("{what} of network {} has just been taken", self.name)))
    }

    /// A free address, beginning behind the last that was given: what was somebody's a moment ago may still
    /// be meant by others.
    fn any(&self, subnet: &Subnet, own: &[IpNet], network: &Network) -> Result<IpNet> {
        for last in [false, true] {
            if let Some(address) = self.next(subnet, own, network)? {
                return Ok(with_length(address, subnet.net.prefix_len()));
            }
            if last || self.networks.reclaim(self.name)?.is_empty() {
                break;
            }
        }
        let given = subnet.range.unwrap_or(subnet.net);
        Err(Error::conflict(format!("network {} has no free address left in {given}", self.name)).hint(format!(
            "remove containers that nobody needs (tsubo network inspect {} lists them), or make a larger network: tsubo network create --subnet 10.9.0.0/16 NAME",
            self.name
        )))
    }

    fn next(&self, subnet: &Subnet, own: &[IpNet], network: &Network) -> Result<Option<IpAddr>> {
        let from = subnet.range.unwrap_or(subnet.net);
        let bits = u32::from(from.max_prefix_len() - from.prefix_len());
        let count = 1_u128.checked_shl(bits).unwrap_or(u128::MAX).min(MOST);
        // The same number in both kinds is easier on people.
        let twin = own.first().and_then(|four| {
            let four = four.addr();
            let of = network.subnets.iter().find(|subnet| subnet.net.contains(&four))?;
            Some(nth(subnet.net, offset(of.net, four))).filter(|_| subnet.range.is_none())
        });
        let cursor = self.dir.join(if from.addr().is_ipv4() { "last4" } else { "last6" });
        let last = fs::read_to_string(&cursor).ok().and_then(|text| text.trim().parse().ok());
        let start = last.filter(|last| from.contains(last)).map_or(0, |last| offset(from, last) + 1);
        let others = (0..count).map(|step| nth(from, (start + step) % count));
        let usable = |address: &IpAddr| is_host(subnet.net, *address) && *address != subnet.gateway;
        for address in twin.into_iter().chain(others).filter(usable) {
            if self.take(LEASES, &address.to_string())? {
                // If it is lost the search takes longer.
                let _ = fs::write(&cursor, address.to_string());
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// The MAC address: that which was asked for, or one that nobody has.
    fn mac(&self, asked: Mac, addresses: &[IpNet]) -> Result<Mac> {
        if asked != NO_MAC {
            return self.must_take(MACS, &asked.to_string()).map(|()| asked);
        }
        let first = addresses.first().map(|address| Mac::of(address.addr()));
        let mut mac = first.map_or_else(random_mac, Ok)?;
        while !self.take(MACS, &mac.to_string())? {
            mac = random_mac()?;
        }
        Ok(mac)
    }

    /// Names are stronger than aliases: one that is another's would never be asked for.
    fn must_be_nobodys_name(&self, aliases: &[String]) -> Result<()> {
        if aliases.is_empty() {
            return Ok(());
        }
        let own = self.lease.name.as_str();
        let others = super::inspect::names_in(&self.dir);
        let taken =
            |alias: &&String| others.iter().any(|name| name != own && name.eq_ignore_ascii_case(alias));
        match aliases.iter().find(taken) {
            None => Ok(()),
            Some(alias) => Err(Error::conflict(format!(
                "{alias} is a container's name on network {} already",
                self.name
            ))
            .hint("choose another alias")),
        }
    }

    /// Two, and nobody else.
    fn must_be_two(&self) -> Result<()> {
        self.networks.reclaim(self.name)?;
        let others = super::inspect::names_in(&self.dir);
        let own = self.lease.name.to_string();
        match others.iter().filter(|name| **name != own).count() {
            0 | 1 => Ok(()),
            _ => {
                Err(Error::conflict(format!("network {} is a pair, of {}", self.name, others.join(" and ")))
                    .hint("more than two need a network of another kind: tsubo network create NAME"))
            }
        }
    }
}

/// Locally administered, one receiver; others than those that come of addresses.
fn random_mac() -> Result<Mac> {
    let [a, b, c, d, ..] = new_id()?.bytes();
    Ok(Mac([0x06, 0x74, a, b, c, d]))
}
