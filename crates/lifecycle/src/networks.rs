//! Networks on disk and in the kernel.

pub mod files;
pub mod names;
