//! A container's network, made at its start and taken back at its end.
//!
//! What is made follows from the container's record and its networks' alone, and bears its id: whoever
//! finds a container that was killed half way can take all of it back.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use spec::container::{Mount, MountKind, Namespace, Spec};
use spec::limits::GroupName;
use spec::network::{
    Allow, Attachment, Element, Network, Networking, Peer, Permit, Place, Plan, Publish, Step, Whom, plan,
};
use spec::{Error, ErrorKind, Name, Result, ResultExt};

use super::doors::Doors;
use super::{Networks, dhcp, files, foreign, leash, names, pasta, relay};
use crate::disk;
use crate::job::Job;
use crate::state::STATE;

/// Of the host's files those that speak of its network.
const FILES: [&[u8]; 2] = [b"/etc/resolv.conf", b"/etc/hosts"];

/// How a running container is connected, as its state says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Ports of the host that lead to it; those that could be any are known now.
    pub published: Vec<Publish>,
    /// They lead to it by a process, as the host filters what comes to it.
    #[serde(default)]
    pub relayed: bool,
    /// What was made, to be taken back; but for what lets the addresses through that a server gives, as they change.
    pub plan: Plan,
    /// Interfaces whose addresses others have given it, at its start.
    #[serde(default)]
    pub given: Vec<Given>,
}

/// What somebody else than we has given an interface: a DHCP server, or a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its name inside.
    pub interface: String,
    /// Its addresses, with the length of their subnet's prefix.
    pub addresses: Vec<IpNet>,
    /// Where packets to elsewhere go.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Who answers for names there.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
}

/// A network that was made.
#[derive(Debug)]
pub struct Wired {
    connected: Connected,
    ports: Vec<OwnedFd>,
    /// Files that say now what was not known when they were written.
    rewritten: Vec<(PathBuf, String)>,
}

impl Wired {
    /// Says in the container's files what only its start has told; to be done when they are written, and before its
    /// program begins.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn settle(&mut self) -> Result<()> {
        std::mem::take(&mut self.rewritten).iter().try_for_each(|(path, text)| files::rewrite(path, text))
    }

    /// What the state says of it, and what is to be held as long as it runs: the ports of the host, and last the
    /// namespace, if interfaces of the host are in it.
    pub fn into_parts(self) -> (Connected, Vec<OwnedFd>) {
        (self.connected, self.ports)
    }
}

/// Whether a container has interfaces that must be made at its start.
pub fn is_wired(spec: &Spec) -> bool {
    wired(spec).is_some()
}

fn wired(spec: &Spec) -> Option<&Networking> {
    spec.network.as_deref().filter(|networking| !networking.attachments.is_empty())
}

/// Makes the network of a container in the namespace `inside`.
///
/// # Errors
/// Conflict for a port of the host that is taken, not found for a network that is gone; whatever the kernel
/// refuses. Then nothing is left of it.
pub fn wire(job: &Job, inside: BorrowedFd<'_>) -> Result<Wired> {
    let Some(networking) = wired(&job.spec) else {
        return Err(Error::internal("a container without a network"));
    };
    if pasta::is_for(networking) {
        let published = pasta::connect(inside, networking, &networking.published, &job.run)?.published;
        let connected = Connected { published, ..Connected::default() };
        return Ok(Wired { connected, ports: Vec::new(), rewritten: Vec::new() });
    }
    let networks = Networks::beside(job);
    networks.hold(&job.spec)?;
    let places = places(&networks, &job.spec)?;
    let doors = Doors::reserve(job, networking)?;
    let networking = Networking { published: doors.led_on().to_owned(), ..networking.clone() };
    let permits = permits(&networks, &networking.allow, &places)?;
    let on: Vec<Place<'_>> = places.iter().map(|(network, zone)| Place { network, zone: *zone }).collect();
    // What others publish we do not.
    let published = if foreign::publish(&networking) { Vec::new() } else { networking.published.clone() };
    let ours = Networking { published, ..networking.clone() };
    let mut plan = plan(job.spec.id, &ours, &on, &permits);
    let relayed = doors.are_relayed();
    let ways = if relayed { relay::take_ways(&mut plan) } else { Vec::new() };
    let known: Vec<Network> = places.iter().map(|(network, _)| network.clone()).collect();
    make(&networks, &known, &plan, inside)?;
    let making = Making { job, networks: &networks, networking: &networking, known: &known, inside };
    match making.complete(doors, &ways, &plan) {
        Ok((connected, ports, rewritten)) => {
            Ok(Wired { connected: Connected { relayed, plan, ..connected }, ports, rewritten })
        }
        Err(error) => {
            undo(&plan, inside);
            Err(error)
        }
    }
}

/// A network the links of which are there.
struct Making<'a> {
    job: &'a Job,
    networks: &'a Networks,
    networking: &'a Networking,
    known: &'a [Network],
    inside: BorrowedFd<'a>,
}

/// What the state says of a network, what is to be held, and files that are written anew.
type Completed = (Connected, Vec<OwnedFd>, Vec<(PathBuf, String)>);

impl Making<'_> {
    /// What does not follow from the plan: processes that carry ports, what others make, and addresses that are asked
    /// for.
    fn complete(&self, doors: Doors, ways: &[Element], plan: &Plan) -> Result<Completed> {
        let Self { job, networks, networking, known, inside } = *self;
        let (published, mut held) = doors.open(job, ways, inside)?;
        let mut given = foreign::connect(networks, &job.spec, networking, inside)?;
        let mut search = Vec::new();
        if let Some(leased) = dhcp::begin(job, networks, known, &given, inside)? {
            held.push(leased.leash);
            given.extend(leased.given);
            search = leased.search;
        }
        let rewritten = if given.is_empty() { Vec::new() } else { told(job, known, &given, search) };
        let moved = plan.iter().any(|step| matches!(step, Step::Move { .. }));
        if foreign::is_for(networking) || moved {
            held.push(inside.try_clone_to_owned().doing(|| "keeping a namespace")?);
        }
        networks.note(job.spec.id, networking)?;
        self.let_in()?;
        Ok((Connected { published, given, ..Connected::default() }, held, rewritten))
    }

    /// What others allow this container, by its name.
    fn let_in(&self) -> Result<()> {
        let wanted = self.networks.wanted(&self.job.spec);
        if wanted.is_empty() {
            return Ok(());
        }
        with_host(|host| {
            for step in wanted {
                // Who is not there any more needs no permission; one that is part of another is there already.
                let _ = host.renew(&vec![step]);
            }
            Ok(())
        })
    }
}

/// What of the host's a container reaches: each is raised first, and again if it has gone in the meantime.
fn make(networks: &Networks, known: &[Network], plan: &Plan, inside: BorrowedFd<'_>) -> Result<()> {
    if plan.is_empty() {
        // Others make all of it.
        return Ok(());
    }
    with_host(|host| raise(networks, known, host))?;
    for network in known.iter().filter(|network| network.names) {
        networks.resolver(network)?;
    }
    with_host(|host| match host.attach(plan, inside) {
        // Somebody else has flushed the table since we looked.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            raise(networks, known, host)?;
            host.attach(plan, inside)
        }
        made => made,
    })
}

/// The kernel's end of our talk with it, once for the process: to close a socket of the packet filter waits
/// until what anybody has removed there is given back, for milliseconds.
static HOST: Mutex<Option<net::Host>> = Mutex::new(None);

/// Does something on the host, in the network namespace of whoever does the first thing.
pub(super) fn with_host<T>(act: impl FnOnce(&net::Host) -> Result<T>) -> Result<T> {
    // Nothing that panics half way leaves it in a state that matters.
    let mut host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*host {
        Some(host) => act(host),
        None => act(host.insert(net::Host::open()?)),
    }
}

/// Whatever of the host's part was removed is gone for all containers: theirs is made again as well.
fn raise(networks: &Networks, known: &[Network], host: &net::Host) -> Result<()> {
    let mut damaged = false;
    for network in known {
        if !host.is_raised(network)? {
            host.mend(network)?;
            damaged = true;
        }
    }
    if damaged {
        for connected in networks.connected() {
            // One that is just ending has no link any more.
            let _ = host.renew(&dhcp::whole(&connected));
        }
    }
    Ok(())
}

/// Each network that it is on, with the number of its zone there.
fn places(networks: &Networks, spec: &Spec) -> Result<Vec<(Network, u32)>> {
    let on = networks.of_container(spec)?;
    on.into_iter().map(|network| zoned(networks, network, spec.group.as_ref())).collect()
}

/// A network with the number of a group's zone on it.
fn zoned(networks: &Networks, network: Network, group: Option<&GroupName>) -> Result<(Network, u32)> {
    let network = networks.with_zone(network, &group.map(ToString::to_string).unwrap_or_default())?;
    let zone = network.zone(group).ok_or_else(|| Error::internal("a network without the zone it has"))?;
    Ok((network, zone))
}

/// Permissions by addresses and numbers. A container that does not exist has none yet.
fn permits(networks: &Networks, allow: &[Allow], places: &[(Network, u32)]) -> Result<Vec<Permit>> {
    let mut permits = Vec::new();
    for Allow { inward, peer, port } in allow {
        let whom = match peer {
            Peer::Host => vec![Whom::Host],
            Peer::Outside => vec![Whom::Outside],
            Peer::Net(net) => vec![Whom::Net(*net)],
            Peer::Container(name) => networks.addresses(name)?.into_iter().map(Whom::Net).collect(),
            Peer::Group(group) => places
                .iter()
                .map(|(network, _)| {
                    zoned(networks, network.clone(), Some(group)).map(|(_, zone)| Whom::Zone(zone))
                })
                .collect::<Result<_>>()?,
        };
        permits.extend(whom.into_iter().map(|whom| Permit { inward: *inward, whom, port: *port }));
    }
    Ok(outermost(permits))
}

/// Without those that are part of another: the kernel takes no two that overlap.
fn outermost(permits: Vec<Permit>) -> Vec<Permit> {
    let mut least: Vec<Permit> = Vec::new();
    for permit in permits {
        if !least.iter().any(|other| is_within(&permit, other)) {
            least.retain(|other| !is_within(other, &permit));
            least.push(permit);
        }
    }
    least
}

fn is_within(inner: &Permit, outer: &Permit) -> bool {
    let whom = match (inner.whom, outer.whom) {
        (Whom::Net(inner), Whom::Net(outer)) => outer.contains(&inner),
        (inner, outer) => inner == outer,
    };
    whom && inner.inward == outer.inward && (outer.port.is_none() || inner.port == outer.port)
}

/// Writes the files that tell a container of its network, which are mounted at its start.
///
/// # Errors
/// Not found for a network that is gone; when they cannot be written.
pub fn write_files(job: &Job) -> Result<()> {
    let Some(networking) = job.spec.network.as_deref() else { return Ok(()) };
    let known = Networks::beside(job).of_container(&job.spec)?;
    let name = &job.spec.name;
    let hostname = job.spec.hostname.as_deref().unwrap_or(name.as_str());
    files::write(&files::directory(&job.dir), networking, &known, name, hostname)
}

/// What these files say when others have given it something.
fn told(job: &Job, known: &[Network], given: &[Given], search: Vec<String>) -> Vec<(PathBuf, String)> {
    let Some(networking) = job.spec.network.as_deref() else { return Vec::new() };
    let name = &job.spec.name;
    let hostname = job.spec.hostname.as_deref().unwrap_or(name.as_str());
    files::told(&files::directory(&job.dir), networking, known, (given, search), (name, hostname))
}

/// Shows these files in a container that is about to be made, in the place of the host's.
pub(crate) fn show_files(spec: &mut Spec, tree: &Path, dir: &Path) {
    if spec.network.is_none() || !spec.owns(Namespace::Mount) {
        return;
    }
    let is_hosts = |mount: &Mount| match &mount.what {
        // Somebody may have said what is to be there.
        MountKind::Bind(bind) => {
            std::fs::canonicalize(mount.at.as_path()).is_ok_and(|hosts| bind.source == hosts)
        }
        _ => false,
    };
    spec.mounts.retain(|mount| !is_hosts(mount) || !FILES.contains(&mount.at.as_bytes()));
    let mounts = files::mounts(tree, &files::directory(dir), &spec.mounts);
    spec.mounts.extend(mounts);
}

/// Takes back the network of a container that ends. What went with its namespace is gone already, or about
/// to go. `held` is what its start has given to be held: interfaces of the host are in the namespace among
/// it, if there is one.
///
/// # Errors
/// Whatever the kernel refuses; the rest is taken back all the same.
pub fn unwire(job: &Job, held: &[OwnedFd]) -> Result<()> {
    let Some(networking) = wired(&job.spec) else { return Ok(()) };
    if pasta::is_for(networking) {
        return pasta::disconnect(&job.run);
    }
    leash::end(held);
    let networks = Networks::beside(job);
    let others = match foreign::is_for(networking) {
        true => foreign::disconnect(&networks, job.spec.id, held.last().map(AsFd::as_fd)),
        false => Ok(()),
    };
    networks.forget_notes(job.spec.id, networking);
    let wanted = networks.wanted(&job.spec);
    if !wanted.is_empty() {
        let _ = with_host(|host| host.detach(&wanted));
    }
    let state = disk::read_json::<crate::Running>(&job.run.join(STATE))?;
    match state.and_then(|state| state.network) {
        Some(mut connected) => {
            dhcp::refresh(&mut connected, &job.run);
            give_back(&connected.plan, held);
            disconnect(&connected)
        }
        None => forget(&job.spec, &job.dir, &job.run),
    }?;
    others
}

/// Takes back what was made for a start that fails.
fn undo(plan: &Plan, inside: BorrowedFd<'_>) {
    // The failure of the start is the one to tell.
    let _ = with_host(|host| host.detach(plan).and_then(|()| host.remove_links(plan)));
    give_back_from(plan, inside);
}

/// Interfaces that were moved in go back; the kernel itself gives back only those that are not virtual.
fn give_back(plan: &Plan, held: &[OwnedFd]) {
    if let Some(inside) = held.last() {
        give_back_from(plan, inside.as_fd());
    }
}

fn give_back_from(plan: &Plan, inside: BorrowedFd<'_>) {
    for step in plan {
        if let Step::Move { host, inside: name } = step {
            let _ = net::give_back(inside, name, host);
        }
    }
}

/// Takes back what was made at a start that has failed since, with what it was to hold.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn take_back(connected: &Connected, held: &[OwnedFd]) -> Result<()> {
    leash::end(held);
    give_back(&connected.plan, held);
    disconnect(connected)
}

/// Takes back what was made for a container, as its state says it.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn disconnect(connected: &Connected) -> Result<()> {
    with_host(|host| host.detach(&dhcp::whole(connected)))
}

/// Has others take back what they have made for a container whose start has failed; what stays is noted.
pub fn leave_to_others(job: &Job) {
    let _ = foreign::disconnect(&Networks::beside(job), job.spec.id, None);
}

/// Takes back what may have been made for a container that has no state: all that a start would make.
pub(crate) fn forget(spec: &Spec, dir: &Path, run: &Path) -> Result<()> {
    let Some(networking) = wired(spec) else { return Ok(()) };
    if pasta::is_for(networking) {
        return pasta::disconnect(run);
    }
    let networks = Networks::around(dir, run);
    let others = foreign::disconnect(&networks, spec.id, None);
    let Ok(places) = places(&networks, spec) else { return Ok(()) };
    let permits = permits(&networks, &networking.allow, &places)?;
    let on: Vec<Place<'_>> = places.iter().map(|(network, zone)| Place { network, zone: *zone }).collect();
    with_host(|host| host.detach(&plan(spec.id, networking, &on, &permits))).and(others)
}

/// The addresses of a container's interfaces on networks of ours.
pub(super) fn addresses(networking: &Networking) -> impl Iterator<Item = IpNet> {
    networking.attachments.iter().flat_map(|attachment| match attachment {
        Attachment::Network { addresses, .. } => addresses.clone(),
        _ => Vec::new(),
    })
}

impl Networks {
    /// The addresses of the container of this name, each alone; none while there is no such container.
    fn addresses(&self, name: &Name) -> Result<Vec<IpNet>> {
        let records = self.records()?;
        let found = records.iter().find(|record| record.spec.name == *name);
        let networking = found.and_then(|record| record.spec.network.as_deref());
        Ok(networking.into_iter().flat_map(addresses).map(|net| IpNet::from(net.addr())).collect())
    }

    /// How the containers that run are connected by now.
    fn connected(&self) -> impl Iterator<Item = Connected> {
        let all = std::fs::read_dir(self.run_dirs().with_file_name("containers"));
        let one = |dir: PathBuf| {
            let state = disk::read_json::<crate::Running>(&dir.join(STATE)).ok()??;
            let mut connected = state.network?;
            dhcp::refresh(&mut connected, &dir);
            Some(connected)
        };
        all.into_iter().flatten().flatten().filter_map(move |dir| one(dir.path()))
    }

    /// Has the resolver of a network run.
    fn resolver(&self, network: &Network) -> Result<()> {
        let run = self.run_dir(&network.name);
        names::ensure(network, &run.join(super::lease::LEASES), &run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::network::Protocol;

    #[test]
    fn a_permission_that_is_part_of_another_is_left_out_in_either_order() {
        let net = |text: &str| Whom::Net(text.parse().expect("a net"));
        let permit = |whom, port: Option<u16>| Permit {
            inward: false,
            whom,
            port: port.map(|port| (Protocol::Tcp, port)),
        };
        let all = permit(net("10.0.0.0/8"), None);
        let some = [permit(net("10.1.0.0/16"), None), permit(net("10.2.0.7/32"), Some(443)), all];
        assert_eq!(outermost(some.to_vec()), [all]);
        assert_eq!(outermost(some.into_iter().rev().collect()), [all]);
        let apart =
            vec![permit(Whom::Outside, Some(443)), permit(Whom::Outside, Some(80)), permit(Whom::Host, None)];
        assert_eq!(outermost(apart.clone()), apart);
    }
}
