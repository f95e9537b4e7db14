//! The control groups of a container, found from one of its processes: what they count, and their limits.

use std::fs;
use std::path::{Path, PathBuf};

/// A limit that is there, and larger than any host.
pub const UNSAID: u64 = 1 << 60;

/// Where a container's groups are; a controller that is nowhere counts nothing.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    memory: Option<Place>,
    pids: Option<Place>,
    cpu: Option<Place>,
}

/// A group of one hierarchy.
#[derive(Debug, Clone)]
struct Place {
    /// Where the hierarchy is mounted.
    top: PathBuf,
    dir: PathBuf,
    is_v2: bool,
}

impl Groups {
    /// Of the process with this number on the host; of groups that are the host's own root, none.
    pub fn of(pid: i32) -> Self {
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        // A group that the auditor is in itself is no limit of the container's.
        let find = |controller, file: &str| {
            let place = place(&own, &mounts, controller, file)?;
            let same = line_of(&own, controller)? == line_of(&ours, controller).unwrap_or("");
            (!same).then_some(place)
        };
        Self {
            memory: find("memory", "memory.current"),
            pids: find("pids", "pids.current"),
            cpu: find("cpuacct", "cpu.stat"),
        }
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.memory.is_none() && self.pids.is_none() && self.cpu.is_none()
    }

    /// Bytes of memory that are counted to it, buffers of TCP included.
    pub fn memory(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        let bytes = place.number(if place.is_v2 { "memory.current" } else { "memory.usage_in_bytes" })?;
        let tcp = if place.is_v2 { 0 } else { place.number("memory.kmem.tcp.usage_in_bytes").unwrap_or(0) };
        Some(bytes + tcp)
    }

    /// The most that was ever counted: the kernel takes back a lot at once when it is full.
    pub fn memory_peak(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        place.number(if place.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }

    /// The least of the memory limits of its group and those above.
    pub fn memory_limit(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        place.least(if place.is_v2 { "memory.max" } else { "memory.limit_in_bytes" })
    }

    /// Of its buffers of TCP, which version 2 counts as memory.
    pub fn tcp_limit(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        if place.is_v2 {
            // That memory has none is another line of the table.
            return self.memory_limit().or(Some(UNSAID));
        }
        place.least("memory.kmem.tcp.limit_in_bytes")
    }

    /// Of its processes and threads.
    pub fn pids_limit(&self) -> Option<u64> {
        self.pids.as_ref()?.least("pids.max")
    }

    /// Microseconds of processor time that it has used.
    pub fn cpu(&self) -> Option<u64> {
        let place = self.cpu.as_ref()?;
        if !place.is_v2 {
            return place.number("cpuacct.usage").map(|nanoseconds| nanoseconds / 1000);
        }
        key(&place.dir.join("cpu.stat"), "usage_usec ")
    }

    /// What the kernel has counted of its want of memory.
    pub fn lack(&self) -> Lack {
        let Some(place) = &self.memory else { return Lack::default() };
        let file = if place.is_v2 { "memory.events" } else { "memory.oom_control" };
        let refused: Vec<u64> = place.upwards().filter_map(|dir| refused(dir, place.is_v2)).collect();
        let refused = (!refused.is_empty()).then(|| refused.iter().sum());
        Lack { kills: key(&place.dir.join(file), "oom_kill "), refused }
    }
}

/// How short of memory a group was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lack {
    /// So many processes of it the kernel has ended, for want of its memory or of the host's.
    pub kills: Option<u64>,
    /// So often it, or a group above, was refused memory at its limit.
    pub refused: Option<u64>,
}

impl Lack {
    /// What is known now, else what was known before.
    pub fn or(self, now: Self) -> Self {
        Self { kills: now.kills.or(self.kills), refused: now.refused.or(self.refused) }
    }
}

fn refused(dir: &Path, is_v2: bool) -> Option<u64> {
    if is_v2 {
        // Without this file those of others below the same group would count, too.
        return key(&dir.join("memory.events.local"), "oom ");
    }
    let count = |file| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok();
    let memory = count("memory.failcnt")?;
    Some(memory + count("memory.memsw.failcnt").unwrap_or(0))
}

fn key(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

impl Place {
    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.dir.join(file)).ok()?.trim().parse().ok()
    }

    /// It, and the groups above.
    fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.dir.ancestors().take_while(|dir| dir.starts_with(&self.top))
    }

    fn least(&self, file: &str) -> Option<u64> {
        let limits = self
            .upwards()
            .filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok());
        // Version 1 writes the largest number for none.
        limits.filter(|limit| *limit < UNSAID).min()
    }
}

/// The line of /proc/PID/cgroup for a controller, as a path; of version 2 where version 1 has none.
fn line_of<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    let lines = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let v1 = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
    v1.or_else(|| lines().find(|(names, _)| names.is_empty())).map(|(_, path)| path)
}

fn place(own: &str, mounts: &str, controller: &str, v2_file: &str) -> Option<Place> {
    let lines = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let v1 = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
    if let Some((_, path)) = v1 {
        return mounted(mounts, "cgroup", Some(controller)).map(|top| at(top, path, false));
    }
    let (_, path) = lines().find(|(names, _)| names.is_empty())?;
    let place = at(mounted(mounts, "cgroup2", None)?, path, true);
    place.dir.join(v2_file).exists().then_some(place)
}

fn at(top: PathBuf, path: &str, is_v2: bool) -> Place {
    let dir = top.join(path.trim_start_matches('/'));
    Place { top, dir, is_v2 }
}

/// Where a hierarchy is mounted whole.
fn mounted(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let is_kind = right.next()? == kind;
        let options = right.nth(1)?;
        let has = controller.is_none_or(|wanted| options.split(',').any(|option| option == wanted));
        let mut left = left.split(' ').skip(3);
        let (root, at) = (left.next()?, left.next()?);
        (is_kind && has && root == "/").then(|| Path::new(at).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "1 0 0:1 / / rw - ext4 /dev/vda rw\n\
        25 1 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        26 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn what_is_not_known_any_more_stays_as_it_was() {
        let before = Lack { kills: Some(1), refused: Some(2) };
        assert_eq!(
            before.or(Lack { kills: Some(3), refused: None }),
            Lack { kills: Some(3), refused: Some(2) }
        );
    }

    #[test]
    fn groups_are_found_in_either_version() {
        let own = "3:memory:/tsubo/x\n0::/y\n";
        let place = place(own, MOUNTS, "memory", "memory.current").expect("a place");
        assert_eq!((place.dir.to_str(), place.is_v2), (Some("/sys/fs/cgroup/memory/tsubo/x"), false));
        assert_eq!(line_of(own, "pids"), Some("/y"));
        assert_eq!(mounted(MOUNTS, "cgroup2", None), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mounted(MOUNTS, "cgroup", Some("pids")), None);
    }
}
