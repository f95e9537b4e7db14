//! What is known of a process without trusting in `/proc`, which may be hidden, and must not decide.

use std::path::PathBuf;

use rustix::io::Errno;

/// Whose users are in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Users {
    /// All of the host: what the first user namespace has, and only that.
    Host,
    /// Of a namespace of its own, in which 0 is root of whoever made it.
    SameRoot,
    /// Its own.
    Own,
    /// Nobody says.
    Unknown,
}

pub(super) fn users() -> Users {
    users_of(&std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default())
}

fn users_of(map: &str) -> Users {
    let numbers: Result<Vec<u32>, _> = map.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok([0, 0, u32::MAX]) => Users::Host,
        Ok([]) | Err(_) => Users::Unknown,
        Ok(all) if all.chunks(3).any(|part| part[0] == 0 && part.get(1) == Some(&0)) => Users::SameRoot,
        Ok(_) => Users::Own,
    }
}

/// Its effective capabilities.
pub(super) fn capabilities() -> Option<u64> {
    let asked = rustix::thread::capabilities(None).map(|sets| sets.effective.bits());
    asked.ok().or_else(|| {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    })
}

/// Whether the auditor is seen under the number that it has on the host.
pub(super) fn sees_auditor(pid: i32) -> Option<bool> {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => Some(name.starts_with("tsubo-audit")),
        Err(_) if sys::process::kill(pid, 0) == Err(Errno::SRCH) => Some(false),
        // Hidden from it, by a /proc that shows at least itself.
        Err(_) if std::fs::exists("/proc/self/comm").unwrap_or(false) => Some(false),
        Err(_) => None,
    }
}

/// Where hierarchies of control groups are, and their groups.
pub(super) fn groups() -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = table.lines().filter(|line| line.contains(" - cgroup"));
    let mut places: Vec<PathBuf> =
        mounted.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
    places.push("/sys/fs/cgroup".into());
    let below = |dir: &PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let more: Vec<PathBuf> = places.iter().flat_map(below).map(|entry| entry.path()).collect();
    places.extend(more.into_iter().filter(|path| path.is_dir()));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_by_their_map() {
        assert_eq!(users_of("         0          0 4294967295\n"), Users::Host);
        assert_eq!(users_of("0 100000 65536\n"), Users::Own);
        assert_eq!(users_of("0 1000 1\n1 100000 65536\n"), Users::Own);
        assert_eq!(users_of("0 0 65536\n"), Users::SameRoot);
        assert_eq!((users_of(""), users_of("x")), (Users::Unknown, Users::Unknown));
    }

    #[test]
    fn capabilities_are_told_by_the_kernel() {
        let text = std::fs::read_to_string("/proc/self/status").expect("status");
        let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a mask");
        assert_eq!(capabilities(), u64::from_str_radix(mask.trim(), 16).ok());
    }
}
