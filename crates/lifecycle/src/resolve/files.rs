//! What is mounted on top of the image: fresh directories, volumes, files and devices of the host.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use spec::container::{self, Device, DeviceKind, Mount, MountFlags, MountKind, Namespace, Root, Spec};
use spec::isolation::{DeviceWord, MountWord};
use spec::portable::{Portable, is_reserved, volume_name};
use spec::{Error, Result, RootPath};

use super::reason::Reasons;
use super::{Bind, Resolving, RunOptions};

/// Files of the host that a package may ask for.
const HOST_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

impl Resolving<'_> {
    pub(super) fn files(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        if spec.owns(Namespace::Mount) && spec.root != Root::Host {
            spec.mounts = self.kernel_mounts(spec, reasons)?;
            let figures = self.lxcfs(spec, reasons)?;
            spec.mounts.extend(figures);
            spec.mounts.extend(self.image_mounts()?);
        } else {
            reasons.add(
                "mounts",
                "none",
                "it has no mounts of its own to put them in",
                "--namespace mount=own",
            );
        }
        // What is given goes in the place of what would be fresh there.
        spec.mounts.retain(|mount| !self.options.binds.iter().any(|bind| bind.at == mount.at));
        spec.mounts.extend(binds(&self.options.binds)?);
        for word in self.layers.mounts() {
            let mut mount = word.mount()?;
            if let MountKind::Bind(bind) = &mut mount.what {
                bind.source = existing(&bind.source)?;
            }
            if mount.what == (MountKind::Cgroup { writable: true }) && self.would_rule(spec, &word) {
                mount.what = MountKind::Cgroup { writable: false };
                reasons.add(
                    "control groups",
                    "read-only",
                    "with the host's users it could lift its own limits, and change the host's groups",
                    "--mount type=cgroup,target=/sys/fs/cgroup,rw",
                );
                reasons.notable();
            }
            spec.mounts.retain(|other| other.at != mount.at);
            spec.mounts.push(mount);
        }
        spec.mounts.sort_by_key(|mount| mount.at.as_bytes().iter().filter(|byte| **byte == b'/').count());
        spec.devices = self.layers.all(|layer| &layer.devices).iter().map(device).collect::<Result<_>>()?;
        self.tell(spec, reasons);
        self.hidden(spec, reasons)
    }

    /// Whether a mount of control groups that nobody has asked for by a flag would be the host's root's.
    fn would_rule(&self, spec: &Spec, word: &MountWord) -> bool {
        spec.users.is_none() && !self.options.isolation.mounts.contains(word)
    }

    /// Directories that were seen to be written, volumes, and files of the host that it asks for.
    fn image_mounts(&self) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        if !self.writable_root() {
            for at in outermost(&self.portable.writable) {
                mounts.push(fresh(at));
            }
        }
        mounts.extend(volumes(self.portable, self.options));
        mounts.extend(self.portable.host_files.iter().filter_map(|path| host_file(self.tree, path)));
        Ok(mounts)
    }

    fn tell(&self, spec: &Spec, reasons: &mut Reasons) {
        let (state, why) = match (&spec.root, self.layers.get(|layer| layer.writable_root)) {
            (Root::Scratch { .. }, Some((_, whose))) => ("writable, in memory", whose),
            (Root::Scratch { .. }, None) if self.options.writable_root => {
                ("writable, in memory", "asked for")
            }
            (Root::Scratch { .. }, None) => ("writable, in memory", "observed: it writes all over the root"),
            (Root::Host, _) => ("the host's", "asked for"),
            _ => ("read-only", "default; what was seen to be written is fresh at each start"),
        };
        reasons.add("root", state, why, "--writable");
        let devices: Vec<String> = spec.devices.iter().map(|device| device.at.to_string()).collect();
        let (state, why) = if devices.is_empty() {
            ("the usual ones".to_owned(), "default")
        } else {
            (format!("and {}", devices.join(" ")), "asked for")
        };
        reasons.add("devices", state, why, "--device PATH");
    }
}

/// Looked at now, and again when it is given: what it is may not change in between.
fn device(word: &DeviceWord) -> Result<Device> {
    let meta = std::fs::metadata(&word.source)
        .map_err(|cause| Error::io(format!("cannot give the device {}", word.source.display()), cause))?;
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(Error::user(format!("{} is no device", word.source.display()))
            .hint("files and directories are shown with -v"));
    }
    let kind = DeviceKind {
        block: kind.is_block_device(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
    };
    Ok(Device { source: word.source.clone(), at: word.at.clone(), read_only: word.read_only, kind })
}

fn existing(source: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(source).map_err(|cause| {
        Error::io(format!("cannot show {} in the container", source.display()), cause).hint("make it first")
    })
}

/// The directories that do not lie in another of them.
fn outermost(dirs: &BTreeSet<RootPath>) -> Vec<RootPath> {
    let inner = |dir: &RootPath| dir.ancestors().any(|above| dirs.contains(&above));
    dirs.iter().filter(|dir| !inner(dir)).cloned().collect()
}

fn fresh(at: RootPath) -> Mount {
    let shared = matches!(at.as_bytes(), b"/tmp" | b"/var/tmp" | b"/run/lock");
    let mode = if shared { 0o1777 } else { 0o755 };
    Mount { at, what: MountKind::Fresh { mode }, flags: MountFlags::default() }
}

/// Declared volumes, but for those that are given on the command line.
fn volumes(portable: &Portable, options: &RunOptions) -> Vec<Mount> {
    let given = |at: &&RootPath| !options.binds.iter().any(|bind| bind.at == **at);
    let mount = |at: &RootPath| match &options.volumes {
        Some(dir) => bound(dir.join(volume_name(at)), at.clone(), false, true),
        None => fresh(at.clone()),
    };
    portable.volumes.iter().filter(given).map(mount).collect()
}

fn bound(source: PathBuf, at: RootPath, read_only: bool, idmapped: bool) -> Mount {
    let flags = MountFlags { read_only, ..MountFlags::default() };
    Mount { at, what: MountKind::Bind(container::Bind { idmapped, ..container::Bind::of(source) }), flags }
}

/// A file of this host in the image's place, if both are there. A package may ask for the few
/// files that say how to reach the network, and for no other file of the host.
fn host_file(tree: &Path, path: &RootPath) -> Option<Mount> {
    HOST_FILES.iter().find(|allowed| allowed.as_bytes() == path.as_bytes())?;
    let source = std::fs::canonicalize(path.as_path()).ok().filter(|source| source.is_file())?;
    let there = std::fs::symlink_metadata(tree.join(path.relative())).is_ok_and(|meta| meta.is_file());
    // What everybody may read needs no other owner, and it may lie where none can be shown.
    there.then(|| bound(source, path.clone(), true, false))
}

fn binds(binds: &[Bind]) -> Result<Vec<Mount>> {
    let mount = |bind: &Bind| {
        let source = std::fs::canonicalize(&bind.source).map_err(|cause| {
            Error::io(format!("cannot show {} in the container", bind.source.display()), cause)
                .hint("make it first; -v takes SOURCE:DESTINATION[:ro]")
        })?;
        if is_reserved(&bind.at) || hides_devices(&source, &bind.at) {
            let source = bind.source.display();
            return Err(Error::user(format!("cannot show {source} at {}: the kernel's own files are there", bind.at))
                .hint("any place will do that is not / and not in /proc, /sys or /dev; devices and /dev/shm may be given"));
        }
        Ok(bound(source, bind.at.clone(), bind.read_only, bind.idmapped))
    };
    binds.iter().map(mount).collect()
}

/// A directory in /dev would lie over devices; single devices and sockets are given on purpose.
fn hides_devices(source: &Path, at: &RootPath) -> bool {
    let dev = RootPath::root().join(b"dev");
    at.is_within(&dev) && *at != dev.join(b"shm") && source.is_dir()
}
