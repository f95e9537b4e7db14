//! On the host: containers are started, watched, and judged.

pub mod audit;
pub mod canary;
pub mod cli;
pub mod disks;
mod drawing;
pub mod feel;
pub mod gauges;
pub mod groups;
pub mod judge;
pub mod killer;
pub mod package;
pub mod picture;
pub mod report;
pub mod root;
pub mod runtime;
pub mod session;
mod twin;
pub mod watcher;
pub mod work;
