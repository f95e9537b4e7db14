//! How much may be kept, how much is, and by what it is held.

use serde::{Deserialize, Serialize};

/// How much may be kept. None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Of files and what the file system needs for them.
    pub bytes: Option<u64>,
    /// Files, directories, links, sockets and so on, of any size.
    pub inodes: Option<u64>,
}

impl Room {
    /// Neither is limited.
    pub fn is_unlimited(self) -> bool {
        self == Self::default()
    }
}

/// What is kept, of how much. None in a figure: nobody counts it (a plain directory).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// As `du` counts them, in blocks.
    pub bytes: Option<u64>,
    /// Of every kind.
    pub inodes: Option<u64>,
    /// What is enforced at this moment.
    pub limit: Room,
}

/// What holds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing: a plain directory without a limit.
    Directory,
    /// The file system's own quota for a project, whose number all files of the volumes carry.
    Project {
        /// The number, of a range that is ours.
        id: u32,
    },
    /// A btrfs subvolume with a quota group.
    Subvolume,
    /// A file with a file system in it.
    Image,
}
