//! Whole lives of containers, from a state directory of their own, with the keeper as built.

mod attached;
mod copying;
mod exec;
mod faults;
mod harness;
mod life;
mod living;
mod logs;
mod prepared;
mod sockets;
mod threads;
mod together;
