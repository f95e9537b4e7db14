//! Floor 2: a client of DHCP (RFC 2131) for the interfaces of containers whose addresses come from the network that
//! they are on.
//!
//! What goes over the wire is read and written by [`Message`]; what is to be said when is decided by [`Client`],
//! which knows no clock and no socket; a [`Port`] has the sockets of one interface. Whoever drives a client gives
//! an interface what it has been given: that takes more than this crate knows.
#![forbid(unsafe_code)]

mod client;
mod frame;
mod lease;
mod message;
mod options;
mod port;
mod random;

pub use client::{Action, Client, Ears, Identity, To};
pub use frame::{Claim, probe};
pub use lease::Lease;
pub use message::{Kind, Message};
pub use port::{Heard, Port};
