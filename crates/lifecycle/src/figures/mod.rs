//! Figures of all containers and of their host: what is used, by whom, at what rate.
//!
//! A [`Survey`] looks again and again; what two looks tell together (rates, load averages) is computed
//! by the pure parts ([`rates`], [`load`]). Nothing here is polled but what cannot be told: who is
//! there is learnt from the events.

pub(crate) mod host;
pub mod load;
pub(crate) mod network;
pub mod rates;
mod room;
pub(crate) mod roster;
mod survey;

pub use cgroup::figures::{Pressure, Pressures, Stall, Tasks};
pub use host::{Host, HostMemory};
pub use network::Network;
pub use room::{Room, fullest};
pub(crate) use room::{device_name, devices_of_host};
pub use survey::{Cpu, Figures, Io, Memory, Nic, Snapshot, Survey};
