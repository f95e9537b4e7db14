//! Networks on disk and in the kernel.

pub mod files;
pub mod names;
mod ports;
mod wire;

pub use wire::{Connected, Wired, unwire, wire};
pub(crate) use wire::{disconnect, forget};
