//! The program itself, in network namespaces that the tests make.

mod client;
mod forward;
mod harness;
mod hostile;
mod life;
mod names;
