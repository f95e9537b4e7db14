//! Roots and mounts. What takes memory (seeding) or reading (the host's hierarchies) happens here,
//! on mounts that are not attached anywhere yet; the child only attaches them.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use spec::container::{Mount, MountFlags, MountKind, Namespace, Root};
use spec::plan::{Plan, Step};
use spec::{Error, Result, ResultExt, RootPath};
use sys::mount::{NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

use super::{Devices, FileSystem, Op, Place, Prepared, above_standard, c_path, c_string, cgroups, detached};

pub(super) fn is_devices(step: &Step) -> bool {
    matches!(step, Step::Mount(Mount { what: MountKind::Dev { .. }, .. }))
}

pub(super) fn root(root: &Root) -> Result<Op> {
    Ok(match root {
        Root::Tree { path } => Op::Tree { source: c_path(path)?, attributes: READ_ONLY | NO_DEV },
        Root::Mounted { path } => Op::Tree { source: c_path(path)?, attributes: NO_DEV },
        Root::Scratch { path, bytes, inodes } => {
            Op::Scratch { layer: layer(path, *bytes, *inodes)?, lower: overlay_path(path)? }
        }
        Root::Host => return Err(Error::internal("the host's root is no step")),
    })
}

/// The writable layer of an overlay: an upper directory that looks like the root of `tree`.
fn layer(tree: &Path, bytes: u64, inodes: u64) -> Result<OwnedFd> {
    let layer = make(&tmpfs(bytes, inodes, 0o755)?)?;
    for name in [c"upper", c"work"] {
        rustix::fs::mkdirat(&layer, name, Mode::from_raw_mode(0o755))
            .map_err(std::io::Error::from)
            .doing(|| "making a layer")?;
    }
    let upper = open_directory(&layer, c"upper").doing(|| "opening the layer")?;
    let tree = std::fs::File::open(tree).doing(|| format!("opening {}", tree.display()))?;
    crate::seed::copy_attributes(tree.as_fd(), upper.as_fd())
        .doing(|| "copying the attributes of the root")?;
    Ok(layer)
}

/// The path in an overlay option, where a colon separates layers.
fn overlay_path(path: &Path) -> Result<CString> {
    let escaped: Vec<u8> = c_path(path)?
        .as_bytes()
        .iter()
        .flat_map(|byte| match byte {
            b':' | b'\\' => vec![b'\\', *byte],
            byte => vec![*byte],
        })
        .collect();
    c_string(&escaped)
}

pub(super) fn mount(plan: &Plan, mount: &Mount, prepared: &Prepared) -> Result<Op> {
    let at = |strict| Place::new(&mount.at, strict);
    let hard = NO_SUID | NO_DEV | NO_EXEC;
    Ok(match &mount.what {
        MountKind::Proc => plain(at(true)?, c"proc", hard),
        MountKind::Sys { writable } => {
            plain(at(true)?, c"sysfs", hard | if *writable { 0 } else { READ_ONLY })
        }
        MountKind::Cgroup { .. } => cgroups::mount(at(true)?)?,
        MountKind::Dev { shm, .. } => devices(plan, at(true)?, *shm, prepared)?,
        MountKind::Tmpfs { bytes, inodes, seeded: false, mode } => {
            Op::FileSystem { at: at(false)?, make: tmpfs(*bytes, *inodes, *mode)? }
        }
        MountKind::Tmpfs { bytes, inodes, seeded: true, mode } => {
            Op::Attach { at: at(false)?, mount: seeded(plan, &mount.at, tmpfs(*bytes, *inodes, *mode)?)? }
        }
        MountKind::Bind(bind) => {
            let attributes = NO_DEV | attributes(&mount.flags);
            Op::Bind { at: at(false)?, source: c_path(&bind.source)?, attributes }
        }
        MountKind::Devpts | MountKind::Mqueue => {
            return Err(Error::unsupported("only as a part of /dev"));
        }
    })
}

fn attributes(flags: &MountFlags) -> u64 {
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    bit(flags.read_only, READ_ONLY)
        | bit(flags.no_suid, NO_SUID)
        | bit(flags.no_dev, NO_DEV)
        | bit(flags.no_exec, NO_EXEC)
}

fn plain(at: Place, kind: &'static CStr, attributes: u64) -> Op {
    Op::FileSystem { at, make: FileSystem { kind, options: Vec::new(), attributes } }
}

fn tmpfs(bytes: u64, inodes: u64, mode: u32) -> Result<FileSystem> {
    let option = |name: &CStr, value: String| -> Result<_> {
        Ok((name.to_owned(), Some(c_string(value.as_bytes())?)))
    };
    Ok(FileSystem {
        kind: c"tmpfs",
        options: vec![
            option(c"size", bytes.to_string())?,
            option(c"nr_inodes", inodes.to_string())?,
            option(c"mode", format!("{mode:o}"))?,
        ],
        attributes: NO_SUID | NO_DEV,
    })
}

/// A detached tmpfs with a copy of what the root has at `at`.
fn seeded(plan: &Plan, at: &RootPath, file_system: FileSystem) -> Result<OwnedFd> {
    let target = make(&file_system)?;
    if let Some(source) = source_of(plan, at)? {
        let inside = open_directory(&target, c".").doing(|| "opening a tmpfs")?;
        crate::seed::copy_tree(source.as_fd(), inside.as_fd())
            .doing(|| format!("copying {at} of the image"))?;
    }
    Ok(target)
}

fn source_of(plan: &Plan, at: &RootPath) -> Result<Option<OwnedFd>> {
    let tree = plan.steps.iter().find_map(|step| match step {
        Step::Root {
            root: Root::Tree { path } | Root::Scratch { path, .. } | Root::Mounted { path },
            ..
        } => Some(path),
        _ => None,
    });
    let tree = tree.ok_or_else(|| Error::internal("a plan without a root"))?;
    let root = open_directory(CWD, &c_path(tree)?).doing(|| format!("opening {}", tree.display()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, at.relative(), flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(directory)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::io(format!("opening {at} of the image"), error.into())),
    }
}

fn open_directory(at: impl AsFd, path: &CStr) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

fn devices(plan: &Plan, at: Place, shm: u64, prepared: &Prepared) -> Result<Op> {
    let devpts = prepared.devpts.as_ref().ok_or_else(|| Error::internal("devices without a devpts"))?;
    let devpts = devpts.try_clone().doing(|| "duplicating a descriptor")?;
    let hard = NO_SUID | NO_DEV | NO_EXEC;
    // Hard: a device node that the container makes itself must not work (it may have CAP_MKNOD).
    let hardened = |file_system: FileSystem| FileSystem { attributes: hard, ..file_system };
    let queues = FileSystem { kind: c"mqueue", options: Vec::new(), attributes: hard };
    Ok(Op::Devices(Box::new(Devices {
        at,
        dev: hardened(tmpfs(64 << 10, 1024, 0o755)?),
        shm: hardened(tmpfs(shm, shm / 4096 + 64, 0o1777)?),
        devpts: above_standard(devpts)?,
        queues: plan.namespaces.contains(&Namespace::Ipc).then_some(queues),
        console: plan.terminal,
    })))
}

/// A devpts instance of its own; group 5 is tty everywhere.
pub(super) fn devpts() -> Result<OwnedFd> {
    let option = |name: &CStr, value: &CStr| (name.to_owned(), Some(value.to_owned()));
    make(&FileSystem {
        kind: c"devpts",
        options: vec![
            (c"newinstance".to_owned(), None),
            option(c"ptmxmode", c"0666"),
            option(c"mode", c"0620"),
            option(c"gid", c"5"),
            option(c"max", c"64"),
        ],
        attributes: NO_SUID | NO_EXEC,
    })
}

/// Makes a file system that is mounted nowhere.
fn make(file_system: &FileSystem) -> Result<OwnedFd> {
    let mount = detached(file_system).map_err(std::io::Error::from);
    above_standard(mount.doing(|| format!("making a {}", file_system.kind.to_string_lossy()))?)
}
