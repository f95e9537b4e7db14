//! The store against real file systems, other people's tools, and hostile input.

mod bombs;
mod faults;
mod forge;
mod hostile;
mod imports;
mod packages;
mod property;
mod sharing;
mod speed;
mod support;
