//! `tsubo-oci` on real bundles: what an engine types, and what comes of it.

mod criu;
mod exec;
mod faults;
mod guest;
mod harness;
mod hooks;
mod hostile;
mod injected;
mod kernel;
mod life;
mod limits;
mod net_devices;
mod processes;
mod races;
mod sockets;
mod words;
