//! Which limits this host can enforce: each is tried on a control group that nobody is in.

use std::path::{Path, PathBuf};

use cgroup::{Group, Layout, Placed, Room, Version};
use spec::limits::{Limits, set};
use spec::resources::Resources;
use spec::{Error, Result};

use crate::disk_of;

/// A word of `[limits]` on this host.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// Why it cannot be enforced here, if it cannot.
    pub obstacle: Option<Error>,
}

/// Settings that limit nobody, for each word.
const HARMLESS: [(&str, &str); 21] = [
    ("cpus", "cpus=1"),
    ("cpu_burst", "cpus=1 cpu_burst=0.5"),
    ("cpu_weight", "cpu_weight=100"),
    ("cpu_idle", "cpu_idle=false"),
    ("cpu_realtime", "cpu_realtime=1000"),
    ("cpuset", "cpuset=0"),
    ("memory_nodes", "memory_nodes=0"),
    ("memory", "memory=1G"),
    ("swap", "memory=1G swap=0"),
    ("memory_high", "memory_high=1G"),
    ("memory_low", "memory_low=1M"),
    ("memory_min", "memory_min=1M"),
    ("oom_group", "oom_group=true"),
    ("tcp_memory", "tcp_memory=1G"),
    ("pids", "pids=100"),
    ("io_weight", "io_weight=100"),
    ("io_read, io_write", "io_write./=1G"),
    ("io_reads, io_writes", "io_writes./=1000000"),
    ("hugepages", "hugepages.2MB=0"),
    ("rdma", ""),
    ("misc", ""),
];

/// All words for control groups. What it makes for that is gone when it returns.
///
/// # Errors
/// When no id can be made up.
pub fn words() -> Result<Vec<Word>> {
    let mut trial = Trial::begin()?;
    let word = |(word, settings): (&'static str, &str)| {
        let wanted = match word {
            "rdma" => {
                device("/sys/class/infiniband", "RDMA device").map(|name| format!("rdma.{name}=max:max"))
            }
            "misc" => counted().map(|name| format!("misc.{name}=max")),
            _ => Ok(settings.to_owned()),
        };
        let obstacle =
            wanted.and_then(|wanted| resources(&wanted)).and_then(|wanted| trial.enforces(&wanted));
        Word { word, obstacle: obstacle.err() }
    };
    Ok(HARMLESS.into_iter().map(word).collect())
}

fn resources(settings: &str) -> Result<Resources> {
    let mut limits = Limits::default();
    for setting in settings.split(' ') {
        limits = limits.merged(match setting.split_once("./=") {
            Some((word, value)) => set(&format!("{word}={{ \"/\" = \"{value}\" }}"))?,
            None => set(setting)?,
        });
    }
    limits.resources(disk_of::path)
}

fn device(directory: &str, what: &str) -> Result<String> {
    let mut found = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let name = found.next().and_then(|entry| entry.file_name().into_string().ok());
    name.ok_or_else(|| Error::unsupported(format!("this host has no {what}")))
}

/// The first thing that the misc controller counts.
fn counted() -> Result<String> {
    let capacity = std::fs::read_to_string("/sys/fs/cgroup/misc.capacity").unwrap_or_default();
    let name = capacity.split_whitespace().next().map(str::to_owned);
    name.ok_or_else(|| Error::unsupported("this host has nothing that the misc controller counts"))
}

/// Where limits are tried.
enum Trial {
    /// On a group that nobody is in.
    Group(spec::Id, Group),
    /// By what this host offers: systemd makes the place for groups with the first container.
    Offered,
    /// Nowhere.
    None,
}

impl Trial {
    fn begin() -> Result<Self> {
        if Group::available().is_err() && !waits_for_systemd() {
            return Ok(Self::None);
        }
        if waits_for_systemd() {
            return Ok(Self::Offered);
        }
        let id = crate::new_id()?;
        Ok(Group::create(id)?.map_or(Self::None, |group| Self::Group(id, group)))
    }

    fn enforces(&mut self, wanted: &Resources) -> Result<()> {
        match self {
            Self::Group(id, group) => group.grant(*id, wanted).map(drop),
            Self::Offered => Placed::check(wanted),
            Self::None => Group::available().and_then(|()| {
                Err(Error::unsupported("no control group can be made here").hint("run tsubo info with sudo"))
            }),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Self::Group(_, group) = self {
            // What is left is removed by the next command that looks.
            let _ = group.remove();
        }
    }
}

/// Whether systemd manages the groups of this host, and has none of ours yet.
fn waits_for_systemd() -> bool {
    let two = Layout::detect()
        .is_ok_and(|layout| layout.hierarchies.iter().all(|hierarchy| hierarchy.version == Version::Two));
    two && Path::new("/run/systemd/system").exists()
        && cgroup::systemd::house::keepers().is_none()
        && !crate::rootless::inside()
}

/// What a container gets where nobody says anything, and what all containers get together.
pub fn defaults() -> (Resources, Resources) {
    let room = Room::of_host();
    (room.one(), room.all())
}

/// The groups that hold those of all containers, whether they are there already or not.
pub fn places() -> Vec<PathBuf> {
    let layout = Layout::detect();
    let hierarchies = layout.iter().flat_map(|layout| layout.needed());
    if waits_for_systemd() {
        return vec!["/sys/fs/cgroup/system.slice/tsubo.scope/tsubo".into()];
    }
    hierarchies.map(|hierarchy| hierarchy.own.join("tsubo")).collect()
}
