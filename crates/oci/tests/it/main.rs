//! `tsubo-oci` on real bundles: what an engine types, and what comes of it.

mod criu;
mod exec;
mod guest;
mod harness;
mod hooks;
mod hostile;
mod life;
mod limits;
mod sockets;
mod words;
