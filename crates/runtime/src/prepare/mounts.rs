//! Roots and mounts. What takes memory (seeding) or reading (the host's hierarchies) happens here,
//! on mounts that are not attached anywhere yet; the child only attaches them.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::MountPropagationFlags;
use spec::container::{Exact, Mount, MountFlags, MountKind, Namespace, Nodes, Propagation, Root, Source};
use spec::plan::{Plan, Step};
use spec::{Error, Result, ResultExt, RootPath};
use sys::mount::{NO_ATIME, NO_DEV, NO_EXEC, NO_SUID, NO_SYMLINKS, READ_ONLY};

use super::users::Owners;
use super::{
    Bound, Devices, FileSystem, Op, Place, Prepared, Scratch, above_standard, c_path, c_string, cgroups,
    detached, exact, lxcfs, parts, shared,
};

/// Whether a step takes the container's pseudo-terminals.
pub(super) fn has_terminals(step: &Step) -> bool {
    match step {
        Step::Mount(Mount { what: MountKind::Dev { .. } | MountKind::Devpts, .. }) => true,
        Step::Mount(Mount { what: MountKind::Exact(exact), .. }) => devpts_options(exact).is_some(),
        _ => false,
    }
}

type Words = Vec<(String, Option<String>)>;

fn devpts_options(exact: &Exact) -> Option<&Words> {
    match &exact.source {
        Source::FileSystem { kind, options, .. } if kind == "devpts" => Some(options),
        _ => None,
    }
}

pub(super) fn root(plan: &Plan, root: &Root, mapped: bool, prepared: &Prepared) -> Result<Op> {
    let tree = |path: &Path, attributes| -> Result<Bound> {
        Ok(Bound { mapped, ..Bound::of(c_path(path)?, attributes) })
    };
    match root {
        Root::Tree { path } => Ok(Op::Tree(tree(path, READ_ONLY | NO_DEV)?)),
        Root::Mounted { path } => Ok(Op::Tree(tree(path, NO_DEV)?)),
        Root::Scratch { path } => {
            parts::layer(plan, path, mapped, prepared)?;
            Ok(Op::Scratch(match mapped {
                true => Scratch { lower: CString::default(), tree: Some(tree(path, NO_DEV)?) },
                false => Scratch { lower: overlay_path(path)?, tree: None },
            }))
        }
        Root::Bundle { path, .. } => {
            let (tree, path) = exact::root(path)?;
            Ok(Op::Root { tree, path })
        }
        Root::Host => Err(Error::internal("the host's root is no step")),
    }
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

pub(super) fn mount(plan: &Plan, mount: &Mount, prepared: &mut Prepared) -> Result<Op> {
    let at = |strict| Place::new(&mount.at, strict);
    let hard = NO_SUID | NO_DEV | NO_EXEC | attributes(&mount.flags);
    let read_only = |writable: bool| if writable { 0 } else { READ_ONLY };
    Ok(match &mount.what {
        MountKind::Proc => plain(at(true)?, c"proc", hard),
        MountKind::Sys { writable } => plain(at(true)?, c"sysfs", hard | read_only(*writable)),
        MountKind::Mqueue => plain(at(true)?, c"mqueue", hard),
        MountKind::Cgroup { writable } => cgroups::mount(at(true)?, hard | read_only(*writable))?,
        MountKind::Devpts => attach(at(true)?, terminals(plan, prepared)?),
        MountKind::Dev { shm, nodes } => devices(plan, mount, *shm, *nodes, prepared)?,
        MountKind::Tmpfs { bytes, inodes, seeded, mode } => {
            let mut make = tmpfs(Owners::of(plan)?.root()?, *bytes, *inodes, *mode)?;
            make.attributes |= attributes(&mount.flags);
            match seeded {
                true => attach(at(false)?, self::seeded(plan, &mount.at, make)?),
                false => Op::FileSystem { at: at(false)?, make },
            }
        }
        MountKind::Fresh { mode } => {
            let attributes = NO_SUID | NO_DEV | attributes(&mount.flags);
            parts::fresh(plan, &mount.at, *mode, attributes, prepared)?
        }
        MountKind::Kept { name } => {
            parts::kept(&mount.at, name, NO_DEV | attributes(&mount.flags), prepared)?
        }
        MountKind::Lxcfs { source } => {
            let served = prepared.lxcfs.get_or_insert_with(|| lxcfs::served(plan));
            match served.remove(source) {
                Some(mount) => Op::Attach { at: at(true)?, mount, directory: false },
                None => Op::Nothing,
            }
        }
        MountKind::Exact(wanted) => exact::mount(plan, mount, wanted, prepared)?,
        MountKind::Bind(bind) => {
            let source = c_path(&bind.source)?;
            let bound = Bound {
                mapped: bind.idmapped && prepared.users.is_some(),
                recursive: bind.recursive,
                ..Bound::of(source, NO_DEV | attributes(&mount.flags))
            };
            match bind.propagation {
                Propagation::Private | Propagation::Unbindable => Op::Bind { at: at(false)?, bound },
                Propagation::Slave => {
                    shared::bind(at(false)?, bound, MountPropagationFlags::DOWNSTREAM, prepared)?
                }
                Propagation::Shared => {
                    shared::bind(at(false)?, bound, MountPropagationFlags::SHARED, prepared)?
                }
            }
        }
    })
}

fn attributes(flags: &MountFlags) -> u64 {
    let bit = |set: bool, bit: u64| if set { bit } else { 0 };
    bit(flags.read_only, READ_ONLY)
        | bit(flags.no_suid, NO_SUID)
        | bit(flags.no_dev, NO_DEV)
        | bit(flags.no_exec, NO_EXEC)
        | bit(flags.no_atime, NO_ATIME)
        | bit(flags.no_symlinks, NO_SYMLINKS)
}

fn plain(at: Place, kind: &'static CStr, attributes: u64) -> Op {
    Op::FileSystem { at, make: FileSystem { kind: kind.into(), options: Vec::new(), attributes } }
}

fn attach(at: Place, mount: OwnedFd) -> Op {
    Op::Attach { at, mount, directory: true }
}

type Owner = (rustix::fs::Uid, rustix::fs::Gid);

fn option(name: &CStr, value: &impl ToString) -> Result<(CString, Option<CString>)> {
    Ok((name.to_owned(), Some(c_string(value.to_string().as_bytes())?)))
}

pub(super) fn tmpfs(owner: Option<Owner>, bytes: u64, inodes: u64, mode: u32) -> Result<FileSystem> {
    let mut options = vec![
        option(c"size", &bytes)?,
        option(c"nr_inodes", &inodes)?,
        option(c"mode", &format!("{mode:o}"))?,
    ];
    if let Some((uid, gid)) = owner {
        options.extend([option(c"uid", &uid.as_raw())?, option(c"gid", &gid.as_raw())?]);
    }
    Ok(FileSystem { kind: c"tmpfs".into(), options, attributes: NO_SUID | NO_DEV })
}

/// A detached tmpfs with a copy of what the root has at `at`; read-only only after that.
pub(super) fn seeded(plan: &Plan, at: &RootPath, mut file_system: FileSystem) -> Result<OwnedFd> {
    let read_only = file_system.attributes & READ_ONLY;
    file_system.attributes &= !READ_ONLY;
    let target = make(&file_system)?;
    let inside = open_directory(&target, c".").doing(|| "opening a tmpfs")?;
    seed(plan, at, inside.as_fd())?;
    if read_only != 0 {
        let set = sys::mount::set_attributes_recursively(target.as_fd(), read_only);
        set.map_err(std::io::Error::from).doing(|| "making a tmpfs read-only")?;
    }
    Ok(target)
}

/// Copies what the root has at `at`; false if it has nothing there.
pub(super) fn seed(plan: &Plan, at: &RootPath, inside: BorrowedFd<'_>) -> Result<bool> {
    let Some(source) = source_of(plan, at)? else { return Ok(false) };
    let users = if shows_mapped(plan) { plan.users.as_ref() } else { None };
    crate::seed::copy_tree_for(users, source.as_fd(), inside)
        .doing(|| format!("copying {at} of the image"))?;
    Ok(true)
}

/// Whether the root shows its files' owners as the container's.
fn shows_mapped(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step, Step::Root { idmapped: true, .. }))
}

fn source_of(plan: &Plan, at: &RootPath) -> Result<Option<OwnedFd>> {
    let tree = plan.steps.iter().find_map(|step| match step {
        Step::Root {
            root:
                Root::Tree { path }
                | Root::Scratch { path, .. }
                | Root::Mounted { path }
                | Root::Bundle { path, .. },
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

pub(super) fn open_directory(at: impl AsFd, path: &CStr) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

/// What `/dev` may hold besides shared memory.
const DEVICES_BYTES: u64 = 64 << 10;
const DEVICES_INODES: u64 = 1024;

fn devices(plan: &Plan, mount: &Mount, shm: u64, nodes: Nodes, prepared: &mut Prepared) -> Result<Op> {
    let owner = Owners::of(plan)?.root()?;
    let hard = NO_SUID | NO_DEV | NO_EXEC;
    // One file system for both: each more costs a start, and a removal with every control group that
    // ever goes (the kernel asks all of them).
    let dev = tmpfs(owner, DEVICES_BYTES + shm, DEVICES_INODES + shm / 4096, 0o755)?;
    let mut dev = FileSystem { attributes: hard | attributes(&mount.flags), ..dev };
    if nodes == Nodes::Made {
        // Whoever is in the container cannot make any other there.
        dev.attributes &= !NO_DEV;
    }
    let queues = FileSystem { kind: c"mqueue".into(), options: Vec::new(), attributes: hard };
    Ok(Op::Devices(Box::new(Devices {
        at: Place::new(&mount.at, true)?,
        dev,
        shm: hard,
        devpts: terminals(plan, prepared)?,
        queues: plan.namespaces.contains(&Namespace::Ipc).then_some(queues),
        console: plan.terminal,
        nodes,
        owner,
    })))
}

/// The instance that terminals come from for who takes the first; another for each one after it.
pub(super) fn terminals(plan: &Plan, prepared: &mut Prepared) -> Result<OwnedFd> {
    if std::mem::replace(&mut prepared.devpts_taken, true) {
        return devpts(plan);
    }
    let devpts = prepared.devpts.as_ref().ok_or_else(|| Error::internal("a devpts that was not made"))?;
    above_standard(devpts.try_clone().doing(|| "duplicating a descriptor")?)
}

/// A devpts instance of its own; group 5 is tty everywhere.
pub(super) fn devpts(plan: &Plan) -> Result<OwnedFd> {
    let listed = plan.steps.iter().find_map(|step| match step {
        Step::Mount(Mount { what: MountKind::Exact(exact), .. }) => {
            devpts_options(exact).map(|options| (exact, options))
        }
        _ => None,
    });
    if let Some((wanted, options)) = listed {
        let options = exact::host_ids(plan, options)?;
        let mount = make(&exact::file_system(wanted, "devpts", "devpts", &options)?)?;
        return give(mount, Owners::of(plan)?.root()?);
    }
    let mut options = vec![
        (c"newinstance".to_owned(), None),
        option(c"ptmxmode", &"0666")?,
        option(c"mode", &"0620")?,
        option(c"max", &64)?,
    ];
    if let Some(tty) = Owners::of(plan)?.group(5) {
        options.push(option(c"gid", &tty)?);
    }
    make(&FileSystem { kind: c"devpts".into(), options, attributes: NO_SUID | NO_EXEC })
}

/// What was made for the container's users belongs to their root.
fn give(devpts: OwnedFd, owner: Option<Owner>) -> Result<OwnedFd> {
    if let Some((uid, gid)) = owner {
        for path in [c".", c"ptmx"] {
            rustix::fs::chownat(&devpts, path, Some(uid), Some(gid), rustix::fs::AtFlags::empty())
                .map_err(std::io::Error::from)
                .doing(|| "giving a devpts to the container's root")?;
        }
    }
    Ok(devpts)
}

/// Makes a file system that is mounted nowhere.
pub(super) fn make(file_system: &FileSystem) -> Result<OwnedFd> {
    let mount = detached(file_system).map_err(std::io::Error::from);
    above_standard(mount.doing(|| format!("making a {}", file_system.kind.to_string_lossy()))?)
}
