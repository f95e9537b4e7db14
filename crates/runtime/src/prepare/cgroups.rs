//! Which control group hierarchies the host has, as a container should see them.

use spec::{Result, ResultExt};

use super::{FileSystem, Hierarchy, Op, Place, c_string};

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
        hierarchies.push(Hierarchy { name: c"unified".to_owned(), make: unified(attributes) });
    }
    Ok(Op::Hierarchies { at, hierarchies })
}

/// The second field of `4:cpu,cpuacct:/path`; empty for version 2.
fn controllers(line: &str) -> Option<&str> {
    line.split(':').nth(1)
}

fn unified(attributes: u64) -> FileSystem {
    FileSystem { kind: c"cgroup2", options: Vec::new(), attributes }
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
    Ok(Hierarchy { name, make: FileSystem { kind: c"cgroup", options, attributes } })
}
