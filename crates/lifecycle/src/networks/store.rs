//! The networks of a state directory: one file for each, written under one lock.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use spec::container::Spec;
use spec::network::{Attachment, DEFAULT, Kind, Network, Subnet, ZONES, word};
use spec::{Error, Name, Result, ResultExt};

use super::subnets::{self, Taken};
use crate::Home;
use crate::disk::{self, Durable};
use crate::home::new_id;
use crate::job::Job;
use crate::lock::FileLock;
use crate::record::{Record, now};

/// So much of an id means it.
const SHORTEST_ID: usize = 4;

/// The networks of a state directory.
#[derive(Debug, Clone)]
pub struct Networks {
    lib: PathBuf,
    run: PathBuf,
}

/// A network that is to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is called.
    pub name: Name,
    /// What it is made of.
    pub kind: Kind,
    /// Its addresses; empty for free ones, where its kind has addresses of its own.
    pub subnets: Vec<WantedSubnet>,
    /// Addresses of IPv6 too, where they are chosen.
    pub six: bool,
    /// Bytes of a packet.
    pub mtu: Option<u32>,
    /// It has a resolver.
    pub names: bool,
    /// Whom that asks.
    pub servers: Vec<IpAddr>,
}

/// Addresses that are wanted.
#[derive(Debug, Clone, Copy)]
pub struct WantedSubnet {
    /// All of them.
    pub net: IpNet,
    /// The gateway's; None for the first.
    pub gateway: Option<IpAddr>,
    /// Only these are given to containers.
    pub range: Option<IpNet>,
}

impl Wanted {
    /// One with links of their own to the host, which speaks for its containers outside; with names.
    pub fn named(name: Name) -> Self {
        Self {
            name,
            kind: Kind::Nat,
            subnets: Vec::new(),
            six: true,
            mtu: None,
            names: true,
            servers: Vec::new(),
        }
    }
}

impl Networks {
    /// Those of `home`.
    pub fn of(home: &Home) -> Self {
        Self { lib: home.lib().to_owned(), run: home.run().to_owned() }
    }

    /// Those of the state directory that a job is of.
    pub fn beside(job: &Job) -> Self {
        Self::around(&job.dir, &job.run)
    }

    /// Those of the state directory of the container with these two directories.
    pub(crate) fn around(dir: &Path, run: &Path) -> Self {
        let home = |dir: &Path| dir.ancestors().nth(2).unwrap_or(dir).to_owned();
        Self { lib: home(dir), run: home(run) }
    }

    /// What is only true on this boot of a network lies there: its leases, and what its resolver keeps.
    pub fn run_dir(&self, name: &Name) -> PathBuf {
        self.run.join("networks").join(name)
    }

    pub(super) fn run_dirs(&self) -> PathBuf {
        self.run.join("networks")
    }

    pub(super) fn lib(&self) -> &Path {
        &self.lib
    }

    fn file(&self, name: &Name) -> PathBuf {
        self.lib.join("networks").join(format!("{name}.json"))
    }

    /// Nobody else makes, changes or removes one as long as it is held.
    pub(super) fn lock(&self) -> Result<FileLock> {
        FileLock::take(&self.lib, "networks")
    }

    /// The names of all.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> Result<Vec<Name>> {
        let dir = self.lib.join("networks");
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.doing(|| format!("reading {}", dir.display()))?,
        };
        let name = |file: std::fs::DirEntry| file.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut names: Vec<Name> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// All, by name.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn list(&self) -> Result<Vec<Network>> {
        let names = self.names()?;
        let all = names.iter().map(|name| self.get(name)).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().flatten().collect())
    }

    /// The one of this very name.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn get(&self, name: &Name) -> Result<Option<Network>> {
        let read = disk::read_json::<Network>(&self.file(name));
        let network = read.map_err(|error| error.hint(format!("to remove it: tsubo network rm {name}")))?;
        Ok(network.map(|network| Network { name: name.clone(), ..network }))
    }

    /// The one of this name, which must be there. The usual one is made if it is not.
    ///
    /// # Errors
    /// Not found; when it cannot be read.
    pub fn must_have(&self, name: &Name) -> Result<Network> {
        match self.get(name)? {
            Some(network) => Ok(network),
            None if name.as_str() == DEFAULT => self.usual(),
            None => Err(unknown(name.as_str())),
        }
    }

    /// The one with this name, or whose id begins so.
    ///
    /// # Errors
    /// Not found, or several of them.
    pub fn find(&self, name_or_id: &str) -> Result<Network> {
        if let Ok(name) = name_or_id.parse::<Name>() {
            if let Some(network) = self.get(&name)? {
                return Ok(network);
            }
        }
        let all = if name_or_id.len() < SHORTEST_ID { Vec::new() } else { self.list()? };
        let mut matching = all.into_iter().filter(|network| network.id.to_string().starts_with(name_or_id));
        match (matching.next(), matching.next()) {
            (Some(network), None) => Ok(network),
            (Some(_), Some(_)) => {
                Err(Error::user(format!("several networks have an id that begins with {name_or_id}")))
            }
            _ => Err(unknown(name_or_id)),
        }
    }

    /// The network that containers are on unless another is said: made when it is needed.
    ///
    /// # Errors
    /// When it cannot be written, or no addresses are free.
    pub fn usual(&self) -> Result<Network> {
        let name: Name = DEFAULT.parse()?;
        if let Some(network) = self.get(&name)? {
            return Ok(network);
        }
        match self.create(&Wanted::named(name.clone())) {
            Err(error) if error.kind() == spec::ErrorKind::Conflict => self.get(&name)?.ok_or(error),
            made => made,
        }
    }

    /// Makes one. Its links come with its first container.
    ///
    /// # Errors
    /// Conflict with another of this name, or with addresses that are in use; addresses that cannot be
    /// a network's; when no addresses are free.
    pub fn create(&self, wanted: &Wanted) -> Result<Network> {
        word::nameable(&wanted.name)?;
        let _lock = self.lock()?;
        if self.file(&wanted.name).exists() {
            return Err(Error::conflict(format!("there is a network {} already", wanted.name))
                .hint(format!("remove it with tsubo network rm {}, or choose another name", wanted.name)));
        }
        let others = self.list()?;
        let network = Network {
            name: wanted.name.clone(),
            id: new_id()?,
            kind: wanted.kind.clone(),
            subnets: subnets(wanted, &others)?,
            mtu: wanted.mtu,
            names: wanted.names && has_names(&wanted.kind),
            servers: wanted.servers.clone(),
            zones: [(String::new(), free_zone(&others)?)].into(),
            created: now(),
        };
        let dir = self.lib.join("networks");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.doing(|| format!("making {}", dir.display()))?;
        self.write(&network)?;
        Ok(network)
    }

    fn write(&self, network: &Network) -> Result<()> {
        disk::write_json(&self.file(&network.name), network, Durable::Yes)
    }

    /// Removes one that no container uses, with what it has on the host.
    ///
    /// # Errors
    /// Not found; conflict while containers use it, also such as do not run.
    pub fn remove(&self, name_or_id: &str) -> Result<Name> {
        let name = match (self.find(name_or_id), name_or_id.parse::<Name>()) {
            (Ok(network), _) => network.name,
            // One that cannot be read goes by its name.
            (Err(_), Ok(name)) if self.file(&name).exists() => name,
            (Err(error), _) => return Err(error),
        };
        let _lock = self.lock()?;
        self.must_be_unused(&name)?;
        if let Ok(Some(network)) = self.get(&name) {
            self.lower(&network, &self.set_aside(&name))?;
        }
        disk::remove_file(&self.file(&name))?;
        disk::remove_tree(&self.set_aside(&name))?;
        Ok(name)
    }

    /// Containers are made without the lock: their leases are out of the way while they are looked at, and
    /// who comes now finds none, and waits.
    fn must_be_unused(&self, name: &Name) -> Result<()> {
        let (dir, aside) = (self.run_dir(name), self.set_aside(name));
        disk::remove_tree(&aside)?;
        if !dir.is_dir() {
            self.remember(name)?;
        }
        self.reclaim(name)?;
        std::fs::rename(&dir, &aside).doing(|| format!("removing {}", dir.display()))?;
        let members = super::inspect::names_in(&aside);
        if members.is_empty() {
            return Ok(());
        }
        std::fs::rename(&aside, &dir).doing(|| format!("keeping {}", dir.display()))?;
        Err(Error::conflict(format!("network {name} is in use: {}", members.join(", ")))
            .hint("remove these containers first: tsubo rm"))
    }

    fn set_aside(&self, name: &Name) -> PathBuf {
        self.run_dirs().join(format!(".gone-{name}"))
    }

    /// The number of a group's zone on a network, which gets one if it has none; the network with it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn with_zone(&self, network: Network, group: &str) -> Result<Network> {
        if network.zones.contains_key(group) {
            return Ok(network);
        }
        let _lock = self.lock()?;
        let mut network = self.get(&network.name)?.ok_or_else(|| unknown(network.name.as_str()))?;
        if !network.zones.contains_key(group) {
            network.zones.insert(group.to_owned(), free_zone(&self.list()?)?);
            self.write(&network)?;
        }
        Ok(network)
    }

    /// The networks of a container, one for each attachment to one, in their order.
    ///
    /// # Errors
    /// One that is gone.
    pub fn of_container(&self, spec: &Spec) -> Result<Vec<Network>> {
        let attachments = spec.network.iter().flat_map(|network| &network.attachments);
        let names = attachments.filter_map(|attachment| match attachment {
            Attachment::Network { network, .. } => Some(network),
            _ => None,
        });
        names.map(|name| self.must_have(name)).collect()
    }

    /// What is written of all containers, each under the name of its directory.
    pub(super) fn records(&self) -> Result<Vec<Record>> {
        let containers = self.lib.join("containers");
        let read = |name: Name| {
            let record = disk::read_json::<Record>(&containers.join(&name).join("container.json")).ok()??;
            Some(Record { spec: Spec { name, ..record.spec }, ..record })
        };
        Ok(disk::names(&containers)?.into_iter().filter_map(read).collect())
    }
}

/// Where people of the outside give names, a resolver of ours would know half of them.
fn has_names(kind: &Kind) -> bool {
    kind.is_routed()
}

pub(super) fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::not_found(format!("there is no network {shown:?}"))
        .hint("make it: tsubo network create NAME; tsubo network ls lists them")
}

/// 24 random bits that no zone of these networks has. The first are spent on the parts of the number that
/// all have in common.
fn free_zone(networks: &[Network]) -> Result<u32> {
    let taken = |zone: u32| networks.iter().any(|network| network.zones.values().any(|other| *other == zone));
    loop {
        let mut bytes = [0; 4];
        bytes[1..].copy_from_slice(&new_id()?.bytes()[..3]);
        let zone = ZONES | u32::from_be_bytes(bytes);
        // The bare number is nobody's: it begins the range.
        if zone != ZONES && !taken(zone) {
            return Ok(zone);
        }
    }
}

/// The addresses of a new network.
fn subnets(wanted: &Wanted, others: &[Network]) -> Result<Vec<Subnet>> {
    let own = wanted.kind.is_routed() || wanted.kind == Kind::Pair;
    let taken = Taken::by(others, own);
    let mut all = Vec::new();
    for subnet in &wanted.subnets {
        let six = subnet.net.addr().is_ipv6();
        if all.iter().any(|other: &Subnet| other.net.addr().is_ipv6() == six) {
            return Err(Error::user(format!("network {} has two subnets of one kind", wanted.name))
                .hint("one of IPv4, one of IPv6, or both"));
        }
        all.push(subnets::given(subnet, &taken).doing(|| format!("making network {}", wanted.name))?);
    }
    if all.is_empty() && own {
        let length = match &wanted.kind {
            Kind::Pair => 29,
            // All that say nothing are there: more than a host can run.
            _ if wanted.name.as_str() == DEFAULT => 20,
            _ => 24,
        };
        all.push(subnets::free_four(&taken, length)?);
        if wanted.six && subnets::has_six() {
            all.push(subnets::free_six(&taken)?);
        }
    }
    Ok(all)
}
