//! Floor 2: records every path that the processes of a container use, and how.
//!
//! Three instruments, one thread: fanotify marks on the container's file systems see every file
//! that is opened or executed, also by the kernel itself; a seccomp listener sees the calls that
//! name a path without opening it; an eBPF program sees how opens spelt their path, so that
//! symlinks on the way and failed opens are known too; another sees which capabilities the kernel
//! asked for. Where eBPF is not to be had, the listener
//! takes all opens ([`Opens::Listener`]): slower, and as exact. An ordinary user has neither fanotify
//! nor eBPF; the interpreters that the kernel opens by itself are then known from the heads of the
//! programs that are executed.
//!
//! Whatever arrives late from a queue is read before a call is let go that would change what it
//! means: a rename, an exec, a mount, an exit.
#![forbid(unsafe_code)]

mod best;
mod btf;
mod cache;
mod calls;
mod checks;
mod filter;
mod interpreter;
mod mounts;
mod named;
mod opened;
mod programs;
mod record;
mod resolve;
mod serve;
mod spelt;
mod trace;
mod trapped;
mod watch;
mod whereabouts;
mod written;

pub use best::best;
pub use checks::Asked;
pub use filter::filter;
pub use record::{CAPABILITY_CHECKS, SYSTEM_CALLS, Seen};
pub use watch::Watch;
pub use written::written;

/// Who sees the opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// fanotify sees those that succeed and eBPF how they were spelt; the listener sees the rest.
    Fanotify,
    /// The listener sees every open too.
    Listener,
}

/// How to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Who sees the opens.
    pub opens: Opens,
}
