//! Connections that the kernel remembers: those of an address end with the container that had it.

use std::net::IpAddr;

use spec::Result;

use crate::entry::octets;
use crate::message::{Batch, attribute, be_word};
use crate::socket::Socket;
use crate::uapi::connection::*;
use crate::uapi::filter::{NFPROTO_IPV4, NFPROTO_IPV6};

/// How many there are, of all. Quick; 0 where the kernel remembers none at all.
pub(crate) fn count(socket: &Socket) -> Result<u32> {
    let mut batch = Batch::default();
    batch.message(GETSTATS, 0, &[0; 4]);
    let mut count = 0;
    socket.ask(&mut batch, |answer| {
        let body = answer.body.get(4..).unwrap_or_default();
        count = attribute(body, CTA_STATS_GLOBAL_ENTRIES).map_or(count, be_word);
    })?;
    Ok(count)
}

/// Forgets those that these addresses began, and those that led to them. A kernel that cannot tell them apart keeps
/// them until their time is over.
pub(crate) fn forget(socket: &Socket, addresses: &[IpAddr]) -> Result<()> {
    let mut batch = Batch::default();
    for address in addresses {
        delete(&mut batch, *address, CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS);
        delete(&mut batch, *address, CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS);
    }
    socket.run(&mut batch).map(drop)
}

/// Those whose packets come from the address in one direction. (Without the tuple all connections would go.)
fn delete(batch: &mut Batch, address: IpAddr, tuple: u16, flags: u16) {
    let (family, source) = match address {
        IpAddr::V4(_) => (NFPROTO_IPV4, CTA_IP_V4_SRC),
        IpAddr::V6(_) => (NFPROTO_IPV6, CTA_IP_V6_SRC),
    };
    batch.message(DELETE, 0, &[family, 0, 0, 0]);
    batch.nest(tuple, &[], |batch| {
        batch.nest(CTA_TUPLE_IP, &[], |batch| batch.put(source, &octets(address)));
    });
    batch.nest(CTA_FILTER, &[], |batch| batch.put_u32(flags, BY_SOURCE));
}
