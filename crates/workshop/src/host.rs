//! Facts about this host: what is there, what is missing, and why it matters.

use std::path::Path;

/// One fact.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What it is about.
    pub name: &'static str,
    /// Whether it is there.
    pub present: bool,
    /// Its value, or what is the matter.
    pub value: String,
    /// Why it matters, in a sentence.
    pub matters: &'static str,
}

/// Looks at the host.
pub fn facts() -> Vec<Fact> {
    let (settings, reason) = observe::best();
    let instrument = match settings.opens {
        observe::Opens::Fanotify => "fanotify, seccomp listener, eBPF".to_owned(),
        observe::Opens::Listener => reason.unwrap_or_else(|| "fanotify, seccomp listener".to_owned()),
    };
    vec![
        kernel(),
        root(),
        cgroups(),
        favoured_moves(),
        fact(
            "overlay",
            supports("overlay"),
            "overlayfs",
            "development and test containers are overlays; without it nothing can be developed here",
        ),
        host_root(),
        fact(
            "seccomp listener",
            Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() && actions().contains("user_notif"),
            &actions(),
            "sees the calls that name a path without opening it",
        ),
        fact(
            "observation",
            settings.opens == observe::Opens::Fanotify,
            &instrument,
            "without fanotify and eBPF every open is trapped: as exact, and some 8 µs slower for each; without eBPF it is not known which system calls and capabilities are used",
        ),
        program("mmdebstrap", "makes development containers from debian:SUITE and ubuntu:SUITE"),
    ]
}

fn fact(name: &'static str, present: bool, value: &str, matters: &'static str) -> Fact {
    Fact { name, present, value: value.to_owned(), matters }
}

fn kernel() -> Fact {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    fact(
        "kernel",
        version >= (5, 14),
        &release,
        "5.14 is the least: openat2, mount_setattr, the new mount API, seccomp listeners, cgroup.kill",
    )
}

fn root() -> Fact {
    let root = !lifecycle::rootless::inside();
    let value = if root { "root" } else { "an ordinary user" };
    let matters = "without root: no base host or debian:SUITE, no port below 1024, no groups but delegated ones, observation by the listener alone";
    fact("privilege", root, value, matters)
}

fn cgroups() -> Fact {
    let usable = cgroup::Group::available();
    let value = match &usable {
        Ok(()) => {
            cgroup::Layout::detect().map_or_else(|error| error.chain(), |layout| layout.name().to_owned())
        }
        Err(error) => error.chain(),
    };
    fact(
        "control groups",
        usable.is_ok(),
        &value,
        "figures of memory and tasks; without them containers run and tests tell no peak",
    )
}

/// A mount option of cgroup v2: without it a write into `cgroup.procs` after an idle moment waits
/// for a grace period of the kernel.
fn favoured_moves() -> Fact {
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let favoured = info.lines().any(|line| line.contains(" - cgroup2 ") && line.contains("favordynmods"));
    let value = if favoured { "favordynmods is on" } else { "favordynmods is off" };
    let matters =
        "engines that move processes wait 6-14 ms after a pause without it; tsubo does not move them";
    fact("group moves", favoured, value, matters)
}

fn host_root() -> Fact {
    let overlay = crate::dev::overlay::is_overlay(Path::new("/")).unwrap_or(false);
    let rootless = lifecycle::rootless::inside();
    let value = match (rootless, overlay) {
        (true, _) => "takes root",
        (false, true) => "/ is an overlay already",
        (false, false) => "can be laid under an overlay",
    };
    fact(
        "host's root",
        !overlay && !rootless,
        value,
        "over an overlay the kernel stacks no two more: tsubo dev then copies the host's root",
    )
}

fn actions() -> String {
    std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default().trim().to_owned()
}

fn supports(file_system: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().last() == Some(file_system))
}

fn program(name: &'static str, matters: &'static str) -> Fact {
    let dirs = std::env::var("PATH").unwrap_or_default();
    let found = dirs.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    let value =
        found.as_ref().map_or_else(|| format!("apt-get install {name}"), |path| path.display().to_string());
    fact(name, found.is_some(), &value, matters)
}
