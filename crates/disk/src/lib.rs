//! Floor 2: room on the host's disk for what a container keeps, limited in bytes and inodes on any
//! file system.

mod record;
mod room;
mod volumes;

pub use room::{Kind, Room, Usage};
pub use volumes::Volumes;
