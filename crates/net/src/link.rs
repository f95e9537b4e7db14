//! Links, as messages.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use spec::network::{Link, Mac, Wiring};
use spec::{Error, Result};

use crate::address;
use crate::message::{Answer, Batch, attribute, text, word};
use crate::socket::Socket;
use crate::uapi::netlink::{CREATE, DUMP, EXCLUSIVE};
use crate::uapi::route::*;

const BRIDGE: u8 = 7;

/// A link that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The number of the link at its other end, or below it; 0 for none.
    pub peer: u32,
    /// That of the bridge that it is a port of; 0 for none.
    pub bridge: u32,
    /// Its interface group.
    pub group: u32,
    /// It is up.
    pub up: bool,
    /// Bytes of a packet.
    pub mtu: u32,
    /// What the kernel calls its kind; empty for a device.
    pub kind: String,
}

impl Found {
    pub(crate) fn read(answer: &Answer<'_>) -> Option<Self> {
        if answer.kind != NEWLINK {
            return None;
        }
        let (header, body) = answer.body.split_at_checked(16)?;
        let number = |kind| attribute(body, kind).map_or(0, |value| word(value, 0));
        let kind = attribute(body, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
        Some(Self {
            index: word(header, 4),
            name: attribute(body, IFLA_IFNAME).map(text)?,
            peer: number(IFLA_LINK),
            bridge: number(IFLA_MASTER),
            group: number(IFLA_GROUP),
            up: word(header, 8) & IFF_UP != 0,
            mtu: number(IFLA_MTU),
            kind: kind.map(text).unwrap_or_default(),
        })
    }
}

/// Asks for a link.
pub(crate) fn get(batch: &mut Batch, name: &str) -> u32 {
    let number = batch.message(GETLINK, 0, &header(0, 0, 0, 0));
    batch.put_text(IFLA_IFNAME, name);
    batch.put_u32(IFLA_EXT_MASK, SKIP_STATS);
    number
}

/// Asks for a link by its number.
pub(crate) fn get_number(batch: &mut Batch, index: u32) -> u32 {
    let number = batch.message(GETLINK, 0, &header(0, index, 0, 0));
    batch.put_u32(IFLA_EXT_MASK, SKIP_STATS);
    number
}

/// A link by its name, if there is one.
pub(crate) fn find(socket: &Socket, name: &str) -> Result<Option<Found>> {
    let mut batch = Batch::default();
    get(&mut batch, name);
    let mut found = None;
    let failures = socket.ask(&mut batch, |answer| found = Found::read(answer))?;
    match failures.first() {
        Some(failure) if failure.errno != Errno::NODEV => {
            Err(Error::io(format!("looking for the interface {name}"), failure.errno.into()))
        }
        _ => Ok(found),
    }
}

/// A link by its number, if there is one.
pub(crate) fn by_number(socket: &Socket, index: u32) -> Result<Option<Found>> {
    let mut batch = Batch::default();
    get_number(&mut batch, index);
    let mut found = None;
    socket.ask(&mut batch, |answer| found = Found::read(answer))?;
    Ok(found)
}

/// All links.
pub(crate) fn all(socket: &Socket) -> Result<Vec<Found>> {
    let mut batch = Batch::default();
    batch.message(GETLINK, DUMP, &header(0, 0, 0, 0));
    batch.put_u32(IFLA_EXT_MASK, SKIP_STATS);
    let mut found = Vec::new();
    socket.ask(&mut batch, |answer| found.extend(Found::read(answer)))?;
    Ok(found)
}

/// Makes a link whose inner end is in the namespace `inside`; the host's end is up. `below`: the number of the
/// interface that it is on top of, or of the bridge that it is a port of.
pub(crate) fn make(batch: &mut Batch, link: &Link, below: u32, inside: BorrowedFd<'_>) -> u32 {
    match &link.wiring {
        Wiring::Veth { host, mac, zone, .. } => {
            // Nobody is asked for addresses on it, and nobody is answered.
            let flags = if below == 0 { IFF_UP | IFF_NOARP } else { IFF_UP };
            let number = batch.message(NEWLINK, CREATE | EXCLUSIVE, &header(0, 0, flags, flags));
            batch.put_text(IFLA_IFNAME, host);
            common(batch, *mac, link.mtu);
            batch.put_u32(IFLA_GROUP, *zone);
            one_queue(batch);
            if below != 0 {
                batch.put_u32(IFLA_MASTER, below);
            }
            info(batch, "veth", |batch| {
                // An end of a pair cannot be up before there is the other.
                batch.nest(VETH_INFO_PEER, &header(0, 0, 0, 0), |batch| {
                    inner(batch, link, inside);
                    one_queue(batch);
                });
            });
            number
        }
        Wiring::Macvlan { mode, .. } => {
            let mode = macvlan_mode(mode.as_deref()).to_ne_bytes();
            over(batch, link, below, inside, "macvlan", |batch| batch.put(IFLA_MACVLAN_MODE, &mode))
        }
        Wiring::Ipvlan { mode, .. } => {
            let mode = ipvlan_mode(mode.as_deref()).to_ne_bytes();
            over(batch, link, below, inside, "ipvlan", |batch| batch.put(IFLA_IPVLAN_MODE, &mode))
        }
    }
}

/// A pair has a queue for each processor otherwise, with files below /sys that cost more than all else; its packets
/// never wait in them.
fn one_queue(batch: &mut Batch) {
    batch.put_u32(IFLA_NUM_TX_QUEUES, 1);
    batch.put_u32(IFLA_NUM_RX_QUEUES, 1);
}

fn over(
    batch: &mut Batch,
    link: &Link,
    below: u32,
    inside: BorrowedFd<'_>,
    kind: &str,
    data: impl FnOnce(&mut Batch),
) -> u32 {
    let number = batch.message(NEWLINK, CREATE | EXCLUSIVE, &header(0, 0, IFF_UP, IFF_UP));
    batch.put_u32(IFLA_LINK, below);
    inner(batch, link, inside);
    info(batch, kind, data);
    number
}

fn inner(batch: &mut Batch, link: &Link, inside: BorrowedFd<'_>) {
    batch.put_text(IFLA_IFNAME, &link.inside);
    if !matches!(link.wiring, Wiring::Ipvlan { .. }) {
        batch.put(IFLA_ADDRESS, &link.mac.0);
    }
    if let Some(mtu) = link.mtu {
        batch.put_u32(IFLA_MTU, mtu);
    }
    batch.put_u32(IFLA_NET_NS_FD, inside.as_raw_fd() as u32);
}

fn common(batch: &mut Batch, mac: Mac, mtu: Option<u32>) {
    batch.put(IFLA_ADDRESS, &mac.0);
    if let Some(mtu) = mtu {
        batch.put_u32(IFLA_MTU, mtu);
    }
}

fn info(batch: &mut Batch, kind: &str, data: impl FnOnce(&mut Batch)) {
    batch.nest(IFLA_LINKINFO, &[], |batch| {
        batch.put_text(IFLA_INFO_KIND, kind);
        batch.nest(IFLA_INFO_DATA, &[], data);
    });
}

/// Makes a bridge.
pub(crate) fn make_bridge(batch: &mut Batch, name: &str, group: u32, up: bool) -> u32 {
    let flags = if up { IFF_UP } else { 0 };
    let number = batch.message(NEWLINK, CREATE | EXCLUSIVE, &header(0, 0, flags, flags));
    batch.put_text(IFLA_IFNAME, name);
    batch.put_u32(IFLA_GROUP, group);
    batch.nest(IFLA_LINKINFO, &[], |batch| batch.put_text(IFLA_INFO_KIND, "bridge"));
    number
}

/// Makes a link for the tagged packets of another one.
pub(crate) fn make_vlan(batch: &mut Batch, name: &str, parent: u32, tag: u16) -> u32 {
    let number = batch.message(NEWLINK, CREATE | EXCLUSIVE, &header(0, 0, IFF_UP, IFF_UP));
    batch.put_text(IFLA_IFNAME, name);
    batch.put_u32(IFLA_LINK, parent);
    batch.put_u32(IFLA_GROUP, spec::network::ZONES);
    info(batch, "vlan", |batch| batch.put(IFLA_VLAN_ID, &tag.to_ne_bytes()));
    number
}

/// Makes a link a port of a bridge (0: of none), and up.
pub(crate) fn enslave(batch: &mut Batch, index: u32, bridge: u32) -> u32 {
    let number = batch.message(SETLINK, 0, &header(0, index, IFF_UP, IFF_UP));
    batch.put_u32(IFLA_MASTER, bridge);
    number
}

/// Puts a link up, in its group.
pub(crate) fn raise(batch: &mut Batch, index: u32, group: u32) -> u32 {
    let number = batch.message(SETLINK, 0, &header(0, index, IFF_UP, IFF_UP));
    batch.put_u32(IFLA_GROUP, group);
    number
}

/// What is noted on a link, for people to read and for those who come later.
pub(crate) fn note(socket: &Socket, name: &str) -> Result<String> {
    let mut batch = Batch::default();
    get(&mut batch, name);
    let mut note = String::new();
    let failures = socket.ask(&mut batch, |answer| {
        let body = answer.body.get(16..).unwrap_or_default();
        note = attribute(body, IFLA_IFALIAS).map(text).unwrap_or_default();
    })?;
    match failures.first() {
        Some(failure) => Err(Error::io(format!("looking for the interface {name}"), failure.errno.into())),
        None => Ok(note),
    }
}

/// Notes something on a link.
pub(crate) fn set_note(socket: &Socket, name: &str, note: &str) -> Result<()> {
    let mut batch = Batch::default();
    batch.message(SETLINK, 0, &header(0, 0, 0, 0));
    batch.put_text(IFLA_IFNAME, name);
    batch.put_text(IFLA_IFALIAS, note);
    match socket.run(&mut batch)?.first() {
        Some(failure) => Err(Error::io(format!("noting {note:?} on {name}"), failure.errno.into())),
        None => Ok(()),
    }
}

/// Moves a link into a namespace, under a name.
pub(crate) fn travel(batch: &mut Batch, index: u32, name: &str, to: BorrowedFd<'_>) -> u32 {
    let number = batch.message(SETLINK, 0, &header(0, index, 0, 0));
    batch.put_text(IFLA_IFNAME, name);
    batch.put_u32(IFLA_NET_NS_FD, to.as_raw_fd() as u32);
    number
}

/// Puts a link up.
pub(crate) fn up(batch: &mut Batch, index: u32) -> u32 {
    batch.message(SETLINK, 0, &header(0, index, IFF_UP, IFF_UP))
}

/// Sets how long its packets may be.
pub(crate) fn set_mtu(batch: &mut Batch, index: u32, mtu: u32) -> u32 {
    let number = batch.message(SETLINK, 0, &header(0, index, 0, 0));
    batch.put_u32(IFLA_MTU, mtu);
    number
}

/// Its MAC address, if it has one as Ethernet has.
pub(crate) fn mac(socket: &Socket, name: &str) -> Result<Option<Mac>> {
    let mut batch = Batch::default();
    get(&mut batch, name);
    let mut mac = None;
    socket.ask(&mut batch, |answer| {
        let body = answer.body.get(16..).unwrap_or_default();
        mac = attribute(body, IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()).map(Mac);
    })?;
    Ok(mac)
}

/// Removes a link by its name.
pub(crate) fn remove(batch: &mut Batch, name: &str) -> u32 {
    let number = batch.message(DELLINK, 0, &header(0, 0, 0, 0));
    batch.put_text(IFLA_IFNAME, name);
    number
}

/// A port of a bridge takes packets of this MAC address only.
pub(crate) fn lock(batch: &mut Batch, index: u32, mac: Mac) {
    batch.message(SETLINK, 0, &header(BRIDGE, index, 0, 0));
    batch.nest(IFLA_PROTINFO, &[], |batch| {
        batch.put(IFLA_BRPORT_LEARNING, &[0]);
        batch.put(IFLA_BRPORT_LOCKED, &[1]);
    });
    address::neighbour_header(batch, BRIDGE, index, NUD_STATIC, NTF_MASTER);
    batch.put(NDA_LLADDR, &mac.0);
}

/// NUD_NOARP: it is there until it is removed, and not the bridge's own.
const NUD_STATIC: u16 = 0x40;

/// struct ifinfomsg.
fn header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

/// if_link.h, enum macvlan_mode.
fn macvlan_mode(mode: Option<&str>) -> u32 {
    match mode {
        Some("private") => 1,
        Some("vepa") => 2,
        Some("passthru") => 8,
        _ => 4,
    }
}

/// if_link.h, enum ipvlan_mode.
fn ipvlan_mode(mode: Option<&str>) -> u16 {
    match mode {
        Some("l3") => 1,
        Some("l3s") => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::message::answers;

    /// The data of the kind of link that a message makes.
    fn data(batch: &mut Batch, kind: &str) -> Vec<u8> {
        let bytes = batch.finished().to_vec();
        let message = answers(&bytes).next().expect("a message");
        let info = attribute(&message.body[16..], IFLA_LINKINFO).expect("information");
        assert_eq!(attribute(info, IFLA_INFO_KIND).map(text).as_deref(), Some(kind));
        attribute(info, IFLA_INFO_DATA).expect("data").to_vec()
    }

    fn made(wiring: Wiring, kind: &str) -> Vec<u8> {
        let link = Link { wiring, inside: "eth0".into(), mac: Mac([2; 6]), mtu: None };
        let mut batch = Batch::default();
        make(&mut batch, &link, 7, std::io::stdin().as_fd());
        data(&mut batch, kind)
    }

    #[test]
    fn links_on_others_are_as_ip_writes_them() {
        let parent = || "eth0".to_owned();
        for (mode, number) in [(None, 0_u16), (Some("l2"), 0), (Some("l3"), 1), (Some("l3s"), 2)] {
            let data = made(Wiring::Ipvlan { parent: parent(), mode: mode.map(str::to_owned) }, "ipvlan");
            assert_eq!(attribute(&data, IFLA_IPVLAN_MODE), Some(&number.to_ne_bytes()[..]), "{mode:?}");
        }
        for (mode, number) in [(None, 4_u32), (Some("private"), 1), (Some("vepa"), 2), (Some("passthru"), 8)]
        {
            let data = made(Wiring::Macvlan { parent: parent(), mode: mode.map(str::to_owned) }, "macvlan");
            assert_eq!(attribute(&data, IFLA_MACVLAN_MODE), Some(&number.to_ne_bytes()[..]), "{mode:?}");
        }
    }

    #[test]
    fn tags_are_as_ip_writes_them() {
        let mut batch = Batch::default();
        make_vlan(&mut batch, "eth0.100", 7, 100);
        assert_eq!(attribute(&data(&mut batch, "vlan"), IFLA_VLAN_ID), Some(&100_u16.to_ne_bytes()[..]));
    }
}
