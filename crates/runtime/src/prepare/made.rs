//! Nodes, links and the console, which are made when everything is mounted.

use std::ffi::CString;

use rustix::fs::{FileType, Gid, Mode, Uid};
use spec::Result;
use spec::container::{Made, NodeKind};

use super::{Op, Place, c_path, c_string};

/// A node, or the host's own in its place where only the host's root can make one.
#[derive(Debug)]
pub(crate) struct NodeToMake {
    pub(crate) at: Place,
    pub(crate) kind: FileType,
    pub(crate) numbers: u64,
    pub(crate) mode: Mode,
    pub(crate) owner: (Uid, Gid),
    /// The same path on the host.
    pub(crate) source: CString,
}

pub(super) fn make(made: &Made) -> Result<Op> {
    Ok(match made {
        Made::Console { at } => Op::Console { at: Place::new(at, false)? },
        Made::Link { at, target } => {
            Op::Link { at: Place::new(at, false)?, target: c_string(target.as_bytes())? }
        }
        Made::Node { at, kind, mode, uid, gid } => {
            let (kind, numbers) = match kind {
                NodeKind::Character(major, minor) => (FileType::CharacterDevice, (*major, *minor)),
                NodeKind::Block(major, minor) => (FileType::BlockDevice, (*major, *minor)),
                NodeKind::Pipe => (FileType::Fifo, (0, 0)),
            };
            Op::Node(Box::new(NodeToMake {
                source: c_path(at.as_path())?,
                at: Place::new(at, false)?,
                kind,
                numbers: rustix::fs::makedev(numbers.0, numbers.1),
                mode: Mode::from_raw_mode(*mode & 0o7777),
                owner: (Uid::from_raw(*uid), Gid::from_raw(*gid)),
            }))
        }
    })
}
