//! Addresses that a server on a container's network gives. A process (`tsubo-keeper dhcp`) asks for them in the
//! container's network namespace before its program begins, keeps them as long as it runs, and notes them
//! for the next time: they are not given back when it ends, so that it finds them again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::network::{Attachment, Element, Kind, Link, Network, Networking, Plan, Step, Wiring, link_name};
use spec::protocol::Failure;
use spec::{Error, Id, Name, Result, ResultExt};

use super::wire::{Connected, Given};
use super::{Networks, files, leash};
use crate::disk::{self, Durable};
use crate::job::Job;

/// So long a container's start waits for its first addresses.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// So much longer it waits for the process to say that there are none.
const SLACK: Duration = Duration::from_secs(3);
/// Longer than anything that is said over the leash.
const LONGEST: u64 = 16 << 20;
/// The addresses of before, in the container's directory.
const NOTE: &str = "dhcp.json";
/// What has changed since the container's start, in its run directory.
const LATER: &str = "given.json";

/// What the process is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The container's.
    pub id: Id,
    /// Its directory.
    pub dir: PathBuf,
    /// Its run directory.
    pub run: PathBuf,
    /// What servers are told that it is called.
    pub hostname: Option<String>,
    /// Its interfaces whose addresses are asked for.
    pub faces: Vec<Face>,
    /// Addresses that other containers have on networks that are no segments of ours alone.
    pub taken: Vec<Ipv4Addr>,
    networking: Networking,
    networks: Vec<Network>,
    /// The container's, and its host's.
    names: (Name, String),
    /// What it was given elsewhere.
    others: Vec<Given>,
}

/// One interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Face {
    /// Its number among the container's.
    pub index: usize,
    /// Its name inside.
    pub interface: String,
    /// Where it leads, in words.
    pub on: String,
    /// It is the first, and leads everywhere.
    pub leads: bool,
    /// It has the MAC address of others as well.
    pub shared: bool,
    /// Nobody has said how long its packets may be.
    pub any_mtu: bool,
    /// The host's end of it, if that is locked to its addresses.
    pub port: Option<String>,
    /// Nets that the container's other interfaces lead to, as far as they are known at its start.
    pub beside: Vec<Ipv4Net>,
}

/// What it says when it has all of them, or has given up.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// What each interface has, and the domains that are searched.
    Given(Vec<Given>, Vec<String>),
    /// It cannot be had.
    Failed(Failure),
}

/// What a container has been given at its start.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) leash: OwnedFd,
    pub(super) given: Vec<Given>,
    pub(super) search: Vec<String>,
}

/// Begins the process for a container whose interfaces are made, and waits for what it is given; None for one
/// whose addresses are all known. `others`: what it was given elsewhere.
///
/// # Errors
/// Not found where nobody answers in time. Then the process ends.
pub(super) fn begin(
    job: &Job,
    networks: &Networks,
    known: &[Network],
    others: &[Given],
    inside: BorrowedFd<'_>,
) -> Result<Option<Leased>> {
    let Some(order) = Order::of(job, networks, known, others)? else { return Ok(None) };
    // Of the life before, if its keeper has started it again.
    disk::remove_file(&job.run.join(LATER))?;
    let leash = leash::begin("dhcp", &[inside.as_raw_fd().to_string()], &[inside])?;
    say(&leash, &order)?;
    if !leash::wait(&leash, Instant::now() + PATIENCE + SLACK) {
        return Err(Error::failed("the process that asks for addresses says nothing"));
    }
    let (given, search) = match heard(&leash)? {
        Report::Given(given, search) => (given, search),
        Report::Failed(failure) => return Err(failure.into()),
    };
    Ok(Some(Leased { leash, given, search }))
}

/// Whether an attachment's addresses are asked for.
fn asks(attachment: &Attachment) -> bool {
    matches!(attachment, Attachment::Network { dhcp: true, .. } | Attachment::Interface { dhcp: true, .. })
}

impl Order {
    fn of(job: &Job, networks: &Networks, known: &[Network], others: &[Given]) -> Result<Option<Self>> {
        let Some(networking) = job.spec.network.as_deref() else { return Ok(None) };
        let attachments = networking.attachments.iter().enumerate().filter(|(_, one)| asks(one));
        let faces: Vec<Face> =
            attachments.filter_map(|(index, one)| face(job.spec.id, index, one, known)).collect();
        let faces = faces
            .into_iter()
            .map(|face| Face { beside: beside(face.index, networking, known, others), ..face });
        let faces: Vec<Face> = faces.collect();
        if faces.is_empty() {
            return Ok(None);
        }
        let hostname = job.spec.hostname.as_deref().unwrap_or(job.spec.name.as_str());
        Ok(Some(Self {
            id: job.spec.id,
            dir: job.dir.clone(),
            run: job.run.clone(),
            hostname: is_hostname(hostname).then(|| hostname.to_owned()),
            faces,
            taken: networks.taken(job.spec.id)?,
            networking: networking.clone(),
            networks: known.to_vec(),
            names: (job.spec.name.clone(), hostname.to_owned()),
            others: others.to_vec(),
        }))
    }

    /// The container's files about its network with what its interfaces were given: where they are, and what they say.
    pub fn files(&self, given: &[Given], search: Vec<String>) -> Vec<(PathBuf, String)> {
        let (name, hostname) = &self.names;
        let given = [&self.others, given].concat();
        let dir = files::directory(&self.dir);
        files::told(&dir, &self.networking, &self.networks, (&given, search), (name, hostname))
    }

    /// The addresses that it had before, by interface.
    pub fn before(&self) -> BTreeMap<String, Ipv4Addr> {
        disk::read_json(&self.dir.join(NOTE)).ok().flatten().unwrap_or_default()
    }

    /// Says what the interfaces have now, where that is something else than at the container's start.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn tell(&self, given: &[Given]) -> Result<()> {
        disk::write_json(&self.run.join(LATER), &given, Durable::No)
    }

    /// Notes them for the next time.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note(&self, now: &BTreeMap<String, Ipv4Addr>) -> Result<()> {
        disk::write_json(&self.dir.join(NOTE), now, Durable::No)
    }
}

impl Face {
    /// The elements that let these addresses through.
    pub fn locks(&self, addresses: &[IpNet]) -> Vec<Element> {
        let port = self.port.iter();
        port.flat_map(|port| addresses.iter().map(move |address| lock(port, address))).collect()
    }
}

fn lock(port: &str, address: &IpNet) -> Element {
    Element::Port { interface: port.to_owned(), address: address.addr() }
}

/// All that is made on the host for a container by now: its plan, and what lets the addresses through that it was given.
pub(super) fn whole(connected: &Connected) -> Plan {
    let locked = |interface: &str| {
        connected.plan.iter().find_map(|step| match step {
            Step::Link(Link { inside, wiring: Wiring::Veth { host, bridge: Some(_), .. }, .. })
                if inside == interface =>
            {
                Some(host.as_str())
            }
            _ => None,
        })
    };
    let given =
        connected.given.iter().filter_map(|given| Some((locked(&given.interface)?, &given.addresses)));
    let locks = given.flat_map(|(port, addresses)| addresses.iter().map(|address| lock(port, address)));
    connected.plan.iter().cloned().chain(locks.map(Step::Element)).collect()
}

/// Where the interfaces lead that are not this one.
fn beside(own: usize, networking: &Networking, known: &[Network], others: &[Given]) -> Vec<Ipv4Net> {
    let rest = networking.attachments.iter().enumerate().filter(|(index, _)| *index != own);
    let of_one = |attachment: &Attachment| -> Vec<IpNet> {
        match attachment {
            Attachment::Network { network, addresses, .. } => {
                let subnets =
                    known.iter().filter(|known| known.name == *network).flat_map(|known| &known.subnets);
                subnets.map(|subnet| subnet.net).chain(addresses.iter().copied()).collect()
            }
            Attachment::Interface { addresses, .. } => addresses.clone(),
            _ => Vec::new(),
        }
    };
    let nets = rest.flat_map(|(_, attachment)| of_one(attachment));
    let nets = nets.chain(others.iter().flat_map(|given| given.addresses.iter().copied()));
    nets.filter_map(|net| if let IpNet::V4(net) = net { Some(net.trunc()) } else { None }).collect()
}

fn face(id: Id, index: usize, attachment: &Attachment, known: &[Network]) -> Option<Face> {
    let leads = index == 0;
    match attachment {
        Attachment::Network { network, interface, mtu, .. } => {
            let network = known.iter().find(|known| known.name == *network)?;
            let over = match &network.kind {
                Kind::Bridge { uplink } => uplink.as_deref(),
                Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } => Some(parent.as_str()),
                Kind::Nat | Kind::Isolated | Kind::Pair => None,
            };
            let over = over.map(|over| format!(" over {over}")).unwrap_or_default();
            Some(Face {
                index,
                on: format!("network {} ({interface}{over})", network.name),
                interface: interface.clone(),
                leads,
                shared: matches!(network.kind, Kind::Ipvlan { .. }),
                any_mtu: mtu.or(network.mtu).is_none(),
                port: matches!(network.kind, Kind::Bridge { .. }).then(|| link_name(id, index)),
                beside: Vec::new(),
            })
        }
        Attachment::Interface { host, interface, .. } => Some(Face {
            index,
            interface: interface.clone(),
            on: format!("the interface {host}"),
            leads,
            shared: false,
            // The host has it back afterwards, as it was.
            any_mtu: false,
            port: None,
            beside: Vec::new(),
        }),
        Attachment::Cni { .. } | Attachment::Netavark { .. } | Attachment::User { .. } => None,
    }
}

/// Made as names of hosts are.
fn is_hostname(text: &str) -> bool {
    (1..64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Refuses to ask for addresses where nobody but us could give any.
///
/// # Errors
/// Unsupported, with the way out.
pub(super) fn must_have_a_server(network: &Network) -> Result<()> {
    let (name, kind) = (&network.name, network.kind.word());
    match &network.kind {
        Kind::Bridge { .. } | Kind::Macvlan { .. } => Ok(()),
        Kind::Ipvlan { mode, .. } if mode.as_deref().unwrap_or("l2") == "l2" => Ok(()),
        Kind::Ipvlan { mode, .. } => Err(Error::unsupported(format!(
            "nobody can be asked for addresses on network {name}: ipvlan in mode {} carries nothing to everybody",
            mode.as_deref().unwrap_or_default()
        ))
        .hint("make it in mode l2, or say an address: ip=192.168.1.7/24")),
        Kind::Nat | Kind::Isolated | Kind::Pair => Err(Error::unsupported(format!(
            "there is no DHCP server on network {name}: its kind is {kind}, and tsubo itself gives its addresses"
        ))
        .hint("leave dhcp out; networks of kind macvlan, ipvlan and bridge with --uplink lead to where servers are")),
    }
}

impl Networks {
    /// Addresses that other containers have where they are the neighbours of others' machines.
    fn taken(&self, own: Id) -> Result<Vec<Ipv4Addr>> {
        let segments: Vec<_> = self.list()?.into_iter().filter(|network| !network.kind.is_routed()).collect();
        let mut taken = Vec::new();
        for record in self.records()?.into_iter().filter(|record| record.spec.id != own) {
            let Some(networking) = record.spec.network.as_deref() else { continue };
            for attachment in &networking.attachments {
                let Attachment::Network { network, addresses, .. } = attachment else { continue };
                if segments.iter().any(|segment| segment.name == *network) {
                    taken.extend(addresses.iter().map(IpNet::addr));
                }
            }
            if networking.attachments.iter().any(asks) {
                let given = self.connection(record.spec.id).map(|connected| connected.given);
                taken.extend(given.iter().flatten().flat_map(|given| &given.addresses).map(IpNet::addr));
            }
        }
        let fourth = |address| if let IpAddr::V4(address) = address { Some(address) } else { None };
        Ok(taken.into_iter().filter_map(fourth).collect())
    }
}

/// The addresses that a container has by now, where they have changed since its start.
pub(crate) fn refresh(connected: &mut Connected, run: &Path) {
    if connected.given.is_empty() {
        return;
    }
    let later: Option<Vec<Given>> = disk::read_json(&run.join(LATER)).ok().flatten();
    for given in &mut connected.given {
        let now = later.iter().flatten().find(|now| now.interface == given.interface);
        *given = now.cloned().unwrap_or_else(|| given.clone());
    }
}

/// Says one thing over the leash.
///
/// # Errors
/// When the other side is gone.
pub fn say(leash: &OwnedFd, what: &impl Serialize) -> Result<()> {
    let mut line =
        serde_json::to_vec(what).map_err(|cause| Error::internal("encoding an order").because(cause))?;
    line.push(b'\n');
    let leash = leash.try_clone().doing(|| "duplicating a leash")?;
    File::from(leash).write_all(&line).doing(|| "talking about addresses")
}

/// What the other side says.
///
/// # Errors
/// When it is gone, or says something else.
pub fn heard<T: DeserializeOwned>(leash: &OwnedFd) -> Result<T> {
    let leash = leash.as_fd().try_clone_to_owned().doing(|| "duplicating a leash")?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(File::from(leash).take(LONGEST));
    reader.read_until(b'\n', &mut line).doing(|| "hearing about addresses")?;
    if line.is_empty() {
        return Err(Error::failed("the process that asks for addresses has ended"));
    }
    serde_json::from_slice(&line).map_err(|cause| Error::internal("reading about addresses").because(cause))
}

#[cfg(test)]
mod tests;
