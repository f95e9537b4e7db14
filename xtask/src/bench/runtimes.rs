//! Who starts the same static program in the same namespaces: tsubo, the floor and the peers.

pub(crate) mod containerd;
mod floor;
mod ground;
mod lxc;
mod oci;
mod podman;
mod tsubo;

pub(crate) use floor::parts as floor_of;
pub(crate) use ground::{Ground, compile};
pub(crate) use oci::bundle;
pub(crate) use podman::line as podman_line;
pub(crate) use tsubo::{Tsubo, has_flag};

use std::path::Path;

use super::State;
use crate::shell::{self, Result};

/// A command line. `{}` in a word stands for a number, so that each container has a name of its own.
pub(crate) type Words = Vec<String>;

/// One way of starting containers, and what can be asked of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    /// What the timer itself is started by.
    pub(crate) wrapper: Words,
    /// Runs a program that does nothing, until its end.
    pub(crate) run: Words,
    /// Leaves an idle container running.
    pub(crate) detach: Option<Words>,
    /// Leaves one running that says what it hears.
    pub(crate) echo: Option<Words>,
    pub(crate) create: Option<Words>,
    pub(crate) start: Option<Words>,
    /// Ends and removes a container.
    pub(crate) remove: Option<Words>,
    /// Has a running container say a line.
    pub(crate) exec: Option<Words>,
    pub(crate) attach: Option<Words>,
    /// So heavy that fewer containers must do.
    pub(crate) heavy: bool,
}

/// The floors and of the peers those that are installed, after tsubo; who is missing is said.
pub(crate) fn all(state: &State, ground: &Ground) -> Result<Vec<Runtime>> {
    let mut all = vec![Tsubo::install(state, ground)?.runtime()];
    all.extend(floor::all(ground));
    all.extend(oci::all(ground)?);
    all.push(podman::podman(ground)?);
    all.push(lxc::lxc(ground)?);
    all.push(containerd::containerd(ground)?);
    all.retain(is_installed);
    Ok(all)
}

/// Those of `all` that are called one of these names, in that order.
pub(crate) fn select(all: &[Runtime], names: &[&str]) -> Vec<Runtime> {
    names.iter().filter_map(|name| all.iter().find(|r| r.name == *name)).cloned().collect()
}

fn is_installed(runtime: &Runtime) -> bool {
    let program = runtime.run.first().or(runtime.detach.as_ref().and_then(|d| d.first()));
    let there = program.is_some_and(|p| Path::new(p).is_absolute() || shell::has(p));
    if !there {
        println!("SKIPPED: {}: it is not installed", runtime.name);
    }
    there
}

/// Splits a command line at its blanks.
pub(crate) fn words(line: &str) -> Words {
    line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// crun refuses a host with v1 controllers and a unified hierarchy beside them; in a mount namespace
/// of its own the latter can be covered. Nothing on other hosts.
pub(crate) fn pure_v1() -> Words {
    if !Path::new("/sys/fs/cgroup/unified").exists() {
        return Vec::new();
    }
    let script = "mount -t tmpfs none /sys/fs/cgroup/unified && exec \"$@\"";
    ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"].map(str::to_owned).to_vec()
}
