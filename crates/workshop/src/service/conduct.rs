//! How a service conducts itself: what a replay under a smaller policy is compared by.
//!
//! A program that is refused something may say so and end, which any replay notices. It may also
//! go on: with a worker less, as somebody else than it should, with a file that is not whose it
//! should be. Here is what shows that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spec::RootPath;
use spec::container::{MountKind, Spec};

use super::sockets;

/// What a service is and leaves, just before it is stopped, as seen from inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Its exit code after the stop.
    pub code: i32,
    /// The kinds of its processes.
    pub crew: BTreeSet<Member>,
    /// What lies in its writable directories, and whose it is.
    pub left: BTreeMap<PathBuf, Owned>,
    /// What it said.
    pub lines: Vec<String>,
    /// Whether `lines` is all of it.
    pub all_lines: bool,
}

/// A kind of process: several alike count once, because their number may change from run to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name without digits.
    pub name: String,
    /// Real and effective user.
    pub uids: [u32; 2],
    /// Real and effective group.
    pub gids: [u32; 2],
    /// Supplementary groups.
    pub groups: BTreeSet<u32>,
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Type and permissions.
    pub mode: u32,
}

/// Files that are compared; a service that leaves more is compared by the first of them.
const MOST_FILES: usize = 5000;

impl Conduct {
    /// Of the container whose first process is `init`, while it runs.
    pub fn look(init: i32, spec: &Spec) -> Self {
        let (uids, gids) = (Map::read(init, "uid_map"), Map::read(init, "gid_map"));
        let crew = sockets::members(init).into_iter().filter_map(|pid| member(pid, &uids, &gids)).collect();
        let mut left = BTreeMap::new();
        for at in writable(spec) {
            let root = PathBuf::from(format!("/proc/{init}/root")).join(at.relative());
            walk(&root, at.as_path(), &mut left, &|meta| Owned {
                uid: uids.inside(meta.uid()),
                gid: gids.inside(meta.gid()),
                mode: meta.mode(),
            });
        }
        Self { crew, left, ..Self::default() }
    }

    /// What is worse with `other`; None if nothing is.
    pub fn worse(&self, other: &Self) -> Option<String> {
        if other.code != self.code {
            return Some(format!("the service ended with code {} instead of {}", other.code, self.code));
        }
        if let Some(member) = self.crew.difference(&other.crew).next() {
            return Some(format!("no process {} ran as {}", member.name, member.who()));
        }
        let changed = |(path, owned): (&PathBuf, &Owned)| {
            let now = other.left.get(path).filter(|now| *now != owned)?;
            Some(format!("{} was {} instead of {}", path.display(), now.shown(), owned.shown()))
        };
        let changed = self.left.iter().find_map(changed);
        changed.or_else(|| self.emptier(other)).or_else(|| self.said_worse(other))
    }

    /// A directory that got files got none.
    fn emptier(&self, other: &Self) -> Option<String> {
        let filled = |conduct: &Self| -> BTreeSet<PathBuf> {
            conduct.left.keys().filter_map(|path| Some(path.parent()?.to_owned())).collect()
        };
        let there = filled(other);
        let lost = filled(self).into_iter().find(|dir| !there.contains(dir));
        lost.map(|dir| format!("{} stayed empty", dir.display()))
    }

    /// A complaint that is new, or a line that is gone.
    fn said_worse(&self, other: &Self) -> Option<String> {
        let said =
            |conduct: &Self| -> BTreeSet<String> { conduct.lines.iter().map(|line| plain(line)).collect() };
        let (before, after) = (said(self), said(other));
        let complaint = other.lines.iter().find(|line| complains(line) && !before.contains(&plain(line)));
        if let Some(line) = complaint {
            return Some(format!("the service said: {}", line.trim()));
        }
        if !self.all_lines || !other.all_lines {
            return None;
        }
        let gone = self.lines.iter().find(|line| !after.contains(&plain(line)))?;
        Some(format!("the service did not say: {}", gone.trim()))
    }
}

impl Member {
    fn who(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let groups = if groups.is_empty() { "no others".to_owned() } else { groups.join(", ") };
        format!("user {} and group {} (groups: {groups})", self.uids[1], self.gids[1])
    }
}

impl Owned {
    fn shown(self) -> String {
        format!("{}:{} with mode {:o}", self.uid, self.gid, self.mode & 0o7777)
    }
}

/// Directories that the container may write.
fn writable(spec: &Spec) -> Vec<RootPath> {
    let fresh = |what: &MountKind| matches!(what, MountKind::Tmpfs { .. } | MountKind::Fresh { .. });
    spec.mounts.iter().filter(|mount| fresh(&mount.what)).map(|mount| mount.at.clone()).collect()
}

fn member(pid: i32, uids: &Map, gids: &Map) -> Option<Member> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let numbers = |name: &str| -> Option<Vec<u32>> {
        Some(field(name)?.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    };
    if field("State:")?.starts_with('Z') {
        return None;
    }
    let pair = |ids: Vec<u32>, map: &Map| Some([map.inside(*ids.first()?), map.inside(*ids.get(1)?)]);
    Some(Member {
        name: field("Name:")?.chars().filter(|char| !char.is_ascii_digit()).collect(),
        uids: pair(numbers("Uid:")?, uids)?,
        gids: pair(numbers("Gid:")?, gids)?,
        groups: numbers("Groups:")?.into_iter().map(|gid| gids.inside(gid)).collect(),
    })
}

fn walk(dir: &Path, at: &Path, left: &mut BTreeMap<PathBuf, Owned>, owned: &dyn Fn(&Metadata) -> Owned) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if left.len() >= MOST_FILES {
            return;
        }
        let Ok(meta) = entry.metadata() else { continue };
        let inside = at.join(entry.file_name());
        left.insert(inside.clone(), owned(&meta));
        if meta.is_dir() {
            walk(&entry.path(), &inside, left, owned);
        }
    }
}

/// A line without what changes from run to run: numbers, and words that contain them.
fn plain(line: &str) -> String {
    let words = line.split_whitespace().filter(|word| !word.contains(|char: char| char.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

fn complains(line: &str) -> bool {
    const WORDS: [&str; 14] = [
        "permitted",
        "permission",
        "denied",
        "eperm",
        "eacces",
        "error",
        "fail",
        "fatal",
        "emerg",
        "alert",
        "crit",
        "cannot",
        "unable",
        "warn",
    ];
    let line = line.to_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}

/// A map of ids into a user namespace (user_namespaces(7)).
#[derive(Debug, Default)]
struct Map(Vec<[u32; 3]>);

impl Map {
    fn read(pid: i32, file: &str) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let row = |line: &str| -> Option<[u32; 3]> {
            let mut words = line.split_whitespace().filter_map(|word| word.parse().ok());
            Some([words.next()?, words.next()?, words.next()?])
        };
        Self(text.lines().filter_map(row).collect())
    }

    /// What an id of ours is inside; itself where it is not mapped.
    fn inside(&self, id: u32) -> u32 {
        let within = |[inside, outside, count]: &[u32; 3]| {
            let offset = id.checked_sub(*outside).filter(|offset| offset < count)?;
            inside.checked_add(offset)
        };
        self.0.iter().find_map(within).unwrap_or(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conduct(lines: &[&str]) -> Conduct {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        Conduct { lines, all_lines: true, ..Conduct::default() }
    }

    #[test]
    fn alike_is_not_worse() {
        let before = conduct(&["12:30 ready on port 80, pid 17", "GET / 200"]);
        let after = conduct(&["12:31 ready on port 80, pid 18", "something else", "GET / 200"]);
        assert_eq!(before.worse(&after), None);
        assert_eq!(Conduct::default().worse(&Conduct::default()), None);
    }

    #[test]
    fn complaints_and_silence_are_worse() {
        let before = conduct(&["ready", "worker started"]);
        let complaint = conduct(&["ready", "worker started", "chown: Operation not permitted"]);
        assert!(before.worse(&complaint).is_some_and(|why| why.contains("not permitted")));
        assert!(complaint.worse(&complaint).is_none());
        assert!(before.worse(&conduct(&["ready"])).is_some_and(|why| why.contains("worker started")));
    }

    #[test]
    fn another_user_and_another_owner_are_worse() {
        let member =
            |uid| Member { name: "nginx".into(), uids: [uid; 2], gids: [uid; 2], groups: BTreeSet::new() };
        let run = |uid, owner| Conduct {
            crew: [member(0), member(uid)].into(),
            left: [("/run/x".into(), Owned { uid: owner, gid: 0, mode: 0o100_644 })].into(),
            ..Conduct::default()
        };
        assert_eq!(run(33, 33).worse(&run(33, 33)), None);
        assert!(run(33, 33).worse(&run(0, 33)).is_some_and(|why| why.contains("user 33")));
        assert!(run(33, 33).worse(&run(33, 0)).is_some_and(|why| why.contains("/run/x")));
        let empty = Conduct { left: BTreeMap::new(), ..run(33, 33) };
        assert!(run(33, 33).worse(&empty).is_some_and(|why| why.contains("/run")));
    }

    #[test]
    fn ids_are_told_as_inside() {
        let map = Map(vec![[0, 100_000, 1000], [5000, 7, 1]]);
        assert_eq!([100_033, 7, 3, 101_000].map(|id| map.inside(id)), [33, 5000, 3, 101_000]);
    }

    #[test]
    fn the_own_process_is_seen() {
        let pid = std::process::id() as i32;
        let seen = member(pid, &Map::default(), &Map::default()).expect("a process");
        assert!(!seen.name.is_empty());
    }
}
