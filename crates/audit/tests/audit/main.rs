//! The audit is audited: of containers from which one limit is taken that line turns red, and no other of
//! its resource; what is killed leaves the host as it was. Needs root, and the other programs beside ours.

mod disks;
mod faults;
mod guest;
mod house;
mod inside;
mod limits;
mod rootless;
mod shapes;
