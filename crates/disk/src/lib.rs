//! Floor 2: room on the host's disk for what a container keeps, limited in bytes and inodes on any
//! file system.
//!
//! What the host's own file system can hold to a limit is a directory of it: by a project quota, or
//! a quota group of btrfs. Everywhere else it is an image: a sparse file with ext4 in it.

mod files;
mod image;
mod project;
mod record;
mod room;
mod subvolume;
mod volumes;

pub use room::{Kind, Room, Usage};
pub use volumes::{Volumes, left_of};
