//! Floor 2: control groups - v2, v2 without systemd, v1 and hybrid.
//!
//! A container gets a group `tsubo/<id>` below the caller's own group, in every hierarchy that is
//! of use ([`layout`]). Nothing existing is changed; a host on which groups cannot be made is a
//! fact with a reason, not a failure.
//!
//! Whoever names a path ([`GroupPath`]) gets a [`Placed`] group there, in every hierarchy that is
//! mounted, with parents that go with their last child. To both kinds limits can be said
//! ([`resources`], [`devices`]), while somebody runs too: all or none. [`systemd`] makes scopes.

pub mod devices;
pub mod figures;
mod freeze;
mod grant;
mod group;
mod hold;
mod layout;
mod oom;
mod path;
mod place;
mod reclaim;
pub mod resources;
mod room;
pub mod shared;
pub mod stat;
pub mod systemd;

pub use group::{Entry, Group, Peak};
pub use hold::Hold;
pub use layout::{Hierarchy, Layout, Version};
pub use oom::{OomWatch, Told};
pub use path::GroupPath;
pub use place::{Breadth, Hierarchies, Placed};
pub use room::Room;
