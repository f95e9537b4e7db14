//! What the host has once for all containers, and what shows them their own part of it.

use workshop::host::Fact;

/// More open files than memory could ever hold: systemd sets it so.
const PLENTY: u64 = 1 << 40;

/// Looks at the host.
pub(super) fn facts() -> Vec<Fact> {
    [open_files(), Some(lxcfs())].into_iter().flatten().collect()
}

fn open_files() -> Option<Fact> {
    let text = std::fs::read_to_string("/proc/sys/fs/file-max").ok()?;
    let most = text.trim().parse::<u64>().ok()?;
    let enough = most >= PLENTY;
    let value = if enough {
        "as many as memory holds".to_owned()
    } else {
        format!("fs.file-max is {most}; sysctl -w fs.file-max=9223372036854775807 lifts it")
    };
    Some(Fact {
        name: "open files",
        present: enough,
        value,
        matters: "where the host counts them, one container can open all that there are, and then only root opens any; memory limits count them too",
    })
}

fn lxcfs() -> Fact {
    let mounted = lifecycle::mounted_lxcfs();
    let answers = mounted.as_deref().is_some_and(runtime::lxcfs_answers);
    let value = match (&mounted, answers) {
        (Some(place), true) => place.display().to_string(),
        (Some(place), false) => format!("{} does not answer: start lxcfs anew", place.display()),
        (None, _) => "apt-get install lxcfs, and start it".to_owned(),
    };
    Fact {
        name: "lxcfs",
        present: answers,
        value,
        matters: "shows processors and memory inside by the container's limits; without it /proc shows the host's",
    }
}
