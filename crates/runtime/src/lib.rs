//! Floor 2: executes a plan - starts one container, or one more process in it.
//!
//! [`spawn`] turns the steps of a [`Plan`](spec::plan::Plan) into prepared operations (`prepare`), makes the
//! child, and returns when that stands at the gate: everything is set up and nothing executed;
//! [`execute`] goes on to its command. In
//! the child (`child`) nothing is allocated and nothing locked; it reports the step and the error
//! number, and the parent turns those into words (`report`).

mod advice;
mod child;
pub mod filter;
mod hang;
pub mod ids;
mod nested;
mod network;
mod options;
mod owners;
mod prepare;
mod report;
pub mod seed;
mod shield;
mod spawn;
mod started;

pub use hang::comes_within;
pub use network::EarlyNetwork;
pub use options::{Options, Stdio, Target, Waiting};
pub use prepare::{EarlyUsers, lxcfs_answers};
pub use report::told as explain;
pub use shield::{is_out_of_reach, keep_shield, read_only_program, shield};
pub use spawn::{execute, join, spawn};
pub use started::Child;
