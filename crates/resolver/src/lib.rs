//! The resolver of one network: it knows the network's containers by name, and asks others about everybody else.
//!
//! One thread and `poll`; what it may hold is bounded everywhere (queries under way, connections, bytes of each), for
//! whoever asks is not trusted. All containers of the network are told the same names, aliases only those of their group;
//! who may talk to whom is decided by the packet filter.
#![forbid(unsafe_code)]

pub mod confine;
mod connection;
pub mod decide;
mod exchange;
pub mod leases;
pub mod listen;
pub mod message;
pub mod place;
pub mod serve;
pub mod table;
pub mod upstream;
