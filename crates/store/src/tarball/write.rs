//! Headers of a tar stream, as a function of the entry alone.

use std::collections::BTreeMap;

use super::pax;
use super::{Entry, What};
use crate::meta::Meta;

/// Everything in a tar comes in blocks of this size.
pub(crate) const BLOCK: usize = 512;
/// Two empty blocks end an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest number in an octal field of 7 and of 11 digits.
const OCTAL_7: u64 = 0o7_777_777;
const OCTAL_11: u64 = 0o77_777_777_777;

/// How many zeros follow `size` bytes of data.
pub(crate) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The header of `entry`, with an extended one before it where that is needed.
pub(crate) fn header(entry: &Entry) -> Vec<u8> {
    let name = name(entry);
    let link = link(&entry.what);
    let size = if let What::File { size } = entry.what { size } else { 0 };
    let records = records(entry, &name, &link, size);
    let mut bytes = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let body = pax::format(&records);
        bytes.extend(block(b'x', b"PaxHeader", b"", body.len() as u64, &Meta::plain(0o644)));
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len() + padding(body.len() as u64), 0);
    }
    bytes.extend(block(flag(&entry.what), &name, &link, size, &entry.meta));
    bytes
}

/// The header of a member of the outer archive: a file or, with a final slash, a directory.
pub(crate) fn member(name: &str, size: u64) -> [u8; BLOCK] {
    let (flag, mode) = if name.ends_with('/') { (b'5', 0o755) } else { (b'0', 0o644) };
    block(flag, name.as_bytes(), b"", size, &Meta::plain(mode))
}

/// Relative, directories with a slash at the end; the root is `./`.
fn name(entry: &Entry) -> Vec<u8> {
    let mut name = entry.path.as_bytes()[1..].to_vec();
    match entry.what {
        What::Directory if name.is_empty() => b"./".to_vec(),
        What::Directory => {
            name.push(b'/');
            name
        }
        _ => name,
    }
}

fn link(what: &What) -> Vec<u8> {
    match what {
        What::Symlink { target } => target.clone(),
        What::Hardlink { target } => target.as_bytes()[1..].to_vec(),
        _ => Vec::new(),
    }
}

fn flag(what: &What) -> u8 {
    match what {
        What::File { .. } => b'0',
        What::Hardlink { .. } => b'1',
        What::Symlink { .. } => b'2',
        What::Device => b'3',
        What::Directory => b'5',
        What::Fifo => b'6',
    }
}

/// What the plain header has no room for.
fn records(entry: &Entry, name: &[u8], link: &[u8], size: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let meta = &entry.meta;
    let mut records = BTreeMap::new();
    let mut add = |key: &str, needed: bool, value: Vec<u8>| {
        if needed {
            records.insert(key.as_bytes().to_vec(), value);
        }
    };
    add("path", name.len() > 100, name.to_vec());
    add("linkpath", link.len() > 100, link.to_vec());
    add("size", size > OCTAL_11, size.to_string().into_bytes());
    add("uid", u64::from(meta.uid) > OCTAL_7, meta.uid.to_string().into_bytes());
    add("gid", u64::from(meta.gid) > OCTAL_7, meta.gid.to_string().into_bytes());
    let fine = meta.mtime.nanos != 0 || !(0..=OCTAL_11 as i64).contains(&meta.mtime.secs);
    add("mtime", fine, pax::format_time(meta.mtime));
    for (name, value) in &meta.xattrs {
        records.insert(pax::xattr_key(name), value.clone());
    }
    records
}

fn block(flag: u8, name: &[u8], link: &[u8], size: u64, meta: &Meta) -> [u8; BLOCK] {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_mode(meta.mode);
    header.set_uid(u64::from(meta.uid).min(OCTAL_7));
    header.set_gid(u64::from(meta.gid).min(OCTAL_7));
    header.set_size(size.min(OCTAL_11));
    header.set_mtime(meta.mtime.secs.clamp(0, OCTAL_11 as i64) as u64);
    let old = header.as_old_mut();
    old.name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    old.linkname[..link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    header.set_cksum();
    *header.as_bytes()
}
