//! What of the host can be read.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use rustix::io::Errno;
use sys::attempt::{Attempt, attempt};

use crate::attack::{Attack, Family, questions};
use crate::attacks::own;
use crate::cell::{Cell, Stop, errno};

const MASK: &str = "[isolation] extends = \"default\" (its masks and its own users)";
const PIDS: &str = "[isolation] namespaces.pid = \"own\"";

pub(super) static ATTACKS: [Attack; 13] = questions(
    Family::Information,
    [
        ("kcore", "reads the kernel's memory", MASK, |_| reads("/proc/kcore")),
        ("kmsg", "reads the kernel's log", MASK, |_| either(reads("/proc/kmsg"), reads("/dev/kmsg"))),
        ("syslog", "reads it by a call", MASK, |_| {
            Stop::answer(attempt(Attempt::Syslog), "the log is there")
        }),
        ("timer-list", "reads all timers of the host", MASK, |_| reads("/proc/timer_list")),
        ("scheduler", "reads the scheduler's state", MASK, |_| {
            either(reads("/proc/sched_debug"), reads("/sys/kernel/debug/sched/debug"))
        }),
        ("slabs", "reads the kernel's allocations", MASK, |_| {
            either(reads("/proc/slabinfo"), reads("/proc/pagetypeinfo"))
        }),
        ("symbols", "reads addresses of the kernel", MASK, symbols),
        ("firmware", "reads the firmware's tables", MASK, firmware),
        ("physical-memory", "reads memory by its address", MASK, |_| {
            either(reads("/dev/mem"), reads("/proc/kpagecount"))
        }),
        ("disks", "reads disks of the host", "[isolation] a /dev of its own", disks),
        ("host-processes", "looks at processes of the host", PIDS, processes),
        ("host-environment", "reads what programs of the host were started with", PIDS, environment),
        ("other-keys", "reads keys of others", MASK, keys),
    ],
);

/// Something comes out, or would. There is room for a record, as some files give nothing less.
fn reads(path: &str) -> Stop {
    let mut room = [0; 8192];
    let file = std::fs::File::options().read(true).custom_flags(0o4000).open(path);
    match file.and_then(|mut file| file.read(&mut room)) {
        Err(cause) if errno(&cause) == Errno::AGAIN => Stop::Possible(format!("{path} can be waited for")),
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
    match own::sees_auditor(cell.hints.pid) {
        Some(true) => Stop::Possible("it sees the host's processes".to_owned()),
        Some(false) => Stop::Refused(Errno::SRCH),
        None => Stop::Unknown("whom it sees cannot be told without /proc"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_the_kernel_gives_whole_records_or_nothing() {
        if std::fs::File::open("/dev/kmsg").is_err() {
            eprintln!("SKIPPED: this host's log is nobody's to read");
            return;
        }
        assert!(matches!(reads("/dev/kmsg"), Stop::Possible(_)), "{:?}", reads("/dev/kmsg"));
        assert_eq!(reads("/dev/null"), Stop::Refused(Errno::NODATA));
        assert_eq!(reads("/no/such/file"), Stop::Refused(Errno::NOENT));
    }
}
