//! Floor 3: containers on disk and in the kernel - create, start, stop, recover.
//!
//! Truth is the files of the state directory plus the kernel: a directory `containers/NAME` with
//! the record, the logs and the end of each container; a run directory with what is only true while
//! it runs. Every look at a container mends what killed commands and keepers left.
#![forbid(unsafe_code)]

mod again;
mod attach;
mod client;
mod container;
mod containers;
pub mod copy;
mod damaged;
mod detach;
mod disk;
pub mod disk_of;
pub mod enforceable;
mod enter;
pub mod events;
pub mod figures;
mod handle;
pub mod history;
mod home;
pub mod hooks;
mod inside;
pub mod job;
mod keeper_process;
mod launch;
pub mod ledger;
pub mod living;
mod lock;
pub mod log;
pub mod networks;
pub mod open_files;
mod orders;
mod pinned;
mod prepared;
mod processes;
mod reclaim;
mod record;
pub mod rename;
mod resolve;
pub mod rootless;
mod session;
mod settle;
mod sockets;
mod spare;
pub mod state;
pub mod tenants;
pub mod terminal;
mod update;
pub mod volumes;

pub use container::{Container, listens_to};
pub use containers::{Containers, Damaged, Source};
pub use detach::Keys;
pub use handle::Handle;
pub use home::{Home, new_id};
pub use keeper_process::KeeperProcess;
pub use launch::{Exec, Launch};
pub use lock::ImagesLock;
pub use pinned::{Pinned, boot_id};
pub use prepared::Prepared;
pub use processes::Process;
pub use record::{Asked, Ended, HealthState, Probe, Record, Running, Service, Status};
pub use resolve::{
    Bind, MASKED, READ_ONLY, Reason, RunOptions, default_limits, explained, mounted_lxcfs, promised, resolve,
};
pub use rootless::Rootless;
pub use session::Session;
pub use settle::{claim, find_place, plan};
pub use sockets::Socket;
pub use spare::{KeeperProgram, Spare};
pub use update::{Files, Limit, Update};
