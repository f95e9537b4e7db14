//! Interfaces of the kernel that a container has no business with.

use rustix::io::Errno;
use sys::attempt::{Attempt, attempt};

use crate::attack::{Attack, Family, questions};
use crate::cell::{Cell, Stop};

const FILTER: &str = "[isolation] seccomp = \"default\"";

fn tried(which: Attempt) -> Stop {
    Stop::answer(attempt(which), "the kernel does it")
}

pub(super) static ATTACKS: [Attack; 26] = questions(
    Family::Kernel,
    [
        ("user-namespace", "makes a user namespace (unshare)", FILTER, |_| tried(Attempt::Users)),
        ("user-namespace-clone", "makes one by clone, with high bits", FILTER, |_| {
            tried(Attempt::UsersByClone)
        }),
        ("user-namespace-clone3", "makes one by clone3", FILTER, |_| tried(Attempt::UsersByClone3)),
        ("net-namespace", "makes a network namespace", FILTER, |_| tried(Attempt::Network)),
        ("mount-namespace", "makes a mount namespace", FILTER, |_| tried(Attempt::Mounts)),
        ("mount", "mounts", FILTER, |_| tried(Attempt::Mount)),
        ("fsopen", "mounts the new way", FILTER, |_| tried(Attempt::Fsopen)),
        ("open-tree", "takes a tree to mount it elsewhere", FILTER, |_| tried(Attempt::OpenTree)),
        ("mount-setattr", "changes a mount", FILTER, |_| tried(Attempt::MountSetattr)),
        ("move-mount", "moves a mount", FILTER, |_| tried(Attempt::MoveMount)),
        ("pivot-root", "changes its root", FILTER, |_| tried(Attempt::PivotRoot)),
        ("bpf", "loads into the kernel (bpf)", FILTER, |_| tried(Attempt::Bpf)),
        ("perf", "counts the processor's events", FILTER, |_| tried(Attempt::Perf)),
        ("userfaultfd", "handles page faults", FILTER, |_| tried(Attempt::Userfault)),
        ("io-uring", "makes calls that no filter sees", FILTER, |_| tried(Attempt::Uring)),
        ("keyctl", "looks into the keyring of the session", FILTER, |_| tried(Attempt::Keyctl)),
        ("kexec", "loads another kernel", FILTER, |_| tried(Attempt::Kexec)),
        ("module", "loads code into the kernel", FILTER, |_| tried(Attempt::Module)),
        ("clock", "sets the host's clock", FILTER, |_| tried(Attempt::Clock)),
        ("reboot", "ends the host", FILTER, |_| tried(Attempt::Reboot)),
        ("swapon", "gives the host swap space", FILTER, |_| tried(Attempt::Swap)),
        ("x32", "calls by the x32 ABI", FILTER, |_| tried(Attempt::X32)),
        ("i386", "makes a user namespace by the i386 ABI", FILTER, |_| tried(Attempt::I386)),
        ("filter", "calls what it likes, as no filter is there", FILTER, unfiltered),
        ("real-time", "runs before all others (SCHED_FIFO)", FILTER, |_| tried(Attempt::RealTime)),
        ("nice", "takes precedence over others (nice -20)", FILTER, |_| tried(Attempt::Nice)),
    ],
);

/// Asked of the kernel: who is not allowed to ask has a filter.
fn unfiltered(_: &mut Cell) -> Stop {
    match rustix::thread::secure_computing_mode() {
        Ok(rustix::thread::SecureComputingMode::Disabled) | Err(Errno::INVAL) => {
            Stop::Possible("there is no filter".to_owned())
        }
        Ok(_) => Stop::Nowhere("there is a filter"),
        Err(cause) => Stop::Refused(cause),
    }
}
