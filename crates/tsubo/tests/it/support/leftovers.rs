//! What a state directory may leave in the kernel, and must not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Mounts below `root`, control groups of `ids`, processes that run in it or name it.
pub fn of(root: &Path, ids: &[String]) -> Vec<String> {
    let mut left = mounts(root);
    left.extend(groups(ids));
    // A keeper may still be on its last steps.
    for _ in 0..100 {
        if processes(root).is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    left.extend(processes(root));
    left
}

fn mounts(root: &Path) -> Vec<String> {
    let info = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let root = root.to_str().expect("UTF-8");
    info.lines().filter(|line| line.contains(root)).map(|line| format!("mount: {line}")).collect()
}

fn groups(ids: &[String]) -> Vec<String> {
    let parents = parents();
    let of_id = |id: &String| parents.iter().map(|parent| parent.join(id)).collect::<Vec<_>>();
    let there = ids.iter().flat_map(of_id).filter(|path| path.exists());
    there.map(|path| format!("control group: {}", path.display())).collect()
}

/// Where the groups of containers are: below our own group, which is another in each hierarchy.
fn parents() -> BTreeSet<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("groups");
    let own: BTreeSet<&str> = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    let mounts = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let mounts = mounts.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
    let below = |mount: PathBuf| -> Vec<PathBuf> {
        own.iter().map(|path| mount.join(path.trim_start_matches('/')).join("tsubo")).collect()
    };
    mounts.flat_map(below).filter(|parent| parent.is_dir()).collect()
}

/// Processes whose root, folder, program or command line is in `root`.
pub fn processes(root: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let numbered = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    numbered
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own)
        .filter(|pid| touches(pid, root))
        .map(|pid| format!("process {pid}: {}", command_line(&pid)))
        .collect()
}

fn touches(pid: &str, root: &Path) -> bool {
    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}"));
    ["root", "cwd", "exe"].iter().any(|name| link(name).is_ok_and(|to| to.starts_with(root)))
        || command_line(pid).contains(root.to_str().expect("UTF-8"))
}

fn command_line(pid: &str) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Everything below a state directory but locks, which stay on purpose, and the store's empty
/// folders for objects, of which there are 256 at most.
pub fn everything(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let empty = || std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
            if entry.file_name() == "locks" || dir.ends_with("store/objects") && empty() {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Control groups of containers, of this house or of others that run beside it.
pub fn all_groups() -> BTreeSet<PathBuf> {
    let children =
        parents().into_iter().flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten().flatten());
    children.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Those that came since `before` and nobody is in. Another test may just be making one.
#[track_caller]
pub fn no_empty_group_since(before: &BTreeSet<PathBuf>) {
    let used =
        |group: &Path| std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|list| !list.is_empty());
    super::until("empty control groups are gone", || {
        all_groups().difference(before).all(|group| used(group) || !group.exists())
    });
}
