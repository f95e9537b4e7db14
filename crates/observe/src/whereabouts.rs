//! Where processes are, for paths of those that have ended meanwhile.
//!
//! eBPF tells of an open when it is over, and its path may be relative. Who ends by exit_group(2)
//! waits until that was read; a thread may end before, and so may whoever is killed. A thread's
//! process knows where the thread was. Of a process that was killed it is remembered where it was
//! seen last: at its exec, or at its first relative path. What is unknown even so makes the run
//! invalid, unless the container is being stopped anyway: then everybody is killed, and what they
//! did in their last milliseconds is no part of the service's work.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use spec::observation::Stage;

use crate::mounts::handle;
use crate::named::Named;
use crate::resolve::{Walk, walk, walk_from};
use crate::serve::{Server, broken};

/// The root and the working directory of each process, as long as it keeps them.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts(HashMap<i32, (OwnedFd, OwnedFd)>);

/// Each takes two descriptors of ours.
const MOST: usize = 128;

impl Whereabouts {
    /// Process `process` lives and will stay where it is until it says otherwise.
    pub(crate) fn learn(&mut self, process: i32) {
        let here = |name: &str| handle(&format!("/proc/{process}/{name}")).ok();
        if let (Some(root), Some(cwd)) = (here("root"), here("cwd")) {
            if self.0.len() >= MOST {
                self.0.clear();
            }
            self.0.insert(process, (root, cwd));
        }
    }

    /// Thread `tid` changes its process's directory. Which process that is is not known of all
    /// but the first thread.
    pub(crate) fn moved(&mut self, tid: i32) {
        if self.0.remove(&tid).is_none() {
            self.0.clear();
        }
    }

    /// A process ends, or at least one of its threads does.
    pub(crate) fn left(&mut self, tid: i32) {
        self.0.remove(&tid);
    }

    /// Roots may change for anybody.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn of(&self, process: i32) -> Option<(OwnedFd, OwnedFd)> {
        let (root, cwd) = self.0.get(&process)?;
        Some((root.try_clone().ok()?, cwd.try_clone().ok()?))
    }
}

impl Server {
    /// Walks the path of an open that is over, whose thread may be too.
    pub(crate) fn walk_afterwards(&mut self, named: &Named) -> Option<Walk> {
        let Named { process, path, follow, .. } = named;
        let relative = path.first() != Some(&b'/');
        // Where all have the same root it does not matter whether the process lives.
        if !relative && !self.views_differ {
            return walk(&mut self.places, *process, "root", path, *follow, false);
        }
        // One that lives when it is asked may have ended before its directory is entered.
        let places = &mut self.places;
        let found = there(named).find_map(|tid| walk(places, tid, "cwd", path, *follow, false));
        if let Some(found) = found {
            if relative && !self.whereabouts.0.contains_key(process) {
                self.whereabouts.learn(*process);
            }
            return Some(found);
        }
        let from = self.whereabouts.of(*process)?;
        walk_from(&mut self.places, *process, from, path, *follow)
    }

    /// What an open used cannot be told any more.
    pub(crate) fn unknown(&mut self, named: &Named) -> spec::Result<()> {
        let path = String::from_utf8_lossy(&named.path);
        let what = format!("opened {path} and ended before it was known from where");
        if self.stage != Stage::Stop && named.inside && self.places.init_lives() {
            return Err(broken(
                "resolving a relative path",
                std::io::Error::other(format!("a process {what}")),
            ));
        }
        // With a pid namespace of its own in the container, this may be anybody's on the machine.
        if named.outcome == Some(0) {
            self.warn(named.process, &what);
        }
        Ok(())
    }
}

/// The threads that are where the one was that opened, as far as they live: itself, its process's
/// first, any other.
fn there(named: &Named) -> impl Iterator<Item = i32> + use<> {
    let process = named.process;
    let others = std::iter::once_with(move || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        tasks.filter_map(|task| task.file_name().to_str()?.parse().ok())
    });
    [named.tid, process].into_iter().chain(others.flatten())
}
