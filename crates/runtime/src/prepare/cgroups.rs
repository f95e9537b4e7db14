//! Which control group hierarchies the host has, as a container should see them.

use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use spec::{Error, Result, ResultExt};

use super::{FileSystem, Hierarchy, Op, Place, Prepared, View, c_path, c_string};

pub(super) fn mount(at: Place, attributes: u64) -> Result<Op> {
    let listed = std::fs::read_to_string("/proc/self/cgroup").doing(|| "reading /proc/self/cgroup")?;
    let first_version: Vec<&str> =
        listed.lines().filter_map(controllers).filter(|list| !list.is_empty()).collect();
    if first_version.is_empty() {
        return Ok(Op::FileSystem { at, make: unified(attributes) });
    }
    let mut hierarchies =
        first_version.into_iter().map(|list| hierarchy(list, attributes)).collect::<Result<Vec<_>>>()?;
    if listed.lines().any(|line| line.starts_with("0::")) {
        hierarchies.push(Hierarchy { name: c"unified".to_owned(), view: View::New(unified(attributes)) });
    }
    Ok(Op::Hierarchies { at, hierarchies })
}

/// Where hosts have their hierarchies.
const TOP: &str = "/sys/fs/cgroup";

/// The groups that the process enters, each in the place of its hierarchy, and nothing above them.
pub(super) fn own(at: Place, attributes: u64, prepared: &Prepared) -> Result<Op> {
    let tasks = prepared.ops.iter().find_map(|op| match op {
        Op::Groups { tasks, .. } => Some(tasks),
        _ => None,
    });
    let mut groups = Vec::new();
    for file in tasks.into_iter().flatten() {
        groups.push(group_of(file.as_raw_fd())?);
    }
    groups.extend(prepared.born_in.map(directory).transpose()?);
    let none = || {
        Error::unsupported("the container's own control groups are to be shown, and it has none")
            .hint("give it a cgroup namespace, or leave the mount out")
    };
    let mut hierarchies = Vec::new();
    for group in &groups {
        let below = group.strip_prefix(TOP).map_err(|_| none())?;
        let name = below.components().next().ok_or_else(none)?;
        let version_2 = !Path::new(TOP).join(name).join("tasks").exists() && groups.len() == 1;
        if version_2 && Path::new(TOP).join("cgroup.controllers").exists() {
            return Ok(Op::GroupBind { at, group: c_path(group)?, attributes });
        }
        let name = c_string(name.as_os_str().as_bytes())?;
        hierarchies.push(Hierarchy { name, view: View::Of(c_path(group)?, attributes) });
    }
    if hierarchies.is_empty() { Err(none()) } else { Ok(Op::Hierarchies { at, hierarchies }) }
}

/// The directory of an open `tasks` or `cgroup.procs` file.
fn group_of(file: i32) -> Result<PathBuf> {
    let path = directory(file)?;
    Ok(path.parent().unwrap_or(&path).to_owned())
}

fn directory(file: i32) -> Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{file}")).doing(|| "asking for the path of a control group")
}

/// The second field of `4:cpu,cpuacct:/path`; empty for version 2.
fn controllers(line: &str) -> Option<&str> {
    line.split(':').nth(1)
}

fn unified(attributes: u64) -> FileSystem {
    FileSystem { kind: c"cgroup2".into(), options: Vec::new(), attributes }
}

fn hierarchy(controllers: &str, attributes: u64) -> Result<Hierarchy> {
    let options = match controllers.strip_prefix("name=") {
        // A hierarchy without a controller, known by a name: systemd's.
        Some(name) => {
            vec![(c"none".to_owned(), None), (c"name".to_owned(), Some(c_string(name.as_bytes())?))]
        }
        None => {
            controllers.split(',').map(|one| Ok((c_string(one.as_bytes())?, None))).collect::<Result<_>>()?
        }
    };
    let name = c_string(controllers.strip_prefix("name=").unwrap_or(controllers).as_bytes())?;
    Ok(Hierarchy { name, view: View::New(FileSystem { kind: c"cgroup".into(), options, attributes }) })
}
