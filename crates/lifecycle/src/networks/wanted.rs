//! Permissions about containers by name hold while those run, in whatever order they are started, and
//! whichever address they have then: who has one leaves a note, which the other reads when it comes and goes.

use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use spec::container::Spec;
use spec::network::{Allow, Element, Networking, Peer, Permit, Plan, Protocol, Step, Whom, link_name};
use spec::{Id, Name, Result, ResultExt};

use super::Networks;
use super::wire::{addresses, with_host};
use crate::disk::{self, Durable};

/// What is permitted about somebody.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The interfaces of the host that lead to who has the permission.
    interfaces: Vec<String>,
    /// Each of them, with whom it talks left out.
    permits: Vec<(bool, Option<(Protocol, u16)>)>,
}

impl Networks {
    fn all_notes(&self) -> PathBuf {
        self.run_dirs().with_file_name("permits")
    }

    fn notes(&self, about: &Name) -> PathBuf {
        self.all_notes().join(about)
    }

    /// Nobody is permitted anything any more about addresses that are to be somebody else's.
    pub(super) fn forget_addresses(&self, networking: &Networking) {
        if !self.all_notes().is_dir() {
            return;
        }
        let own: Vec<IpAddr> = addresses(networking).map(|net| net.addr()).collect();
        // Where the packet filter is not there, there are no permissions either.
        let _ = with_host(|host| {
            let about = |entry: &net::Entry| entry.about().is_some_and(|address| own.contains(&address));
            let mut entries = host.entries()?;
            entries.retain(about);
            host.remove_entries(&entries)
        });
    }

    /// Leaves notes about the containers that a container's permissions name.
    pub(super) fn note(&self, id: Id, networking: &Networking) -> Result<()> {
        let interfaces: Vec<String> =
            (0..networking.attachments.len()).map(|index| link_name(id, index)).collect();
        for about in named(&networking.allow) {
            let dir = self.notes(about);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.doing(|| format!("making {}", dir.display()))?;
            let same = networking.allow.iter().filter(|allow| allow.peer == Peer::Container(about.clone()));
            let note = Note {
                interfaces: interfaces.clone(),
                permits: same.map(|allow| (allow.inward, allow.port)).collect(),
            };
            disk::write_json(&dir.join(id.to_string()), &note, Durable::No)?;
        }
        Ok(())
    }

    /// Takes them away.
    pub(super) fn forget_notes(&self, id: Id, networking: &Networking) {
        for about in named(&networking.allow) {
            // Without whoever left it, it is about an interface that is not there.
            let _ = fs::remove_file(self.notes(about).join(id.to_string()));
        }
    }

    /// What others are permitted about this container, as elements of the packet filter.
    pub(super) fn wanted(&self, spec: &Spec) -> Plan {
        let Some(networking) = spec.network.as_deref() else { return Plan::new() };
        let files = fs::read_dir(self.notes(&spec.name)).into_iter().flatten().flatten();
        let containers = self.run_dirs().with_file_name("containers");
        let notes = files.filter_map(|file| {
            if containers.join(file.file_name()).is_dir() {
                return disk::read_json::<Note>(&file.path()).ok()?;
            }
            // Its keeper was killed.
            let _ = fs::remove_file(file.path());
            None
        });
        let own: Vec<IpNet> = addresses(networking).map(|net| IpNet::from(net.addr())).collect();
        notes.flat_map(|note| elements(note, own.clone())).collect()
    }
}

fn named(allow: &[Allow]) -> impl Iterator<Item = &Name> {
    allow.iter().filter_map(|allow| match &allow.peer {
        Peer::Container(name) => Some(name),
        _ => None,
    })
}

fn elements(note: Note, whose: Vec<IpNet>) -> impl Iterator<Item = Step> {
    let Note { interfaces, permits } = note;
    interfaces.into_iter().flat_map(move |interface| {
        let whose = whose.clone();
        permits.clone().into_iter().flat_map(move |(inward, port)| {
            let interface = interface.clone();
            whose.clone().into_iter().map(move |net| {
                let permit = Permit { inward, whom: Whom::Net(net), port };
                Step::Element(Element::Allow { interface: interface.clone(), permit })
            })
        })
    })
}
