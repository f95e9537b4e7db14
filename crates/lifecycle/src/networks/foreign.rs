//! Interfaces that others make by rules of their own: plugins of CNI, and netavark.
//!
//! What they do can be taken back by them alone. So all that this takes is noted beside the state directory's networks
//! before each of their steps, and stays until it is done: whoever finds a container whose keeper was killed, or that is
//! gone, does it then. After a boot too: what they keep on disk (addresses of host-local) is still there.

mod program;
mod stand_in;

use std::fs::{self, DirBuilder};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spec::container::Spec;
use spec::network::{Attachment, Networking, Publish};
use spec::{Error, Id, Name, Result, ResultExt};

use super::cni::{self, Chain};
use super::netavark::{self, Setup};
use super::{Given, Networks};
use crate::containers::Containers;
use crate::disk::{self, Durable};
use crate::lock::Lock;
use crate::record::Record;
use crate::state::STATE;
pub(super) use program::{Call, Files, LIMIT, Said, absolute, found};
use stand_in::StandIn;

/// Below the state directory, with one note for each container.
const PLACE: &str = "foreign";

/// What others have made for a container, in the order in which it was made.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    id: Id,
    name: Name,
    made: Vec<Made>,
    /// So often it was tried to take it back.
    #[serde(default)]
    tries: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Made {
    Cni(Chain),
    Netavark(Setup),
}

impl Made {
    fn is_half(&self) -> bool {
        match self {
            Self::Cni(chain) => chain.is_half(),
            Self::Netavark(setup) => setup.is_half(),
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Cni(chain) => chain.is_gone(),
            Self::Netavark(setup) => setup.is_gone(),
        }
    }

    fn shape(&self, said: &[u8]) -> Option<Given> {
        match self {
            Self::Cni(chain) => chain.shape(said),
            Self::Netavark(setup) => setup.shape(),
        }
    }
}

/// Whether others make some of a container's interfaces.
pub(super) fn is_for(networking: &Networking) -> bool {
    networking.attachments.iter().any(Attachment::is_foreign)
}

/// Whether they publish its ports: whoever makes the first of its interfaces does.
pub(super) fn publish(networking: &Networking) -> bool {
    networking.attachments.first().is_some_and(Attachment::is_foreign)
}

/// The ports that are published by others on attachment number `index`.
fn ports(networking: &Networking, index: usize) -> &[Publish] {
    if index == 0 { &networking.published } else { &[] }
}

/// Refuses what others cannot do, before anything is done.
///
/// # Errors
/// Not found for a network of this name; unsupported with the reason and the way out.
pub(super) fn foresee(networks: &Networks, spec: &Spec) -> Result<()> {
    let Some(networking) = spec.network.as_deref().filter(|networking| is_for(networking)) else {
        return Ok(());
    };
    let theirs = networking.attachments.iter().all(Attachment::is_foreign);
    let refused = |what: &str| {
        let what = format!("{what}: whoever makes the network decides that, and does not ask us");
        Err(Error::unsupported(what)
            .hint("use a network of ours (--network tsubo), or rules of the host's firewall"))
    };
    if networking.closed {
        return refused("--closed");
    }
    if theirs && !networking.allow.is_empty() {
        return refused("--allow");
    }
    for (index, attachment) in networking.attachments.iter().enumerate() {
        match attachment {
            Attachment::Cni { name, interface, asked } => {
                let (container, ports) = (&spec.name, ports(networking, index));
                Chain::of(&cni::Wanted { name, interface, asked, container, networking, ports })?;
            }
            Attachment::Netavark { name, interface, asked } => {
                let ports = ports(networking, index);
                Setup::of(networks, &netavark::Wanted { name, interface, asked, networking, ports })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Has others make their interfaces of a container in the namespace `inside`; those of ports that could be any are
/// known.
///
/// # Errors
/// What they say; then nothing is left of it, as far as they can take it back.
pub(super) fn connect(
    networks: &Networks,
    spec: &Spec,
    networking: &Networking,
    inside: BorrowedFd<'_>,
) -> Result<Vec<Given>> {
    if !is_for(networking) {
        return Ok(Vec::new());
    }
    let left = || networks.note_of_others(spec.id).exists();
    // What is left of a start before, whose keeper was killed.
    disconnect(networks, spec.id, None).or_else(|error| if left() { Err(error) } else { Ok(()) })?;
    let made = Making { networks, spec, networking, note: empty(spec), inside }.all();
    made.map_err(|error| match disconnect(networks, spec.id, Some(inside)) {
        Err(rest) if left() => {
            error.hint(format!("not all of it could be taken back: {}; tsubo gc tries again", rest.chain()))
        }
        // Who could not even begin has said why.
        _ => error,
    })
}

fn empty(spec: &Spec) -> Note {
    Note { id: spec.id, name: spec.name.clone(), made: Vec::new(), tries: 0 }
}

/// Interfaces on their way.
struct Making<'a> {
    networks: &'a Networks,
    spec: &'a Spec,
    networking: &'a Networking,
    note: Note,
    inside: BorrowedFd<'a>,
}

impl Making<'_> {
    fn all(mut self) -> Result<Vec<Given>> {
        let dir = self.networks.notes_of_others();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.doing(|| format!("making {}", dir.display()))?;
        let networking = self.networking;
        let mut all = Vec::new();
        for (index, attachment) in networking.attachments.iter().enumerate() {
            let ports = ports(networking, index);
            match attachment {
                Attachment::Cni { name, interface, asked } => {
                    let container = &self.spec.name;
                    let wanted = cni::Wanted { name, interface, asked, container, networking, ports };
                    all.push(self.cni(Chain::of(&wanted)?, &wanted)?);
                }
                Attachment::Netavark { name, interface, asked } => {
                    let wanted = netavark::Wanted { name, interface, asked, networking, ports };
                    all.push(self.netavark(&wanted)?);
                }
                _ => {}
            }
        }
        Ok(all)
    }

    fn cni(&mut self, mut chain: Chain, wanted: &cni::Wanted<'_>) -> Result<Given> {
        let (files, namespace) = (self.networks.files_of_others(self.spec.id), path(self.inside));
        let whose = cni::Whose { id: self.spec.id, namespace: &namespace, files: &files };
        let place = self.note.made.len();
        self.note.made.push(Made::Cni(chain.clone()));
        let given = chain.add(&whose, wanted.asked, &mut |chain| {
            self.note.made[place] = Made::Cni(chain.clone());
            self.networks.write_note(&self.note)
        })?;
        match given.addresses.is_empty() || net::Inside::of(self.inside)?.has(&given.interface)? {
            true => Ok(given),
            false => Err(chain.not_there(&given)),
        }
    }

    fn netavark(&mut self, wanted: &netavark::Wanted<'_>) -> Result<Given> {
        let files = self.networks.files_of_others(self.spec.id);
        let mut setup = Setup::of(self.networks, wanted)?;
        {
            // Until it is noted whose an address is, nobody else looks for one.
            let _lock = self.networks.lock_addresses()?;
            let taken = self.networks.addresses_by_others(wanted.name);
            setup.choose(wanted, &taken)?;
            self.note.made.push(Made::Netavark(setup.clone()));
            self.networks.write_note(&self.note)?;
        }
        let given = setup.make(&self.note.id, &self.note.name, &path(self.inside), &files);
        if given.is_ok() {
            setup.made();
        }
        self.note.made.pop();
        self.note.made.push(Made::Netavark(setup));
        let noted = self.networks.write_note(&self.note);
        let given = given?;
        noted.map(|()| given)
    }
}

/// Where a program of others can open the namespace.
fn path(namespace: BorrowedFd<'_>) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

/// Has others take back what they have made for a container, if anything is noted. Where its network namespace is
/// gone one stands in for it.
///
/// # Errors
/// What they say; the rest is taken back all the same, and what is left stays noted.
pub(crate) fn disconnect(networks: &Networks, id: Id, namespace: Option<BorrowedFd<'_>>) -> Result<()> {
    let file = networks.note_of_others(id);
    // By far the most have none.
    if !file.exists() {
        return Ok(());
    }
    let Some(mut note) = disk::read_json::<Note>(&file)? else { return Ok(()) };
    let files = networks.files_of_others(id);
    let half = note.made.iter().any(Made::is_half);
    if half {
        program::await_orphans(&files.input);
    }
    let said = if half { files.said() } else { Vec::new() };
    let stand_in = match namespace {
        Some(_) => None,
        None => StandIn::make(id, note.made.iter().filter_map(|made| made.shape(&said)), note.tries),
    };
    note.tries += 1;
    networks.write_note(&note)?;
    let namespace =
        namespace.or(stand_in.as_ref().and_then(StandIn::namespace)).map(path).unwrap_or_default();
    let mut stuck = Vec::new();
    for index in (0..note.made.len()).rev() {
        let done = match &mut note.made[index] {
            Made::Cni(chain) => chain.del(&cni::Whose { id, namespace: &namespace, files: &files }),
            Made::Netavark(setup) => setup.take_back(&note.id, &note.name, &namespace, &files),
        };
        if note.made[index].is_gone() {
            note.made.remove(index);
        }
        networks.write_note(&note)?;
        stuck.extend(done.err());
    }
    let hint = match note.made.is_empty() {
        true => {
            "nothing was made, and it is given up: whoever is to take it back could not even begin".to_owned()
        }
        false => format!("tsubo gc tries again; without {} it is forgotten", file.display()),
    };
    if note.made.is_empty() {
        files.remove();
        disk::remove_file(&file)?;
    }
    let doing = format!("taking back the network that others have made for container {}", note.name);
    all_of(stuck).map_err(|error| error.context(doing).hint(hint))
}

/// The first failure, with what the others say.
fn all_of(stuck: Vec<Error>) -> Result<()> {
    let mut stuck = stuck.into_iter();
    let Some(first) = stuck.next() else { return Ok(()) };
    Err(stuck.fold(first, |first, other| first.hint(format!("besides: {}", other.chain()))))
}

impl Networks {
    fn notes_of_others(&self) -> PathBuf {
        self.lib().join(PLACE)
    }

    fn note_of_others(&self, id: Id) -> PathBuf {
        self.notes_of_others().join(format!("{id}.json"))
    }

    fn files_of_others(&self, id: Id) -> Files {
        Files::of(&self.note_of_others(id))
    }

    fn write_note(&self, note: &Note) -> Result<()> {
        disk::write_json(&self.note_of_others(note.id), note, Durable::No)
    }

    fn all_by_others(&self) -> Vec<Note> {
        let files =
            fs::read_dir(self.notes_of_others()).into_iter().flatten().flatten().map(|entry| entry.path());
        let notes = files.filter(|file| file.extension().is_some_and(|kind| kind == "json"));
        notes.filter_map(|file| disk::read_json::<Note>(&file).ok()?).collect()
    }

    /// The addresses that containers have on this network of podman's.
    fn addresses_by_others(&self, name: &str) -> Vec<std::net::IpAddr> {
        let made = self.all_by_others().into_iter().flat_map(|note| note.made);
        let of = |made: Made| match made {
            Made::Netavark(setup) if setup.is_of(name) => setup.addresses(),
            _ => Vec::new(),
        };
        made.flat_map(of).collect()
    }

    /// Takes back what is noted of a container that is gone, or does not run; says whose it was. None if somebody is
    /// at it.
    fn reclaim_from_others(&self, note: &Note, name: &Name) -> Result<Option<String>> {
        let dir = self.lib().join("containers").join(name);
        let Some(lock) = Lock::try_take(&dir)? else { return Ok(None) };
        let there = disk::read_json::<Record>(&dir.join("container.json"));
        let own = there.map_or(true, |record| record.is_some_and(|record| record.spec.id == note.id));
        let state = self.run_dirs().with_file_name("containers").join(note.id.to_string()).join(STATE);
        let done = if own && state.exists() { Ok(None) } else { disconnect(self, note.id, None).map(Some) };
        if !dir.exists() {
            lock.discard();
        }
        Ok(done?.map(|()| format!("network of container {name}, made by others")))
    }
}

impl Containers {
    /// Has others take back what they have made for containers that do not run: what was, and for each that is
    /// stuck what they say.
    ///
    /// # Errors
    /// When it cannot be known which containers there are.
    pub fn take_back_from_others(&self) -> Result<(Vec<String>, Vec<Error>)> {
        let networks = self.networks();
        let (mut removed, mut stuck) = (Vec::new(), Vec::new());
        let notes = networks.all_by_others();
        let records = if notes.is_empty() { Vec::new() } else { networks.records()? };
        for note in notes {
            let record = records.iter().find(|record| record.spec.id == note.id);
            let name = record.map_or(&note.name, |record| &record.spec.name);
            if let Ok(Some(container)) = self.named(name) {
                // One whose keeper was killed is ended first.
                let _ = container.status();
            }
            match networks.reclaim_from_others(&note, name) {
                Ok(what) => removed.extend(what),
                Err(error) => stuck.push(error),
            }
        }
        Ok((removed, stuck))
    }
}

#[cfg(test)]
mod tests;
