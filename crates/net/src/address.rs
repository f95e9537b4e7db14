//! Addresses, routes and neighbours, as messages.

use std::net::IpAddr;

use ipnet::IpNet;
use spec::Result;
use spec::network::Mac;

use crate::entry::octets;
use crate::message::{Batch, attribute, word};
use crate::socket::Socket;
use crate::uapi::netlink::{CREATE, DUMP, EXCLUSIVE, REPLACE};
use crate::uapi::route::*;

const INET: u8 = 2;
const INET6: u8 = 10;

/// Gives a link an address, usable at once.
pub(crate) fn give(batch: &mut Batch, index: u32, address: IpNet, segment: bool) -> u32 {
    let mut header = vec![family(address.addr()), address.prefix_len(), 0, RT_SCOPE_UNIVERSE];
    header.extend(index.to_ne_bytes());
    let number = batch.message(NEWADDR, CREATE | REPLACE, &header);
    batch.put(IFA_LOCAL, &octets(address.addr()));
    batch.put(IFA_ADDRESS, &octets(address.addr()));
    let flags = if segment { IFA_F_NODAD } else { IFA_F_NODAD | IFA_F_NOPREFIXROUTE };
    batch.put_u32(IFA_FLAGS, flags);
    number
}

/// Takes an address away from a link.
pub(crate) fn take(batch: &mut Batch, index: u32, address: IpNet) -> u32 {
    let mut header = vec![family(address.addr()), address.prefix_len(), 0, 0];
    header.extend(index.to_ne_bytes());
    let number = batch.message(DELADDR, 0, &header);
    batch.put(IFA_LOCAL, &octets(address.addr()));
    number
}

/// The last address that was given in a batch ends after so many seconds.
pub(crate) fn for_a_time(batch: &mut Batch, seconds: u32) {
    let [one, two, three, four] = seconds.to_ne_bytes();
    let twice = [one, two, three, four, one, two, three, four];
    batch.put(IFA_CACHEINFO, &[twice, [0; 8]].concat());
}

/// Removes a route of a link.
pub(crate) fn remove_route(batch: &mut Batch, index: u32, to: IpNet) -> u32 {
    let mut header = vec![family(to.addr()), to.prefix_len(), 0, 0];
    // Of whatever scope and kind.
    header.extend([RT_TABLE_MAIN, 0, RT_SCOPE_NOWHERE, 0, 0, 0, 0, 0]);
    let number = batch.message(DELROUTE, 0, &header);
    batch.put_u32(RTA_OIF, index);
    if to.prefix_len() > 0 {
        batch.put(RTA_DST, &octets(to.addr()));
    }
    number
}

/// The addresses of a link.
pub(crate) fn all(socket: &Socket, index: u32) -> Result<Vec<IpAddr>> {
    let mut batch = Batch::default();
    batch.message(GETADDR, DUMP, &[0; 8]);
    let mut found = Vec::new();
    socket.ask(&mut batch, |answer| {
        if answer.kind == NEWADDR && word(answer.body, 4) == index {
            let body = answer.body.get(8..).unwrap_or_default();
            found.extend(attribute(body, IFA_LOCAL).or_else(|| attribute(body, IFA_ADDRESS)).and_then(ip));
        }
    })?;
    Ok(found)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from).or_else(v6)
}

/// Where packets go.
pub(crate) struct Way {
    pub(crate) to: IpNet,
    pub(crate) via: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
}

impl Way {
    /// It leads to one container, from the host.
    pub(crate) fn is_to_one(&self) -> bool {
        self.via.is_none()
            && self.to.prefix_len() == self.to.max_prefix_len()
            && !self.to.addr().is_loopback()
    }
}

/// The number of the link that has an address of this host; None: it is none of its own.
pub(crate) fn owner(socket: &Socket, address: IpAddr) -> Result<Option<u32>> {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let mut header = vec![family(address), bits, 0, 0, 0, 0, 0, 0];
    header.extend(RTM_F_FIB_MATCH.to_ne_bytes());
    let mut batch = Batch::default();
    batch.message(GETROUTE, 0, &header);
    batch.put(RTA_DST, &octets(address));
    let mut found = None;
    // Where there is no route at all it is not ours either.
    socket.ask(&mut batch, |answer| {
        let is_local = answer.kind == NEWROUTE && answer.body.get(7) == Some(&RTN_LOCAL);
        found = found.or(is_local.then(|| leads_over(answer.body)).flatten());
    })?;
    Ok(found)
}

/// The number of the link over which the packets for this address alone go, if there is such a route.
pub(crate) fn way_to(socket: &Socket, address: IpAddr) -> Result<Option<u32>> {
    let wanted = octets(address);
    let bits = wanted.len() as u8 * 8;
    let mut batch = Batch::default();
    batch.message(GETROUTE, DUMP, &[family(address), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut found = None;
    socket.ask(&mut batch, |answer| {
        let body = answer.body;
        let is_it = answer.kind == NEWROUTE
            && body.get(1) == Some(&bits)
            && body.get(4) == Some(&RT_TABLE_MAIN)
            && attribute(body.get(12..).unwrap_or_default(), RTA_DST) == Some(&wanted);
        if is_it {
            found = leads_over(body);
        }
    })?;
    Ok(found)
}

fn leads_over(route: &[u8]) -> Option<u32> {
    attribute(route.get(12..)?, RTA_OIF).map(|index| word(index, 0))
}

/// Makes a route, in place of another to the same addresses if `replace`.
pub(crate) fn route(batch: &mut Batch, index: u32, way: &Way, replace: bool) -> u32 {
    let onlink = if way.via.is_some() { RTNH_F_ONLINK } else { 0 };
    let (table, scope, kind) = match way.to.addr() {
        to if to.is_loopback() => (RT_TABLE_LOCAL, RT_SCOPE_HOST, RTN_LOCAL),
        IpAddr::V4(_) if way.via.is_none() => (RT_TABLE_MAIN, RT_SCOPE_LINK, RTN_UNICAST),
        _ => (RT_TABLE_MAIN, RT_SCOPE_UNIVERSE, RTN_UNICAST),
    };
    let mut header = vec![family(way.to.addr()), way.to.prefix_len(), 0, 0];
    header.extend([table, RTPROT_STATIC, scope, kind]);
    header.extend(onlink.to_ne_bytes());
    let how = if replace { REPLACE } else { EXCLUSIVE };
    let number = batch.message(NEWROUTE, CREATE | how, &header);
    batch.put_u32(RTA_OIF, index);
    if table == RT_TABLE_LOCAL {
        // Each interface has one of its own, behind that of the loopback.
        batch.put_u32(RTA_PRIORITY, 1024 + index);
    }
    if way.to.prefix_len() > 0 {
        batch.put(RTA_DST, &octets(way.to.addr()));
    }
    if let Some(via) = way.via {
        batch.put(RTA_GATEWAY, &octets(via));
    }
    if let Some(source) = way.source {
        batch.put(RTA_PREFSRC, &octets(source));
    }
    number
}

/// Says which MAC address an address has.
pub(crate) fn neighbour(batch: &mut Batch, index: u32, address: IpAddr, mac: Mac) -> u32 {
    let number = neighbour_header(batch, family(address), index, NUD_PERMANENT, 0);
    batch.put(NDA_DST, &octets(address));
    batch.put(NDA_LLADDR, &mac.0);
    number
}

pub(crate) fn neighbour_header(batch: &mut Batch, family: u8, index: u32, state: u16, flags: u8) -> u32 {
    let mut header = vec![family, 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(state.to_ne_bytes());
    header.extend([flags, 0]);
    batch.message(NEWNEIGH, CREATE | REPLACE, &header)
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { INET } else { INET6 }
}
