//! What a test may leave behind, counted around every round: files, mounts, processes, control groups.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::shell::Result;

/// What is on its way out may take so long: control groups that are empty go a moment later.
const PATIENCE: Duration = Duration::from_secs(8);

/// A place of its own for one round, on disk and in each hierarchy of control groups.
pub(super) struct Ground {
    directory: PathBuf,
    groups: Vec<PathBuf>,
    /// In the environment of everything that the test starts itself.
    mark: String,
    run: BTreeSet<PathBuf>,
}

impl Ground {
    /// Makes it.
    pub(super) fn new(number: u32) -> Result<Self> {
        let mark = format!("soak-{}-{number}", std::process::id());
        // Short: sockets lie below it.
        let directory = PathBuf::from(format!("/var/tmp/xs{}-{number}", std::process::id()));
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777))?;
        let groups = hierarchies().into_iter().map(|parent| parent.join(&mark));
        // One that cannot be had is not looked at.
        let groups = groups.filter(|group| fs::create_dir(group).is_ok()).collect();
        Ok(Self { directory, groups, mark, run: run() })
    }

    /// A command that is run in it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        let enter: String =
            self.groups.iter().map(|group| format!("echo $$ > {}/cgroup.procs\n", group.display())).collect();
        command.args(["-c", &format!("{enter}exec \"$0\" \"$@\"")]).arg(program);
        // Here a test may take its time, and other moments than the last time.
        command.env("TMPDIR", &self.directory).env("TSUBO_SOAK", &self.mark);
        command
    }

    /// What is left of a process that was run in it, and is removed.
    pub(super) fn left(&self, pid: u32) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.look(pid);
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn look(&self, pid: u32) -> Vec<String> {
        let mut left = Vec::new();
        let mut add = |what: &str, which: &str| left.push(format!("{what} {which}"));
        // A folder of tests that share their images is left to the next of them.
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            add("file", &entry.path().to_string_lossy());
        }
        let place = self.directory.to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts.lines().filter(|line| line.contains(&place)).for_each(|line| add("mount", line));
        // `tsubo` keeps the parent of its containers' groups for the next ones.
        let parents: Vec<PathBuf> = self.groups.iter().map(|group| group.join("tsubo")).collect();
        let groups = self.groups.iter().flat_map(|group| below(group));
        for group in groups.filter(|group| !parents.contains(group)) {
            add("control group", &group.to_string_lossy());
        }
        // Those of `tsubo-oci` lie where their bundles say, under a name with the test's number.
        let name = format!("ocit{pid}x");
        let all =
            hierarchies().into_iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
        for entry in all.filter(|entry| entry.file_name().to_string_lossy().contains(&name)) {
            add("control group", &entry.path().to_string_lossy());
        }
        for process in self.processes() {
            add("process", &process);
        }
        // Others on this host may have come meanwhile: only what a test of ours would make counts.
        for path in run().difference(&self.run).filter(|path| path.to_string_lossy().contains(&name)) {
            add("file", &path.to_string_lossy());
        }
        left
    }

    /// Those that have the mark, or are in the groups.
    fn processes(&self) -> Vec<String> {
        let numbered = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = numbered.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let has = |pid: &str, file: &str| {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            text.windows(self.mark.len()).any(|part| part == self.mark.as_bytes())
        };
        let lives = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        names
            .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
            .filter(|pid| lives(pid) && (has(pid, "environ") || has(pid, "cgroup")))
            .map(|pid| {
                format!(
                    "{pid} {}",
                    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim()
                )
            })
            .collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What is left was told.
        let _ = fs::remove_dir_all(&self.directory);
        for group in &self.groups {
            below(group).iter().rev().chain([group]).for_each(|group| drop(fs::remove_dir(group)));
        }
    }
}

/// Our own group in each hierarchy. One of CPU sets has no use before it is told which.
fn hierarchies() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let place = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let mount = match controllers {
            "" => "unified",
            named => named.trim_start_matches("name="),
        };
        let place = Path::new("/sys/fs/cgroup").join(mount).join(path);
        (!controllers.contains("cpuset") && place.is_dir()).then_some(place)
    };
    own.lines().filter_map(place).collect()
}

/// Every group below one, the outer ones first.
fn below(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.push(path.clone());
            found.extend(below(&path));
        }
    }
    found
}

/// What is in /run, three levels deep.
fn run() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![(PathBuf::from("/run"), 3)];
    while let Some((directory, depth)) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push((entry.path(), depth - 1));
            }
            found.insert(entry.path());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_seen() {
        let ground = Ground::new(u32::MAX).expect("a place");
        let mut child = ground.command(Path::new("/bin/sleep")).arg("1000").spawn().expect("sleep");
        fs::write(ground.directory.join("file"), "").expect("file");
        let left = || ground.look(child.id()).join("\n");
        for _ in 0..100 {
            if left().contains("sleep") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let seen = left();
        child.kill().and_then(|()| child.wait()).expect("killed");
        assert!(seen.contains("process") && seen.contains("file"), "{seen}");
        fs::remove_file(ground.directory.join("file")).expect("file");
        assert_eq!(ground.left(child.id()), [""; 0]);
        // The parent of containers' groups is nothing that was left, and it goes with the place.
        let groups = ground.groups.clone();
        groups.iter().for_each(|group| fs::create_dir(group.join("tsubo")).expect("group"));
        assert_eq!(ground.left(child.id()), [""; 0]);
        drop(ground);
        assert!(groups.iter().all(|group| !group.exists()));
    }
}
