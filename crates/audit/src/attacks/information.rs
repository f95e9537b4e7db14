//! What of the host can be read.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use rustix::io::Errno;
use sys::attempt::{Attempt, attempt};

use crate::attack::{Attack, Family::Information};
use crate::cell::{Cell, Stop, errno};

const MASK: &str = "[isolation] extends = \"default\" (its masks and its own users)";
const PIDS: &str = "[isolation] namespaces.pid = \"own\"";

const fn asks(
    name: &'static str,
    what: &'static str,
    mend: &'static str,
    act: fn(&mut Cell) -> Stop,
) -> Attack {
    Attack::question(Information, name, what, mend, act)
}

pub(super) static ATTACKS: [Attack; 13] = [
    asks("kcore", "reads the kernel's memory", MASK, |_| reads("/proc/kcore")),
    asks("kmsg", "reads the kernel's log", MASK, |_| either(reads("/proc/kmsg"), reads("/dev/kmsg"))),
    asks("syslog", "reads it by a call", MASK, |_| {
        Stop::answer(attempt(Attempt::Syslog), "the log is there")
    }),
    asks("timer-list", "reads all timers of the host", MASK, |_| reads("/proc/timer_list")),
    asks("scheduler", "reads the scheduler's state", MASK, |_| {
        either(reads("/proc/sched_debug"), reads("/sys/kernel/debug/sched/debug"))
    }),
    asks("slabs", "reads the kernel's allocations", MASK, |_| {
        either(reads("/proc/slabinfo"), reads("/proc/pagetypeinfo"))
    }),
    asks("symbols", "reads addresses of the kernel", MASK, symbols),
    asks("firmware", "reads the firmware's tables", MASK, firmware),
    asks("physical-memory", "reads memory by its address", MASK, |_| {
        either(reads("/dev/mem"), reads("/proc/kpagecount"))
    }),
    asks("disks", "reads disks of the host", "[isolation] a /dev of its own", disks),
    asks("host-processes", "looks at processes of the host", PIDS, processes),
    asks("host-environment", "reads what programs of the host were started with", PIDS, environment),
    asks("other-keys", "reads keys of others", MASK, keys),
];

/// Something comes out.
fn reads(path: &str) -> Stop {
    let mut byte = [0];
    let file = std::fs::File::options().read(true).custom_flags(0o4000).open(path);
    match file.and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Stop::Refused(Errno::NODATA),
        Ok(_) => Stop::Possible(format!("{path} can be read")),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

fn either(one: Stop, other: Stop) -> Stop {
    if matches!(one, Stop::Possible(_)) { one } else { other }
}

/// Without privilege all addresses are zeroes.
fn symbols(_: &mut Cell) -> Stop {
    let mut head = [0; 4096];
    match std::fs::File::open("/proc/kallsyms").and_then(|mut file| file.read(&mut head)) {
        Ok(count) if head[..count].starts_with(b"0000000000000000 ") || count == 0 => {
            Stop::Refused(Errno::PERM)
        }
        Ok(_) => Stop::Possible("/proc/kallsyms shows addresses".to_owned()),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

fn firmware(_: &mut Cell) -> Stop {
    for path in
        ["/sys/firmware/dmi/tables/DMI", "/sys/firmware/acpi/tables/DSDT", "/sys/firmware/acpi/tables/FACP"]
    {
        let answer = reads(path);
        if matches!(answer, Stop::Possible(_)) {
            return answer;
        }
    }
    Stop::Refused(Errno::NOENT)
}

fn disks(_: &mut Cell) -> Stop {
    for entry in std::fs::read_dir("/dev").into_iter().flatten().flatten() {
        let is_disk = entry.file_type().is_ok_and(|kind| kind.is_block_device());
        if is_disk && std::fs::File::open(entry.path()).is_ok() {
            return Stop::Possible(format!("{} can be read", entry.path().display()));
        }
    }
    Stop::Refused(Errno::NOENT)
}

/// The auditor, by its number on the host.
fn processes(cell: &mut Cell) -> Stop {
    let path = format!("/proc/{}/comm", cell.hints.pid);
    match std::fs::read_to_string(path) {
        Ok(name) if name.starts_with("tsubo-audit") => {
            Stop::Possible("it sees the host's processes".to_owned())
        }
        Ok(_) => Stop::Refused(Errno::SRCH),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

fn environment(cell: &mut Cell) -> Stop {
    match processes(cell) {
        Stop::Possible(_) => reads(&format!("/proc/{}/environ", cell.hints.pid)),
        hidden => hidden,
    }
}

/// Only keys of whoever asks are listed, unless the users are the host's.
fn keys(_: &mut Cell) -> Stop {
    match std::fs::read_to_string("/proc/keys") {
        Ok(list)
            if list
                .lines()
                .any(|line| !line.contains("_ses") && !line.contains("_uid") && !line.contains("tsubo")) =>
        {
            Stop::Possible("/proc/keys lists others'".to_owned())
        }
        Ok(_) => Stop::Refused(Errno::NODATA),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}
