//! Ways out.

use std::fs::File;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, major, makedev, mknodat};
use rustix::io::Errno;
use sys::attempt::{Attempt, attempt};

use crate::attack::{Attack, Family, questions};
use crate::attacks::own::{self, Users};
use crate::cell::{Cell, Stop, errno};
use crate::places::PREFIX;

const USERS: &str = "[isolation] namespaces.user = \"own\"";
const PROC: &str = "[isolation] extends = \"default\" (a read-only /proc/sys and users of its own)";

pub(super) static ATTACKS: [Attack; 18] = questions(
    Family::Escape,
    [
        ("root-is-root", "is root of the host if it gets out", USERS, root),
        ("capabilities", "has privileges of the host", USERS, capabilities),
        (
            "new-privileges",
            "gains privilege by set-uid programs",
            "[isolation] no_new_privileges = true",
            privileges,
        ),
        (
            "descriptors",
            "finds open files of whoever started it",
            "[isolation] extends = \"default\"",
            descriptors,
        ),
        (
            "devices",
            "makes a node of the host's disk and opens it",
            "[isolation] capabilities.drop = [\"MKNOD\"]",
            devices,
        ),
        ("file-handles", "opens files of the host by number", "[isolation] seccomp = \"default\"", |_| {
            Stop::answer(attempt(Attempt::Handle), "it may")
        }),
        ("release-agent", "has the host run a program (release_agent)", PROC, release_agent),
        ("core-pattern", "has the host run a program when one crashes", PROC, |_| {
            writes(&["/proc/sys/kernel/core_pattern"])
        }),
        ("modprobe", "has the host run a program for modules", PROC, |_| {
            writes(&["/proc/sys/kernel/modprobe"])
        }),
        ("sysrq", "gives the kernel's emergency commands", PROC, |_| {
            writes(&["/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"])
        }),
        ("uevent-helper", "has the host run a program for devices", PROC, |_| {
            writes(&["/sys/kernel/uevent_helper"])
        }),
        ("binfmt", "has the host run a program for programs", PROC, |_| {
            writes(&["/proc/sys/fs/binfmt_misc/register"])
        }),
        ("kernel-parameters", "changes parameters of the whole host", PROC, |_| {
            writes(&["/proc/sys/kernel/panic", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max"])
        }),
        ("groups", "makes or changes control groups", "[isolation] without = [\"/sys/fs/cgroup\"]", groups),
        ("oom", "puts itself last when memory runs out", USERS, oom),
        (
            "signals",
            "sends signals to processes of the host",
            "[isolation] namespaces.pid = \"own\"",
            signals,
        ),
        (
            "terminal",
            "types into the terminal of whoever started it",
            "[isolation] seccomp = \"default\"",
            |_| Stop::answer(attempt(Attempt::Type), "it types"),
        ),
        (
            "root-descriptor",
            "leaves its root by its working directory",
            "[isolation] root = \"pivot\"",
            working_directory,
        ),
    ],
);

fn root(_: &mut Cell) -> Stop {
    match own::users() {
        _ if !rustix::process::geteuid().is_root() => Stop::Refused(Errno::PERM),
        Users::Host => Stop::Possible("root inside is root outside".to_owned()),
        Users::SameRoot => Stop::Possible("root inside is root of whoever made it".to_owned()),
        Users::Own => Stop::Refused(Errno::PERM),
        Users::Unknown => NO_MAP,
    }
}

const NO_MAP: Stop = Stop::Unknown("whose users are inside cannot be told: it has no /proc/self/uid_map");

/// Those that are as good as all (SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, BPF and so on).
fn capabilities(_: &mut Cell) -> Stop {
    const STRONG: u64 =
        1 << 2 | 1 << 16 | 1 << 17 | 1 << 19 | 1 << 21 | 1 << 22 | 1 << 25 | 1 << 39 | 1 << 12;
    let Some(mask) = own::capabilities() else { return Stop::Unknown("its capabilities cannot be told") };
    match own::users() {
        _ if mask & STRONG == 0 => Stop::Refused(Errno::PERM),
        Users::Host => Stop::Possible(format!("it has {:#x} over the host", mask & STRONG)),
        Users::Own | Users::SameRoot => Stop::Refused(Errno::PERM),
        Users::Unknown => NO_MAP,
    }
}

fn privileges(_: &mut Cell) -> Stop {
    match rustix::thread::no_new_privs() {
        Ok(true) => Stop::Refused(Errno::PERM),
        Ok(false) => Stop::Possible("no_new_privs is off".to_owned()),
        Err(_) => Stop::Unknown("it may not ask"),
    }
}

/// By their numbers: also a limit that was lowered later has let them be opened.
fn descriptors(_: &mut Cell) -> Stop {
    let name = |fd: i32| {
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        target.map_or_else(|_| format!("descriptor {fd}"), |target| target.display().to_string())
    };
    let found: Vec<String> = (3..1 << 16).filter(|fd| sys::process::is_inherited(*fd)).map(name).collect();
    if found.is_empty() { Stop::Refused(Errno::BADF) } else { Stop::Possible(found.join(", ")) }
}

/// The disks of the host, by their numbers; in every place, as some take no nodes.
fn devices(cell: &mut Cell) -> Stop {
    let numbers = cell.hints.disks.iter().map(|(device, _)| *device);
    // A file system that only has a number of its own is on no disk that could be named.
    let disk = numbers.filter(|device| major(*device) > 0).chain([makedev(8, 0)]).next();
    let places = match cell.places(|_| true, "nothing is writable") {
        Ok(places) => places,
        Err(stop) => return stop,
    };
    let mut last = Stop::Refused(Errno::PERM);
    for place in places {
        match node(&place.at.join(format!("{PREFIX}-node")), disk.unwrap_or_default()) {
            Ok(()) => return Stop::Possible("the host's disk is open".to_owned()),
            Err(Errno::NXIO | Errno::NODEV) => {
                last = Stop::Unknown("it may make nodes, and there is no disk to try them on");
            }
            Err(cause) if !matches!(last, Stop::Unknown(_)) => last = Stop::Refused(cause),
            Err(_) => {}
        }
    }
    last
}

fn node(path: &Path, disk: u64) -> Result<(), Errno> {
    mknodat(CWD, path, FileType::BlockDevice, Mode::RUSR, disk)?;
    let opened = File::open(path);
    // It was made a moment ago.
    let _ = std::fs::remove_file(path);
    opened.map(drop).map_err(|cause| errno(&cause))
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
    let paths = own::groups().into_iter().map(|dir| dir.join("release_agent").display().to_string());
    writes(&paths.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())
}

fn groups(_: &mut Cell) -> Stop {
    let mut last = Errno::NOENT;
    for place in own::groups() {
        let path = place.join(PREFIX);
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
    match (sys::process::kill(cell.hints.pid, 0), own::sees_auditor(cell.hints.pid)) {
        (Err(cause), _) => Stop::Refused(cause),
        (Ok(()), Some(true)) => Stop::Possible("it may signal the auditor".to_owned()),
        (Ok(()), Some(false)) => Stop::Refused(Errno::SRCH),
        (Ok(()), None) => Stop::Unknown("whom it may signal cannot be told without /proc"),
    }
}

/// Above the root there is nothing, from wherever it starts.
fn working_directory(_: &mut Cell) -> Stop {
    let inode = |path: &str| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    let up = "../".repeat(64);
    // The kernel says of a directory that is not below the root that it is unreachable; libraries that it is not.
    let is_outside = match rustix::process::getcwd(Vec::new()) {
        Ok(path) => !path.as_bytes().starts_with(b"/"),
        Err(cause) => cause == Errno::NOENT,
    };
    match (inode(&up), inode("/")) {
        (Ok(one), Ok(root)) if one != root => {
            Stop::Possible("above its working directory is another root".to_owned())
        }
        _ if is_outside => Stop::Possible("its working directory is outside".to_owned()),
        (Ok(_), Ok(_)) => Stop::Refused(Errno::NOENT),
        _ => Stop::Unknown("its root cannot be looked at"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Hints;

    /// In a process whose `/proc` is hidden, as an image without one has it.
    fn without_proc(question: &str) -> String {
        let shared = sys::attack::Shared::new().expect("a page");
        let ask = crate::attacks::find(question).expect("a question").act;
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = sys::attack::bound_child(20, || {
            let hidden = sys::namespace::unshare(sys::namespace::MOUNT).is_ok()
                && ["--make-rprivate /", "-t tmpfs none /proc"].iter().all(|words| {
                    let mut command = std::process::Command::new("mount");
                    command.args(words.split(' ')).status().is_ok_and(|status| status.success())
                });
            let hints = Hints { pid: 1, ..Hints::default() };
            let told = ask(&mut Cell::new(1, 5.0, hints, shared));
            let told = if hidden { format!("{told:?}") } else { "no mounts".to_owned() };
            i32::from(std::io::Write::write_all(&mut &writer, told.as_bytes()).is_err())
        });
        drop(writer);
        sys::process::reap(child.expect("a child"), true).expect("its end");
        std::io::read_to_string(reader).expect("what it told")
    }

    #[test]
    fn without_proc_nothing_is_said_to_be_held_that_cannot_be_tried() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        for question in ["root-is-root", "capabilities", "signals", "host-processes"] {
            let told = without_proc(question);
            assert!(told.starts_with("Unknown"), "{question}: {told}");
        }
        for question in ["new-privileges", "filter"] {
            let told = without_proc(question);
            assert!(told.starts_with("Possible"), "{question}: {told}");
        }
    }

    #[test]
    fn a_descriptor_that_was_handed_on_is_found_without_proc() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let file = File::open("/dev/null").expect("null");
        sys::process::dup_onto(std::os::fd::AsFd::as_fd(&file), 777).expect("another number");
        let told = without_proc("descriptors");
        sys::process::close_range(777, 777).expect("close");
        assert!(told.contains("descriptor 777"), "{told}");
    }
}
