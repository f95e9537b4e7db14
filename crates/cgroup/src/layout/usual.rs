//! Hierarchies where every distribution mounts them: a look at each place takes a few microseconds,
//! the list of all mounts of a host ten times as long, and more with every mount.

use std::path::Path;

use super::{Hierarchy, Layout, UNUSED, Version};

const TOP: &str = "/sys/fs/cgroup";

/// CGROUP_SUPER_MAGIC.
const ONE: u64 = 0x0027_e0eb;
/// CGROUP2_SUPER_MAGIC.
const TWO: u64 = 0x6367_7270;

/// What /proc/self/cgroup names, if all of it that is of use is mounted as a whole at the usual place;
/// None where anything is otherwise, and only a look at all mounts can tell.
pub(super) fn layout(groups: &str) -> Option<Layout> {
    at(Path::new(TOP), groups, is_root)
}

fn at(top: &Path, groups: &str, is_root: impl Fn(Version, &Path) -> bool) -> Option<Layout> {
    let mut hierarchies = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (list, path) = (fields.next()?, fields.next()?);
        let controllers: Vec<String> =
            list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if controllers.iter().any(|name| UNUSED.contains(&name.as_str())) {
            continue;
        }
        let (version, places) = match list {
            "" => (Version::Two, vec![top.to_owned(), top.join("unified")]),
            list => (Version::One, vec![top.join(list)]),
        };
        let point = places.into_iter().find(|place| is_root(version, place))?;
        let own = point.join(path.strip_prefix('/')?);
        hierarchies.push(Hierarchy { version, controllers, own });
    }
    hierarchies.sort_by_key(|hierarchy| hierarchy.version == Version::Two);
    Some(Layout { hierarchies })
}

/// Whether a whole hierarchy of this version is mounted there: the first directory of one has the
/// number 1, and no group has. So it is not covered by anything either.
fn is_root(version: Version, place: &Path) -> bool {
    let kind = rustix::fs::statfs(place).map(|status| status.f_type as u64);
    let wanted = match version {
        Version::One => ONE,
        Version::Two => TWO,
    };
    kind == Ok(wanted) && rustix::fs::stat(place).is_ok_and(|status| status.st_ino == 1)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn own(layout: Option<Layout>) -> Vec<PathBuf> {
        layout.expect("usual").hierarchies.into_iter().map(|hierarchy| hierarchy.own).collect()
    }

    #[test]
    fn both_versions_are_found_where_they_usually_are() {
        let top = Path::new("/c");
        let groups = "5:name=systemd:/\n4:cpu,cpuacct:/x/y\n3:cpuset:/\n2:memory:/\n0::/a\n";
        let everywhere = |_, place: &Path| place != top;
        let expected = ["/c/cpu,cpuacct/x/y", "/c/cpuset/", "/c/memory/", "/c/unified/a"].map(PathBuf::from);
        assert_eq!(own(at(top, groups, everywhere)), expected);
        assert_eq!(own(at(top, "0::/user.slice\n", |_, _| true)), [PathBuf::from("/c/user.slice")]);
    }

    #[test]
    fn what_is_elsewhere_needs_another_look() {
        let top = Path::new("/c");
        assert!(at(top, "2:memory:/\n1:pids:/\n", |_, place| place != top.join("pids")).is_none());
        assert!(at(top, "0::/\n", |_, _| false).is_none());
        assert!(at(top, "nonsense\n", |_, _| true).is_none());
    }

    #[test]
    fn it_says_the_same_as_the_list_of_all_mounts() {
        let read = |path: &str| std::fs::read_to_string(path).expect("proc");
        let groups = read("/proc/self/cgroup");
        let Some(mut usual) = layout(&groups) else {
            println!("SKIPPED: this host mounts its control groups elsewhere");
            return;
        };
        let mut listed = Layout::parse(&read("/proc/self/mountinfo"), &groups);
        for layout in [&mut usual, &mut listed] {
            layout.hierarchies.sort_by(|a, b| a.own.cmp(&b.own));
        }
        assert_eq!(usual, listed);
    }
}
