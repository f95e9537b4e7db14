//! A root with nothing but a static program, compiled and laid out; what peers leave behind goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::house;
use crate::shell::{self, Result};

/// What every bench of runtimes stands on.
pub(crate) struct Ground {
    pub(crate) dir: PathBuf,
    /// The static program is in `bin/idle`.
    pub(crate) root: PathBuf,
    pub(crate) floor: PathBuf,
    /// Control groups that were there before: all others that peers leave behind are removed.
    foreign: Vec<PathBuf>,
    /// Services that a peer needs, ended with us.
    pub(super) services: std::cell::RefCell<Vec<Child>>,
}

impl Ground {
    /// Compiled and laid out in `dir`.
    pub(crate) fn lay(dir: &Path) -> Result<Self> {
        let ground = Self {
            root: dir.join("root"),
            floor: dir.join("floor"),
            dir: dir.to_owned(),
            foreign: groups(),
            services: Default::default(),
        };
        ground.plant(&ground.root)?;
        let sources = ["floor.c", "parts.c", "groups.c", "mounts.c", "guard.c", "wire.c", "answer.c"];
        compile("floor", &sources, &ground.floor)?;
        Ok(ground)
    }

    /// Another such root: some peers make directories in theirs.
    pub(crate) fn plant(&self, root: &Path) -> Result {
        for inside in ["bin", "proc", "sys", "dev/pts", "dev/shm", "dev/mqueue"] {
            fs::create_dir_all(root.join(inside))?;
        }
        compile("floor", &["idle.c"], &root.join("bin/idle"))
    }

    /// A path below the directory, for a command line.
    pub(crate) fn at(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// What the names of our containers and control groups begin with.
    pub(crate) fn prefix() -> String {
        format!("tsubo-bench-{}", std::process::id())
    }
}

/// Names that some peers give to groups for all their containers, and leave there.
const SHARED: [&str; 3] = ["lxc.pivot", "libpod_parent", "default"];

fn groups() -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let groups = hierarchies.filter_map(|h| fs::read_dir(h.path()).ok()).flatten().flatten();
    groups.map(|g| g.path()).filter(|g| g.is_dir()).collect()
}

/// Whether a group was made by us, or by a peer for us.
fn is_ours(group: &Path) -> bool {
    let name = group.file_name().unwrap_or_default().to_string_lossy();
    name.contains(&Ground::prefix()) || SHARED.contains(&&*name)
}

impl Drop for Ground {
    fn drop(&mut self) {
        for mut service in self.services.borrow_mut().drain(..) {
            let _ = Command::new("kill").arg(service.id().to_string()).status();
            let _ = service.wait();
        }
        for group in groups().iter().filter(|g| is_ours(g) && !self.foreign.contains(g)) {
            // Of a floor's eight the first removes all, and what runs in them.
            let floors = group.file_name().filter(|name| is_floors(name) && group.exists());
            if let Some(name) = floors {
                let _ = Command::new(&self.floor).arg("-k").arg(name).stderr(Stdio::null()).status();
            }
            let _ = fs::remove_dir(group.join("conmon"));
            let _ = fs::remove_dir(group);
        }
    }
}

fn is_floors(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(&format!("{}-floor", Ground::prefix()))
}

/// Makes a static program of sources in a folder of `bench/`.
pub(crate) fn compile(folder: &str, sources: &[&str], to: &Path) -> Result {
    let from = house::top().join("bench").join(folder);
    let sources = sources.iter().map(|s| from.join(s));
    shell::run(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(to).args(sources).arg("-lm"))
}
