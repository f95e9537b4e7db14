//! Interfaces of the kernel that a container has no business with.

use sys::attempt::{Attempt, attempt};

use crate::attack::{Attack, Family::Kernel};
use crate::cell::{Cell, Stop};

const FILTER: &str = "[isolation] seccomp = \"default\"";

const fn asks(name: &'static str, what: &'static str, act: fn(&mut Cell) -> Stop) -> Attack {
    Attack::question(Kernel, name, what, FILTER, act)
}

fn tried(which: Attempt) -> Stop {
    Stop::answer(attempt(which), "the kernel does it")
}

pub(super) static ATTACKS: [Attack; 25] = [
    asks("user-namespace", "makes a user namespace (unshare)", |_| tried(Attempt::Users)),
    asks("user-namespace-clone", "makes one by clone, with high bits", |_| tried(Attempt::UsersByClone)),
    asks("user-namespace-clone3", "makes one by clone3", |_| tried(Attempt::UsersByClone3)),
    asks("net-namespace", "makes a network namespace", |_| tried(Attempt::Network)),
    asks("mount-namespace", "makes a mount namespace", |_| tried(Attempt::Mounts)),
    asks("mount", "mounts", |_| tried(Attempt::Mount)),
    asks("fsopen", "mounts the new way", |_| tried(Attempt::Fsopen)),
    asks("open-tree", "takes a tree to mount it elsewhere", |_| tried(Attempt::OpenTree)),
    asks("mount-setattr", "changes a mount", |_| tried(Attempt::MountSetattr)),
    asks("pivot-root", "changes its root", |_| tried(Attempt::PivotRoot)),
    asks("bpf", "loads into the kernel (bpf)", |_| tried(Attempt::Bpf)),
    asks("perf", "counts the processor's events", |_| tried(Attempt::Perf)),
    asks("userfaultfd", "handles page faults", |_| tried(Attempt::Userfault)),
    asks("io-uring", "makes calls that no filter sees", |_| tried(Attempt::Uring)),
    asks("keyctl", "looks into the keyring of the session", |_| tried(Attempt::Keyctl)),
    asks("kexec", "loads another kernel", |_| tried(Attempt::Kexec)),
    asks("module", "loads code into the kernel", |_| tried(Attempt::Module)),
    asks("clock", "sets the host's clock", |_| tried(Attempt::Clock)),
    asks("reboot", "ends the host", |_| tried(Attempt::Reboot)),
    asks("swapon", "gives the host swap space", |_| tried(Attempt::Swap)),
    asks("x32", "calls by the x32 ABI", |_| tried(Attempt::X32)),
    asks("i386", "makes a user namespace by the i386 ABI", |_| tried(Attempt::I386)),
    asks("filter", "calls what it likes, as no filter is there", unfiltered),
    asks("real-time", "runs before all others (SCHED_FIFO)", |_| tried(Attempt::RealTime)),
    asks("nice", "takes precedence over others (nice -20)", |_| tried(Attempt::Nice)),
];

/// 2 is a filter.
fn unfiltered(_: &mut Cell) -> Stop {
    match crate::attacks::escape::status("Seccomp").as_deref() {
        Some("0") => Stop::Possible("there is no filter".to_owned()),
        Some(_) => Stop::Nowhere("there is a filter"),
        None => Stop::Nowhere("there is no /proc"),
    }
}
