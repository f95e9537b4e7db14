//! Floor 4: the parent of one running container.
//!
//! It starts the container, holds its input and output, writes the log, answers on a socket, reaps,
//! and cleans up. One thread, one loop over poll.
//!
//! `tsubo run` begins it as a copy of itself ([`forked`]); when there is nothing to do for a while
//! it executes the small program `tsubo-keeper` in its own place ([`executed`]), under which every
//! other command starts it in the first place.
#![forbid(unsafe_code)]

mod connection;
mod dhcp;
mod early;
mod finish;
mod handover;
mod health;
mod hooks;
mod keep;
mod network;
mod orders;
mod relay;
mod request;
mod restart;
mod setup;
mod shortage;
mod task;

pub use setup::{executed, forked};
