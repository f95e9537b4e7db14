//! Floor 2: packages (one file each), images (what a package becomes on a host), and the
//! content-addressed objects below them.
//!
//! * [`package`] writes and reads package files: OCI image archives with one layer.
//! * [`Store`] installs packages as trees of hard links into objects.
//! * [`import`] unpacks foreign root file systems: tars, OCI layouts, `docker save` archives.
//!
//! Everything read here may be hostile. Nothing is reached by a path that was read: parents are
//! opened beneath a descriptor of the root without following symlinks, sizes and counts are bounded
//! ([`limits`]) before they are believed, digests are checked before anything becomes visible.
#![forbid(unsafe_code)]

mod blobs;
mod damaged;
mod image;
pub mod import;
mod input;
mod install;
pub mod limits;
mod meta;
mod objects;
mod oci;
pub mod package;
mod staging;
mod store;
mod stream;
mod tarball;
mod tree;
mod verify;

pub use damaged::Damaged;
pub use image::Image;
pub use store::{Freed, Install, Store, Verified};
