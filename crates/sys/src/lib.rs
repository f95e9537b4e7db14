//! Floor 0: every system call and all unsafe code of Tsuboniwa.
//!
//! Safe wrappers for what rustix does not have; other crates call rustix directly for the rest.
#![allow(unsafe_code, reason = "this is the one crate where it may live")]

pub mod attack;
pub mod attempt;
pub mod bpf;
pub mod bpf_device;
pub mod btrfs;
pub mod byte_lock;
pub mod capability;
pub mod child;
pub mod deadline;
#[cfg(target_arch = "x86_64")]
pub mod early;
pub mod ext4;
pub mod fanotify;
pub mod landlock;
pub mod loop_device;
pub mod loopback;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod notify;
pub mod packet;
pub mod private_mounts;
pub mod process;
pub mod pty;
pub mod quota;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod start;
pub mod system_v;
pub mod users;

/// The error of the call before, without an allocation.
fn last_error() -> rustix::io::Errno {
    // SAFETY: the address of the thread's own errno, always valid.
    rustix::io::Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
