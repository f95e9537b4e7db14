//! Floor 2: what a container's network is made of in the kernel - links, addresses, routes, and the
//! elements of one table of the packet filter.
//!
//! What is to be made is said by [`spec::network::Step`]s; here they are executed, through netlink, in
//! this process.
#![forbid(unsafe_code)]

mod address;
mod attach;
mod connection;
mod detach;
mod entry;
mod filter;
mod forward;
mod host;
mod inside;
mod leased;
mod link;
mod look;
mod message;
mod raise;
mod shape;
mod socket;
mod table;
mod uapi;
mod uplink;

pub use entry::Entry;
pub use host::Host;
pub use inside::{Inside, give_back};
pub use leased::{Leased, Setting};
pub use link::Found;
