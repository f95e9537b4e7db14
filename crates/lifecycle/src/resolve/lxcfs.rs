//! What a process reads of processors and memory, by its own limits: where lxcfs is on the host, its
//! files lie over those of the kernel, which know of no control groups. Used when it is there, never
//! required: the runtime leaves out what nobody serves when the container starts.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use spec::container::{Mount, MountFlags, MountKind, Spec};
use spec::{Result, RootPath};

use super::Resolving;
use super::reason::Reasons;

/// Where it is mounted, wherever it is packaged.
const LXCFS: &str = "/var/lib/lxcfs";

/// What it shows, and what is of use to who is no administrator. The first one is asked whether
/// anybody answers, and costs the least.
const FILES: [&str; 8] = [
    "proc/uptime",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/stat",
    "proc/loadavg",
    "proc/swaps",
    "proc/diskstats",
    "sys/devices/system/cpu/online",
];

/// Where lxcfs is mounted on this host, if it is: whether it still answers is another question.
pub fn mounted_lxcfs() -> Option<PathBuf> {
    // By what the kernel knows: who serves it is not asked, and so cannot make us wait.
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let found = rustix::fs::statx(CWD, LXCFS, flags, StatxFlags::empty()).ok()?;
    found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT).then(|| LXCFS.into())
}

impl Resolving<'_> {
    /// Its files, over those that are shown.
    pub(super) fn lxcfs(&self, spec: &Spec, reasons: &mut Reasons) -> Result<Vec<Mount>> {
        const OTHERWISE: &str = "--isolation lxcfs=false";
        let Some(place) = mounted_lxcfs().filter(|_| spec.cgroup) else { return Ok(Vec::new()) };
        if let Some((false, whose)) = self.layers.get(|layer| layer.lxcfs) {
            reasons.add("processors and memory inside", "the host's", whose, OTHERWISE);
            return Ok(Vec::new());
        }
        let without = self.layers.without();
        let mut mounts = Vec::new();
        for file in FILES {
            let at: RootPath = format!("/{file}").parse()?;
            let shown = spec.mounts.iter().any(|mount| at.is_within(&mount.at) && !mount.at.is_root());
            let left_out = without.iter().any(|left| at.is_within(left));
            if shown && !left_out && Path::new("/").join(file).exists() {
                let what = MountKind::Lxcfs { source: place.join(file) };
                mounts.push(Mount { at, what, flags: MountFlags::default() });
            }
        }
        if !mounts.is_empty() {
            reasons.add(
                "processors and memory inside",
                "by its own limits",
                "lxcfs is on this host, and is used if it answers when the container starts",
                OTHERWISE,
            );
        }
        Ok(mounts)
    }
}
