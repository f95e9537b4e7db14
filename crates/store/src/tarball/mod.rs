//! Tar streams: entries as data, read strictly and written deterministically.
//!
//! The `tar` crate supplies the header block; its higher layers are not used, because they split
//! binary xattrs at newlines, read extended headers of any size into memory, and write paths of
//! the host.

pub(crate) mod pax;
mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::{BLOCK, END, header, member, padding};

use spec::RootPath;

use crate::meta::Meta;

/// One entry. Its data, if it is a file, follows in the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: RootPath,
    pub(crate) what: What,
    pub(crate) meta: Meta,
}

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    File { size: u64 },
    Symlink { target: Vec<u8> },
    Hardlink { target: RootPath },
    Fifo,
    Device,
}
