//! Ways out.

use std::fs::File;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use sys::attempt::{Attempt, attempt};

use crate::attack::{Attack, Family::Escape};
use crate::cell::{Cell, Stop, errno, writable};

const USERS: &str = "[isolation] namespaces.user = \"own\"";
const PROC: &str = "[isolation] extends = \"default\" (a read-only /proc/sys and users of its own)";

const fn asks(
    name: &'static str,
    what: &'static str,
    mend: &'static str,
    act: fn(&mut Cell) -> Stop,
) -> Attack {
    Attack::question(Escape, name, what, mend, act)
}

pub(super) static ATTACKS: [Attack; 18] = [
    asks("root-is-root", "is root of the host if it gets out", USERS, root),
    asks("capabilities", "has privileges of the host", USERS, capabilities),
    asks(
        "new-privileges",
        "gains privilege by set-uid programs",
        "[isolation] no_new_privileges = true",
        privileges,
    ),
    asks(
        "descriptors",
        "finds open files of whoever started it",
        "[isolation] extends = \"default\"",
        descriptors,
    ),
    asks(
        "devices",
        "makes a node of the host's disk and opens it",
        "[isolation] capabilities.drop = [\"MKNOD\"]",
        devices,
    ),
    asks("file-handles", "opens files of the host by number", "[isolation] seccomp = \"default\"", |_| {
        Stop::answer(attempt(Attempt::Handle), "it may")
    }),
    asks("release-agent", "has the host run a program (release_agent)", PROC, release_agent),
    asks("core-pattern", "has the host run a program when one crashes", PROC, |_| {
        writes(&["/proc/sys/kernel/core_pattern"])
    }),
    asks("modprobe", "has the host run a program for modules", PROC, |_| {
        writes(&["/proc/sys/kernel/modprobe"])
    }),
    asks("sysrq", "gives the kernel's emergency commands", PROC, |_| {
        writes(&["/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"])
    }),
    asks("uevent-helper", "has the host run a program for devices", PROC, |_| {
        writes(&["/sys/kernel/uevent_helper"])
    }),
    asks("binfmt", "has the host run a program for programs", PROC, |_| {
        writes(&["/proc/sys/fs/binfmt_misc/register"])
    }),
    asks("kernel-parameters", "changes parameters of the whole host", PROC, |_| {
        writes(&["/proc/sys/kernel/panic", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max"])
    }),
    asks("groups", "makes or changes control groups", "[isolation] without = [\"/sys/fs/cgroup\"]", groups),
    asks("oom", "puts itself last when memory runs out", USERS, oom),
    asks(
        "signals",
        "sends signals to processes of the host",
        "[isolation] namespaces.pid = \"own\"",
        signals,
    ),
    asks(
        "terminal",
        "types into the terminal of whoever started it",
        "[isolation] seccomp = \"default\"",
        |_| Stop::answer(attempt(Attempt::Type), "it types"),
    ),
    asks(
        "root-descriptor",
        "leaves its root by its working directory",
        "[isolation] root = \"pivot\"",
        working_directory,
    ),
];

/// Whether users here are the host's: the mapping of the first user namespace, and only that, has all.
pub(super) fn has_hosts_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"] || map.is_empty()
}

fn root(_: &mut Cell) -> Stop {
    if has_hosts_users() && rustix::process::geteuid().is_root() {
        return Stop::Possible("root inside is root outside".to_owned());
    }
    Stop::Refused(Errno::PERM)
}

pub(super) fn status(key: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .map(|rest| rest.trim_start_matches(':').trim().to_owned())
}

/// Those that are as good as all (SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, BPF and so on).
fn capabilities(_: &mut Cell) -> Stop {
    const STRONG: u64 =
        1 << 2 | 1 << 16 | 1 << 17 | 1 << 19 | 1 << 21 | 1 << 22 | 1 << 25 | 1 << 39 | 1 << 12;
    let mask = status("CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    match mask {
        Some(mask) if has_hosts_users() && mask & STRONG != 0 => {
            Stop::Possible(format!("it has {:#x} over the host", mask & STRONG))
        }
        Some(_) => Stop::Refused(Errno::PERM),
        None => Stop::Nowhere("there is no /proc"),
    }
}

fn privileges(_: &mut Cell) -> Stop {
    match status("NoNewPrivs").as_deref() {
        Some("1") => Stop::Refused(Errno::PERM),
        Some(_) => Stop::Possible("no_new_privs is off".to_owned()),
        None => Stop::Nowhere("there is no /proc"),
    }
}

fn descriptors(_: &mut Cell) -> Stop {
    let found: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()).is_some_and(|fd| fd > 2)
        })
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        // The directory that is being read.
        .filter(|target| !target.ends_with("fd"))
        .map(|target| target.display().to_string())
        .collect();
    if found.is_empty() { Stop::Refused(Errno::BADF) } else { Stop::Possible(found.join(", ")) }
}

/// The disk that its own root is on, by number.
fn devices(_: &mut Cell) -> Stop {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let numbers = table.lines().filter_map(|line| line.split(' ').nth(2)?.split_once(':'));
    let mut numbers = numbers.filter_map(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let disk = numbers.find(|(major, _)| *major > 0).unwrap_or((8, 0));
    let Some(place) = writable().into_iter().next() else { return Stop::Nowhere("nothing is writable") };
    let path = place.at.join("tsubo-attack-node");
    if let Err(cause) = mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR, makedev(disk.0, disk.1)) {
        return Stop::Refused(cause);
    }
    let opened = File::open(&path);
    // It was made a moment ago.
    let _ = std::fs::remove_file(&path);
    match opened {
        Ok(_) => Stop::Possible(format!("disk {}:{} is open", disk.0, disk.1)),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

/// Opened for writing is enough: nothing is written.
fn writes(paths: &[&str]) -> Stop {
    let mut last = Errno::NOENT;
    for path in paths {
        match File::options().write(true).open(path) {
            Ok(_) => return Stop::Possible(format!("{path} can be written")),
            Err(cause) => last = errno(&cause),
        }
    }
    Stop::Refused(last)
}

fn release_agent(_: &mut Cell) -> Stop {
    let mut paths = vec!["/sys/fs/cgroup/release_agent".to_owned()];
    let groups = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    paths.extend(groups.map(|entry| entry.path().join("release_agent").display().to_string()));
    writes(&paths.iter().map(String::as_str).collect::<Vec<_>>())
}

fn groups(_: &mut Cell) -> Stop {
    let mut last = Errno::NOENT;
    let places =
        std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for place in places.filter(|place| place.is_dir()).chain(["/sys/fs/cgroup".into()]) {
        let path = place.join("tsubo-attack");
        match std::fs::create_dir(&path) {
            // In a plain directory it changes nothing.
            Ok(()) if !path.join("cgroup.procs").exists() => {
                let _ = std::fs::remove_dir(&path);
                last = Errno::NOENT;
            }
            Ok(()) => {
                // It is empty.
                let _ = std::fs::remove_dir(&path);
                return Stop::Possible(format!("{} can be made", path.display()));
            }
            Err(cause) => last = errno(&cause),
        }
    }
    Stop::Refused(last)
}

fn oom(_: &mut Cell) -> Stop {
    match std::fs::write("/proc/self/oom_score_adj", "-1000") {
        Ok(()) => Stop::Possible("the host's programs are killed before it".to_owned()),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

/// Signal 0 asks whether one may, and does nothing.
fn signals(cell: &mut Cell) -> Stop {
    let is_auditor = std::fs::read_to_string(format!("/proc/{}/comm", cell.hints.pid));
    match sys::process::kill(cell.hints.pid, 0) {
        Ok(()) if is_auditor.is_ok_and(|name| name.starts_with("tsubo-audit")) => {
            Stop::Possible("it may signal the auditor".to_owned())
        }
        Ok(()) => Stop::Refused(Errno::SRCH),
        Err(cause) => Stop::Refused(cause),
    }
}

/// Above the root there is nothing, from wherever it starts.
fn working_directory(_: &mut Cell) -> Stop {
    let inode = |path: &str| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    let up = "../".repeat(64);
    match (inode(&up), inode("/"), std::fs::read_link("/proc/self/cwd")) {
        (Ok(one), Ok(root), _) if one != root => {
            Stop::Possible("above its working directory is another root".to_owned())
        }
        (_, _, Ok(cwd)) if cwd.to_string_lossy().starts_with("(unreachable)") => {
            Stop::Possible("its working directory is outside".to_owned())
        }
        _ => Stop::Refused(Errno::NOENT),
    }
}
