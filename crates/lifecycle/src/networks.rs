//! Networks on disk and in the kernel.
//!
//! What a network is stands in a file of the state directory; who has which of its addresses in the records
//! of containers and, for speed, in one small file for each address in the run directory.

mod by_hand;
mod claim;
pub(crate) mod cni;
pub mod dhcp;
mod doors;
pub mod files;
mod fits;
pub(crate) mod foreign;
mod foresee;
mod gc;
mod inspect;
mod kernel;
mod lease;
mod leash;
pub mod names;
pub(crate) mod netavark;
pub(crate) mod pasta;
mod ports;
mod relay;
mod store;
mod subnets;
#[cfg(test)]
mod tests;
mod wanted;
mod wire;

pub use inspect::Member;
pub use lease::Lease;
pub(crate) use lease::NO_MAC;
pub use relay::WITHIN;
pub use store::{Networks, Wanted, WantedSubnet};
pub use wire::{
    Connected, Given, Wired, disconnect, is_wired, leave_to_others, take_back, unwire, wire, write_files,
};
pub(crate) use wire::{forget, show_files};
