//! Where a group is asked for, and where that is in every mounted hierarchy.

use std::fs;
use std::path::{Component, Path, PathBuf};

use spec::{Error, Result, ResultExt};

use crate::layout::{Hierarchy, Version, mounted, read_text, uncovered};

/// Before the id of the container, where nothing was asked for: in the caller's own group, and not
/// where containers of `tsubo` are, because whoever looks there for leftovers knows only their ids.
/// One level is half the work of two.
const DEFAULT_PREFIX: &str = "tsubo-oci-";

/// A path as in OCI's `cgroupsPath`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPath {
    below: PathBuf,
    absolute: bool,
    asked: bool,
}

impl GroupPath {
    /// `/a/b` counts from where the hierarchies are mounted, `a/b` from the caller's own group;
    /// nothing is a group named after the container.
    ///
    /// # Errors
    /// A path that leads elsewhere, or to the root itself.
    pub fn parse(path: Option<&str>, id: &str) -> Result<Self> {
        let path = path.filter(|path| !path.is_empty());
        let below = match path {
            Some(path) => plain(path)?,
            None => plain(&format!("{DEFAULT_PREFIX}{id}"))?,
        };
        Ok(Self { below, absolute: path.is_some_and(|path| path.starts_with('/')), asked: path.is_some() })
    }

    /// A path that was computed, from where the hierarchies are mounted.
    pub(crate) fn computed(path: &Path) -> Self {
        let below = path.strip_prefix("/").unwrap_or(path).to_owned();
        Self { below, absolute: true, asked: true }
    }

    /// Whether somebody named it.
    pub fn is_asked_for(&self) -> bool {
        self.asked
    }

    /// The path below [`base`](Self::base).
    pub(crate) fn below(&self) -> &Path {
        &self.below
    }

    /// From where it counts. A group of version 2 that has processes passes no controllers on, so
    /// there it counts from the one above.
    pub(crate) fn base(&self, place: &Mounted) -> PathBuf {
        let Hierarchy { version, own, .. } = &place.hierarchy;
        if self.absolute {
            return place.point.clone();
        }
        let above = own.parent().filter(|_| *version == Version::Two && own != &place.point);
        let occupied = || fs::read_to_string(own.join("cgroup.procs")).is_ok_and(|list| !list.is_empty());
        above.filter(|_| occupied()).unwrap_or(own).to_owned()
    }
}

fn plain(path: &str) -> Result<PathBuf> {
    let wrong = |why: &str| Err(Error::user(format!("the path of a control group {path:?} {why}")));
    if path.contains(['\0', '\n']) {
        return wrong("has a character that no group's name has");
    }
    let mut below = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) if name.len() > 255 => return wrong("has a name longer than 255 bytes"),
            Component::Normal(name) => below.push(name),
            Component::ParentDir => return wrong("leads upwards"),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if below.as_os_str().is_empty() {
        return wrong("is the root, which is the host's own");
    }
    if below.as_os_str().len() > 3000 {
        return wrong("is too long");
    }
    Ok(below)
}

/// A hierarchy and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) point: PathBuf,
}

/// All of them, also those that `tsubo` itself has no use for; version 2 last.
pub(crate) fn hierarchies() -> Result<Vec<Mounted>> {
    let read = |path: &str| read_text(path).doing(|| format!("reading {path}"));
    Ok(parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?))
}

fn parse(mounts: &str, groups: &str) -> Vec<Mounted> {
    let mut all: Vec<Mounted> = Vec::new();
    for line in uncovered(mounts) {
        let Some((hierarchy, point)) = mounted(line, groups) else { continue };
        if !all.iter().any(|other| other.hierarchy.controllers == hierarchy.controllers) {
            all.push(Mounted { hierarchy, point: point.to_owned() });
        }
    }
    all.sort_by_key(|mounted| mounted.hierarchy.version == Version::Two);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let below = |path: Option<&str>| GroupPath::parse(path, "web").map(|path| path.below);
        assert_eq!(below(Some("/a//b/./c/")).expect("a path"), Path::new("a/b/c"));
        assert_eq!(below(None).expect("a path"), Path::new("tsubo-oci-web"));
        assert_eq!(below(Some("")).expect("a path"), Path::new("tsubo-oci-web"));
        for path in ["/", ".", "..", "/a/../../b", "a\nb", "a\0", &"x".repeat(256), &"x/".repeat(2000)] {
            assert!(below(Some(path)).is_err(), "{path:?}");
        }
    }

    #[test]
    fn every_hierarchy_once() {
        let mounts = "31 24 0:27 / /c/unified rw - cgroup2 cgroup rw\n\
                      33 24 0:29 / /c/cpuset rw - cgroup cgroup rw,cpuset\n\
                      33 24 0:29 / /c/again rw - cgroup cgroup rw,cpuset\n\
                      34 24 0:30 / /c/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      35 24 0:31 /x /c/cpu rw - cgroup cgroup rw,cpu,cpuacct";
        let all = parse(mounts, "5:name=systemd:/\n4:cpu,cpuacct:/x/y\n3:cpuset:/\n0::/own\n");
        let points: Vec<_> = all.iter().map(|place| place.point.to_str().expect("text")).collect();
        assert_eq!(points, ["/c/cpuset", "/c/systemd", "/c/cpu", "/c/unified"]);
        let base = |path: &str| GroupPath::parse(Some(path), "").expect("a path").base(&all[2]);
        assert_eq!([base("/a"), base("a")], [Path::new("/c/cpu"), Path::new("/c/cpu/y")]);
    }
}
