//! Which hierarchies this host has, and where in them the caller is.

mod usual;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::{Result, ResultExt};

use crate::systemd::house;

/// The two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One hierarchy per controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// Its controllers on version 1; empty on version 2.
    pub controllers: Vec<String>,
    /// The directory of the caller's own group, or of what systemd has given us whole.
    pub own: PathBuf,
}

/// All hierarchies that are of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Version 2 last.
    pub hierarchies: Vec<Hierarchy>,
}

/// Not used on version 1: these belong to service managers.
const UNUSED: [&str; 2] = ["name=systemd", "name=elogind"];

/// What a container gets a group for on version 1: limits and figures of memory, tasks, processor
/// and devices of blocks. Each more costs every start what it takes to make, enter and remove one
/// (40 to 80 µs); whoever sets rules for devices makes that group then.
pub(crate) const NEEDED: [&str; 6] = ["memory", "pids", "cpu", "cpuacct", "blkio", "io"];

impl Layout {
    /// Those that every container has a group in. Without version 2, which freezes too, the
    /// freezer is one of them.
    pub fn needed(&self) -> impl Iterator<Item = &Hierarchy> {
        let unified = self.hierarchies.iter().any(|hierarchy| hierarchy.version == Version::Two);
        let needed = move |name: &String| NEEDED.contains(&name.as_str()) || name == "freezer" && !unified;
        self.hierarchies.iter().filter(move |hierarchy| {
            hierarchy.version == Version::Two || hierarchy.controllers.iter().any(needed)
        })
    }

    /// Whether groups of a controller can be made, whichever version it is of.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.hierarchies.iter().any(|hierarchy| match hierarchy.version {
            Version::One => hierarchy.controllers.iter().any(|name| name == controller),
            Version::Two => fs::read_to_string(hierarchy.own.join("cgroup.controllers"))
                .is_ok_and(|list| list.split_whitespace().any(|name| name == controller)),
        })
    }

    /// Reads it from /proc.
    pub fn detect() -> Result<Self> {
        let read = |path: &str| read_text(path).doing(|| format!("reading {path}"));
        let groups = read("/proc/self/cgroup")?;
        let mut layout = match usual::layout(&groups) {
            Some(layout) => layout,
            None => Self::parse(&read("/proc/self/mountinfo")?, &groups),
        };
        let two = layout.hierarchies.iter_mut().find(|hierarchy| hierarchy.version == Version::Two);
        if let (Some(two), Some(home)) = (two, house::home()) {
            two.own = home;
        }
        Ok(layout)
    }

    /// In words: `v2`, `v1`, `hybrid` or `none`.
    pub fn name(&self) -> &'static str {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(Version::One), has(Version::Two)) {
            (false, true) => "v2",
            (true, false) => "v1",
            (true, true) => "hybrid",
            (false, false) => "none",
        }
    }

    fn parse(mounts: &str, groups: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> =
            uncovered(mounts).filter_map(|line| hierarchy(line, groups)).collect();
        hierarchies.sort_by_key(|hierarchy| hierarchy.version == Version::Two);
        let mut seen = Vec::new();
        hierarchies.retain(|hierarchy| {
            let new = !seen.contains(&hierarchy.controllers);
            seen.push(hierarchy.controllers.clone());
            new
        });
        Self { hierarchies }
    }
}

/// Reads a file of /proc in few pieces: the kernel makes its text anew for every call, and has no
/// size to tell beforehand.
pub(crate) fn read_text(path: &str) -> std::io::Result<String> {
    let mut text = Vec::with_capacity(32 << 10);
    fs::File::open(path)?.read_to_end(&mut text)?;
    String::from_utf8(text).map_err(std::io::Error::other)
}

/// The lines of mountinfo for hierarchies that no other mount lies over: behind the path of one that
/// is covered (so that a program sees one version only, say) is something else.
pub(crate) fn uncovered(mounts: &str) -> impl Iterator<Item = &str> {
    let all: Vec<_> = mounts.lines().filter_map(place).collect();
    let covered = move |line: &str| {
        let over = |(id, _, point)| all.iter().any(|other| other.1 == id && other.2 == point);
        place(line).is_some_and(over)
    };
    mounts.lines().filter(|line| line.contains(" - cgroup")).filter(move |line| !covered(line))
}

/// The number of a line's mount, that of the mount it is in, and its point.
fn place(line: &str) -> Option<(&str, &str, &str)> {
    let mut fields = line.split(' ');
    Some((fields.next()?, fields.next()?, fields.nth(2)?))
}

/// One line of mountinfo, if that hierarchy is of use.
fn hierarchy(line: &str, groups: &str) -> Option<Hierarchy> {
    let (hierarchy, _) = mounted(line, groups)?;
    let unused = hierarchy.controllers.iter().any(|name| UNUSED.contains(&name.as_str()));
    (!unused).then_some(hierarchy)
}

/// One line of mountinfo (`36 35 0:31 ROOT POINT OPTIONS … - TYPE SOURCE SUPER-OPTIONS`): the
/// hierarchy and where it is mounted.
pub(crate) fn mounted<'a>(line: &'a str, groups: &str) -> Option<(Hierarchy, &'a Path)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut file_system = file_system.split(' ');
    let version = match file_system.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    let options = file_system.nth(1)?;
    let (controllers, path) = own_group(version, options, groups)?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    Some((Hierarchy { version, controllers, own: Path::new(point).join(below) }, Path::new(point)))
}

/// The line of /proc/self/cgroup (`4:cpu,cpuacct:/path`) for a mount with these options.
fn own_group<'a>(version: Version, options: &str, groups: &'a str) -> Option<(Vec<String>, &'a str)> {
    let options: Vec<&str> = options.split(',').collect();
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (list, path) = (fields.next()?, fields.next()?);
        let controllers: Vec<String> =
            list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let matches = match version {
            Version::Two => controllers.is_empty(),
            Version::One => {
                !controllers.is_empty() && controllers.iter().all(|name| options.contains(&name.as_str()))
            }
        };
        matches.then_some((controllers, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_with_systemd() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let layout = Layout::parse(mounts, "0::/user.slice/session-1.scope\n");
        assert_eq!(layout.name(), "v2");
        assert_eq!(layout.hierarchies[0].own, Path::new("/sys/fs/cgroup/user.slice/session-1.scope"));
    }

    #[test]
    fn hybrid_skips_what_is_of_no_use_and_puts_version_2_last() {
        let mounts = "31 24 0:27 / /c/unified rw - cgroup2 cgroup rw\n\
                      32 24 0:28 / /c/memory rw - cgroup cgroup rw,memory\n\
                      33 24 0:29 / /c/cpuset rw - cgroup cgroup rw,cpuset\n\
                      34 24 0:30 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      35 24 0:31 /docker/x /c/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        let groups = "5:name=systemd:/\n4:cpu,cpuacct:/docker/x/y\n3:cpuset:/\n2:memory:/a\n0::/\n";
        let layout = Layout::parse(mounts, groups);
        let own: Vec<_> = layout.needed().map(|hierarchy| hierarchy.own.to_str().expect("text")).collect();
        assert_eq!(own, ["/c/memory/a", "/c/cpu/y", "/c/unified/"]);
        assert!(
            layout.has("cpuset") && !layout.hierarchies.iter().any(|one| one.own.starts_with("/c/systemd"))
        );
        assert_eq!(layout.name(), "hybrid");
    }

    #[test]
    fn version_2_spares_the_freezer_and_nobody_needs_devices() {
        let mounts = "32 24 0:28 / /c/freezer rw - cgroup cgroup rw,freezer\n\
                      33 24 0:29 / /c/devices rw - cgroup cgroup rw,devices\n\
                      34 24 0:30 / /c/pids rw - cgroup cgroup rw,pids";
        let unified = "31 24 0:27 / /c/unified rw - cgroup2 cgroup rw";
        let groups = "4:freezer:/\n3:devices:/\n2:pids:/\n0::/\n";
        let needed = |mounts: &str| {
            let layout = Layout::parse(mounts, groups);
            let own = layout.needed().map(|hierarchy| hierarchy.own.display().to_string());
            own.collect::<Vec<_>>()
        };
        assert_eq!(needed(mounts), ["/c/freezer/", "/c/pids/"]);
        assert_eq!(needed(&format!("{mounts}\n{unified}")), ["/c/pids/", "/c/unified/"]);
    }

    #[test]
    fn what_is_covered_is_not_there() {
        let mounts = "31 24 0:27 / /c/unified rw - cgroup2 cgroup rw\n\
                      32 24 0:28 / /c/memory rw - cgroup cgroup rw,memory\n\
                      40 31 0:40 / /c/unified rw - tmpfs none rw";
        assert_eq!(Layout::parse(mounts, "2:memory:/a\n0::/\n").name(), "v1");
    }

    #[test]
    fn a_host_without_any() {
        assert_eq!(Layout::parse("1 1 0:1 / / rw - ext4 /dev/x rw", "").name(), "none");
    }
}
