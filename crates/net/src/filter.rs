//! Our table's elements, in transactions: all of one are made, or none.

use rustix::io::Errno;
use spec::Result;

use crate::entry::{BRIDGED, Entry, Limit};
use crate::message::{Batch, attribute, attributes, text};
use crate::socket::{Failure, Socket};
use crate::uapi::filter::*;
use crate::uapi::netlink::{CREATE, DUMP};

/// The name of our tables.
pub(crate) const TABLE: &str = "tsubo";

/// The fixed part of each message about a table of family inet.
const INET: [u8; 4] = [NFPROTO_INET, 0, 0, 0];

/// The same for the table that a set is in.
fn table_of(set: &str) -> [u8; 4] {
    if BRIDGED.contains(&set) { [NFPROTO_BRIDGE, 0, 0, 0] } else { INET }
}

/// Which set or object was refused, and why.
pub(crate) struct Refusal<'a> {
    /// None: the transaction as a whole.
    pub(crate) entry: Option<&'a Entry>,
    pub(crate) errno: Errno,
}

/// Makes entries. One that is there already is no failure, unless it leads elsewhere.
pub(crate) fn add<'a>(socket: &Socket, entries: &'a [Entry]) -> Result<Option<Refusal<'a>>> {
    transact(socket, entries, |batch, entry| {
        if let Some(limit) = &entry.object {
            object(batch, NEWOBJ, CREATE, limit);
        }
        element(batch, NEWSETELEM, CREATE, entry);
    })
}

/// Removes entries, all of which are there.
pub(crate) fn delete<'a>(socket: &Socket, entries: &'a [Entry]) -> Result<Option<Refusal<'a>>> {
    remove_by(socket, entries, (DELSETELEM, DELOBJ))
}

/// Removes those that are there.
pub(crate) fn remove(socket: &Socket, entries: &[Entry]) -> Result<()> {
    match remove_by(socket, entries, (DESTROYSETELEM, DESTROYOBJ))? {
        None => Ok(()),
        // An older kernel, or a table that is gone: one by one, as far as they are there.
        Some(_) => entries.iter().try_for_each(|entry| delete(socket, std::slice::from_ref(entry)).map(drop)),
    }
}

fn remove_by<'a>(
    socket: &Socket,
    entries: &'a [Entry],
    (of_set, of_table): (u16, u16),
) -> Result<Option<Refusal<'a>>> {
    transact(socket, entries, |batch, entry| {
        element(batch, of_set, 0, entry);
        if let Some(limit) = &entry.object {
            object(batch, of_table, 0, limit);
        }
    })
}

fn transact<'a>(
    socket: &Socket,
    entries: &'a [Entry],
    mut each: impl FnMut(&mut Batch, &'a Entry),
) -> Result<Option<Refusal<'a>>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let mut batch = Batch::default();
    let ours = [NFPROTO_UNSPEC, 0, (SUBSYSTEM >> 8).to_be_bytes()[0], (SUBSYSTEM >> 8).to_be_bytes()[1]];
    batch.message(BATCH_BEGIN, 0, &ours);
    let mut last_of = Vec::with_capacity(entries.len());
    for entry in entries {
        each(&mut batch, entry);
        last_of.push(batch.count());
    }
    // Both ends of the transaction are not answered.
    batch.acknowledge();
    let last = batch.count();
    batch.message(BATCH_END, 0, &ours);
    let failures = socket.exchange(batch.bytes(), last, |_| {})?;
    Ok(failures.first().map(|failure| refusal(failure, entries, &last_of)))
}

fn refusal<'a>(failure: &Failure, entries: &'a [Entry], last_of: &[u32]) -> Refusal<'a> {
    let index = last_of.iter().position(|last| failure.message <= *last);
    let entry = index.filter(|_| failure.message > 1).and_then(|index| entries.get(index));
    Refusal { entry, errno: failure.errno }
}

fn element(batch: &mut Batch, kind: u16, flags: u16, entry: &Entry) {
    batch.message(kind, flags, &table_of(&entry.set));
    batch.put_text(NFTA_SET_ELEM_LIST_TABLE, TABLE);
    batch.put_text(NFTA_SET_ELEM_LIST_SET, &entry.set);
    batch.nest(NFTA_SET_ELEM_LIST_ELEMENTS, &[], |batch| {
        batch.nest(NFTA_LIST_ELEM, &[], |batch| content(batch, entry));
    });
}

fn content(batch: &mut Batch, entry: &Entry) {
    if entry.flags != 0 {
        batch.put_be32(NFTA_SET_ELEM_FLAGS, entry.flags);
    }
    batch.nest(NFTA_SET_ELEM_KEY, &[], |batch| batch.put(NFTA_DATA_VALUE, &entry.key));
    if let Some(end) = &entry.end {
        batch.nest(NFTA_SET_ELEM_KEY_END, &[], |batch| batch.put(NFTA_DATA_VALUE, end));
    }
    if let Some(data) = &entry.data {
        batch.nest(NFTA_SET_ELEM_DATA, &[], |batch| batch.put(NFTA_DATA_VALUE, data));
    }
    if let Some(limit) = &entry.object {
        batch.put_text(NFTA_SET_ELEM_OBJREF, &limit.name);
    }
}

fn object(batch: &mut Batch, kind: u16, flags: u16, limit: &Limit) {
    batch.message(kind, flags, &INET);
    batch.put_text(NFTA_OBJ_TABLE, TABLE);
    batch.put_text(NFTA_OBJ_NAME, &limit.name);
    batch.put_be32(NFTA_OBJ_TYPE, NFT_OBJECT_LIMIT);
    batch.nest(NFTA_OBJ_DATA, &[], |batch| {
        batch.put_be64(NFTA_LIMIT_RATE, limit.rate);
        batch.put_be64(NFTA_LIMIT_UNIT, 1);
        // A tenth of a second at once, and never less than what a window of TCP takes.
        let least = if limit.bytes { 64 * 1024 } else { 32 };
        batch.put_be32(NFTA_LIMIT_BURST, u32::try_from(limit.rate / 10).unwrap_or(u32::MAX).max(least));
        batch.put_be32(NFTA_LIMIT_TYPE, u32::from(limit.bytes));
        // It matches what is over it.
        batch.put_be32(NFTA_LIMIT_FLAGS, 1);
    });
}

/// What is in a set.
pub(crate) fn list(socket: &Socket, set: &str) -> Result<Vec<Entry>> {
    let mut batch = Batch::default();
    batch.message(GETSETELEM, DUMP, &table_of(set));
    batch.put_text(NFTA_SET_ELEM_LIST_TABLE, TABLE);
    batch.put_text(NFTA_SET_ELEM_LIST_SET, set);
    collect(socket, &mut batch, set)
}

/// This one, as it is there.
pub(crate) fn get(socket: &Socket, entry: &Entry) -> Result<Option<Entry>> {
    let mut batch = Batch::default();
    let wanted = Entry { data: None, object: None, ..entry.clone() };
    element(&mut batch, GETSETELEM, 0, &wanted);
    Ok(collect(socket, &mut batch, &entry.set)?.pop())
}

fn collect(socket: &Socket, batch: &mut Batch, set: &str) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    socket.ask(batch, |answer| {
        let body = answer.body.get(4..).unwrap_or_default();
        if answer.kind == NEWSETELEM
            && let Some(list) = attribute(body, NFTA_SET_ELEM_LIST_ELEMENTS)
        {
            found.extend(attributes(list).filter_map(|(_, value)| parse(set, value)));
        }
    })?;
    Ok(found)
}

fn parse(set: &str, value: &[u8]) -> Option<Entry> {
    let data = |kind| attribute(attribute(value, kind)?, NFTA_DATA_VALUE).map(<[u8]>::to_vec);
    let object =
        attribute(value, NFTA_SET_ELEM_OBJREF).map(|name| Limit { name: text(name), rate: 0, bytes: false });
    Some(Entry {
        set: set.to_owned(),
        key: data(NFTA_SET_ELEM_KEY)?,
        end: data(NFTA_SET_ELEM_KEY_END),
        data: data(NFTA_SET_ELEM_DATA),
        object,
        flags: attribute(value, NFTA_SET_ELEM_FLAGS).map_or(0, crate::message::be_word),
    })
}
