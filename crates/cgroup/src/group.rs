//! The group of one container.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use spec::{Error, Id, Result, ResultExt};

use crate::layout::{Hierarchy, Layout, Version};
use crate::place::{enable, fill_cpuset};
use crate::shared;

/// The name of the group that holds those of all containers.
pub(crate) const PARENT: &str = "tsubo";

/// How long a group may take to become empty.
const PATIENCE: Duration = Duration::from_secs(5);

/// The directories of one container's group, as they are also kept on disk: a later command may
/// itself be in another group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub(crate) directories: Vec<(Version, PathBuf)>,
    /// The controllers of each, where that is known; those of version 1 have a hierarchy.
    #[serde(default)]
    pub(crate) controllers: Vec<Vec<String>>,
}

/// Open files by which a new process enters.
#[derive(Debug)]
pub struct Entry {
    /// `tasks` files of version 1, into which the process itself writes `0`.
    pub tasks: Vec<OwnedFd>,
    /// The version 2 group, for CLONE_INTO_CGROUP.
    pub born_in: Option<OwnedFd>,
}

/// The most that was used at once; 0 where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Bytes of memory.
    pub memory: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Group {
    /// Makes the group in every hierarchy that containers need and where that is possible; None
    /// where it is in none ([`available`](Self::available) says why).
    pub fn create(id: Id) -> Result<Option<Self>> {
        Self::create_in(id, Layout::detect()?.needed())
    }

    /// The same for these controllers only. On version 2, where one group is for all, it is made in
    /// any case: it ends the container too.
    ///
    /// # Errors
    /// A controller that this host does not have.
    pub fn create_for(id: Id, controllers: &BTreeSet<String>) -> Result<Option<Self>> {
        let layout = Layout::detect()?;
        if let Some(missing) = controllers.iter().find(|name| !layout.has(name)) {
            return Err(Error::unsupported(format!(
                "there is no group of the controller {missing:?} to be had here"
            ))
            .hint("tsubo info shows the control groups of this host"));
        }
        let wanted = layout.hierarchies.iter().filter(|hierarchy| {
            hierarchy.version == Version::Two
                || hierarchy.controllers.iter().any(|name| controllers.contains(name))
        });
        Self::create_in(id, wanted)
    }

    fn create_in<'a>(id: Id, hierarchies: impl Iterator<Item = &'a Hierarchy>) -> Result<Option<Self>> {
        Self::create_at(id, hierarchies, Path::new(PARENT))
    }

    /// In the groups `below`, from each hierarchy's own on.
    pub(crate) fn create_at<'a>(
        id: Id,
        hierarchies: impl Iterator<Item = &'a Hierarchy>,
        below: &Path,
    ) -> Result<Option<Self>> {
        let mut group = Self::default();
        // Everybody may look at them, as at the host's; root inside is somebody else to the host.
        let _open = OpenMask::new();
        for hierarchy in hierarchies {
            match make(&hierarchy.own, below, id, hierarchy.version) {
                Ok(directory) => {
                    let cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
                    if cpuset {
                        let filled = fill_cpuset(&directory, &hierarchy.own);
                        filled.doing(|| format!("filling {}", directory.display()))?;
                    }
                    group.add(hierarchy, directory);
                }
                Err(error) if error.kind() == spec::ErrorKind::Conflict => return Err(error),
                // Somebody has just removed what it was to be in.
                Err(error) if below != Path::new(PARENT) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(if group.directories.is_empty() { None } else { Some(group) })
    }

    pub(crate) fn add(&mut self, hierarchy: &Hierarchy, directory: PathBuf) {
        let mut controllers = enable::controllers(hierarchy, &directory);
        if controllers.is_empty() && enable::settle_below(&hierarchy.own, &directory) {
            controllers = enable::controllers(hierarchy, &directory);
        }
        self.controllers.push(controllers);
        self.directories.push((hierarchy.version, directory));
    }

    /// Whether this host lets groups be made, and if not, why.
    pub fn available() -> Result<()> {
        let hierarchies = Layout::detect()?.hierarchies;
        if hierarchies.is_empty() {
            return Err(
                Error::unsupported("this host has no control groups").hint("mount cgroup2 on /sys/fs/cgroup")
            );
        }
        // One that somebody else has made is of no use to who may not write to it.
        let writable = |parent: PathBuf| {
            let access = rustix::fs::access(&parent, rustix::fs::Access::WRITE_OK);
            access.map_err(io::Error::from).doing(|| format!("writing to {}", parent.display()))
        };
        let made = hierarchies
            .iter()
            .map(|hierarchy| make_parent(&hierarchy.own, hierarchy.version).and_then(writable));
        made.reduce(|one, other| if one.is_ok() { one } else { other }).unwrap_or(Ok(()))
    }

    /// The ids of all groups that are there, whoever made them, below the caller's own group.
    pub fn ids() -> Result<Vec<Id>> {
        let mut ids: Vec<Id> = Vec::new();
        for hierarchy in Layout::detect()?.hierarchies {
            for directory in shared::all(hierarchy.own.join(PARENT)) {
                let Ok(entries) = fs::read_dir(directory) else { continue };
                let names = entries.flatten().map(|entry| entry.file_name());
                ids.extend(names.filter_map(|name| name.to_str()?.parse::<Id>().ok()));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The group of `id`, wherever it is; if it is nowhere, as [`create`](Self::create) would have
    /// made it. Parts may not be there.
    pub fn of(id: Id) -> Result<Self> {
        let name = id.to_string();
        let directory = |own: &Path| {
            let usual = own.join(PARENT).join(&name);
            if usual.exists() {
                return usual;
            }
            let mut all = shared::all(own.join(PARENT)).into_iter().map(|shared| shared.join(&name));
            all.find(|directory| directory.exists()).unwrap_or(usual)
        };
        let hierarchies = Layout::detect()?.hierarchies;
        let directories = hierarchies.iter().map(|h| (h.version, directory(&h.own))).collect();
        Ok(Self { directories, controllers: Vec::new() })
    }

    /// Opens the ways in.
    pub fn entry(&self) -> Result<Entry> {
        let mut entry = Entry { tasks: Vec::new(), born_in: None };
        for (version, directory) in &self.directories {
            let opening = || format!("opening the control group {}", directory.display());
            match version {
                Version::One => {
                    let tasks = fs::File::options().write(true).open(directory.join("tasks"));
                    entry.tasks.push(tasks.doing(opening)?.into());
                }
                Version::Two => entry.born_in = Some(fs::File::open(directory).doing(opening)?.into()),
            }
        }
        Ok(entry)
    }

    /// Adds the ways in to those of a new process.
    pub fn admit(&self, tasks: &mut Vec<OwnedFd>, born_in: &mut Option<OwnedFd>) -> Result<()> {
        let entry = self.entry()?;
        tasks.extend(entry.tasks);
        *born_in = entry.born_in;
        Ok(())
    }

    /// What was used at most.
    pub fn peak(&self) -> Peak {
        Peak { memory: self.peak_memory(), tasks: self.peak_tasks() }
    }

    /// Of memory, in bytes; 0 where nobody tells.
    pub fn peak_memory(&self) -> u64 {
        self.most(&["memory.peak", "memory.max_usage_in_bytes"])
    }

    /// Of tasks; 0 where nobody tells.
    pub fn peak_tasks(&self) -> u64 {
        self.most(&["pids.peak"])
    }

    fn most(&self, names: &[&str]) -> u64 {
        let mut files =
            self.directories.iter().flat_map(|(_, dir)| names.iter().map(move |name| dir.join(name)));
        files.find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).unwrap_or(0)
    }

    /// The file of this name in the first of its directories that has one.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.directories.iter().map(|(_, directory)| directory.join(name)).find(|path| path.is_file())
    }

    /// The host's pids of all processes in it.
    pub fn processes(&self) -> Vec<i32> {
        let lists =
            self.directories.iter().filter_map(|(_, dir)| fs::read_to_string(dir.join("cgroup.procs")).ok());
        let mut pids: Vec<i32> = lists
            .flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// How long it has been there at least, in every hierarchy; zero where nothing tells.
    pub fn age(&self) -> Duration {
        let times = self.directories.iter().filter_map(|(_, dir)| fs::metadata(dir).ok()?.modified().ok());
        times.max().and_then(|youngest| youngest.elapsed().ok()).unwrap_or_default()
    }

    /// Kills every process in it and waits until none is left.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (_, directory) in self.directories.iter().filter(|(version, _)| *version == Version::Two) {
                // Absent before Linux 5.14; the loop below does without.
                let _ = fs::write(directory.join("cgroup.kill"), "1");
            }
            let pids = self.processes();
            if pids.is_empty() {
                return Ok(());
            }
            pids.into_iter().for_each(|pid| self.kill_member(pid));
            // The freezer of version 1 keeps what it holds from dying.
            self.thaw()?;
            if Instant::now() > deadline {
                return Err(Error::internal(format!("processes {:?} do not die", self.processes())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// By pidfd, after another look: the number may be somebody else's by now.
    fn kill_member(&self, pid: i32) {
        let Some(number) = Pid::from_raw(pid) else { return };
        if let Ok(process) = rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            if self.processes().contains(&pid) {
                let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
            }
        }
    }

    /// Removes it with whoever is still in it. That is mostly nobody any more: asking first would
    /// cost more than the removal.
    pub fn end(&self) -> Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) => error.kind() == ErrorKind::NotFound,
            Ok(()) => true,
        };
        if self.directories.iter().all(|(_, directory)| gone(fs::remove_dir(directory))) {
            self.leave_shared();
            return Ok(());
        }
        self.kill()?;
        self.remove()
    }

    /// Removes it; what is gone already is no error. All hierarchies are tried before one fails.
    pub fn remove(&self) -> Result<()> {
        let results: Vec<_> =
            self.directories.iter().map(|(_, directory)| (directory, remove(directory))).collect();
        for (directory, result) in results {
            result.doing(|| format!("removing the control group {}", directory.display()))?;
        }
        self.leave_shared();
        Ok(())
    }

    fn leave_shared(&self) {
        self.directories.iter().for_each(|(_, directory)| shared::remove_above(directory));
    }
}

/// What is made meanwhile may be read by everybody.
struct OpenMask(rustix::fs::Mode);

impl OpenMask {
    fn new() -> Self {
        Self(rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022)))
    }
}

impl Drop for OpenMask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

pub(crate) fn make(own: &Path, below: &Path, id: Id, version: Version) -> Result<PathBuf> {
    let directory = own.join(below).join(id.to_string());
    let made = match fs::create_dir(&directory) {
        // Only the first container of a host finds it missing.
        Err(error) if error.kind() == ErrorKind::NotFound && below == Path::new(PARENT) => {
            make_parent(own, version)?;
            fs::create_dir(&directory)
        }
        // A keeper that was lost has left it. Who is in it keeps it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_dir(&directory).and_then(|()| fs::create_dir(&directory)).map_err(|_| error)
        }
        made => made,
    };
    made.doing(|| format!("making the control group {}", directory.display()))?;
    Ok(directory)
}

pub(crate) fn make_parent(own: &Path, version: Version) -> Result<PathBuf> {
    let parent = own.join(PARENT);
    match fs::create_dir(&parent) {
        Ok(()) => crate::room::bound(own, &parent, version),
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).doing(|| format!("making the control group {}", parent.display()));
        }
        _ => {}
    }
    Ok(parent)
}

/// A group whose last process has just gone can be busy for a moment.
fn remove(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // An ordinary user, for whom none was made: what cannot even be looked at is not ours.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && fs::metadata(directory).is_err() => {
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                let below = fs::read_dir(directory).into_iter().flatten().flatten();
                for child in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                    remove(&child.path())?;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}
