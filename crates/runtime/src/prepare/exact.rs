//! Mounts as a bundle lists them: nothing is added.
//!
//! Where the container owns its namespaces, its process has no power over the host's mounts. So what
//! it shows of the host is opened here, with the caller's, and the process only attaches it.

use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags};
use spec::container::{
    Attributes, Exact, IdRange, Mount, Namespace, Propagation, Shown, Source, Spread, Users,
};
use spec::plan::{Plan, Step};
use spec::{Error, Result, ResultExt};
use sys::mount::Change;

use super::users::{self, Owners};
use super::{FileSystem, Op, Place, Prepared, above_standard, c_path, c_string, cgroups, mounts};

/// What is changed about a mount once it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    own: Attributes,
    below: Attributes,
    propagation: Option<Spread>,
    /// It is a copy of a mount that may have relatives.
    copy: bool,
}

impl Finish {
    fn of(exact: &Exact) -> Self {
        let copy = matches!(exact.source, Source::Bind { .. });
        Self { own: exact.attributes, below: exact.below, propagation: exact.propagation, copy }
    }

    /// Of a file system that was made with these attributes.
    fn fresh(self) -> Self {
        Self { own: Attributes::default(), below: Attributes::default(), ..self }
    }

    /// Applies it. The child uses this too: no allocation.
    pub(crate) fn apply(&self, mount: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let wanted = self.propagation.map(|spread| propagation(spread.propagation));
        let related = MountPropagationFlags::SHARED | MountPropagationFlags::DOWNSTREAM;
        let keeps = wanted.is_some_and(|wanted| related.contains(wanted));
        let first =
            if self.copy && !keeps { MountPropagationFlags::PRIVATE } else { MountPropagationFlags::empty() };
        change(mount, self.below, first, true)?;
        change(mount, self.own, MountPropagationFlags::empty(), false)?;
        match (wanted, self.propagation) {
            (Some(wanted), Some(spread)) => {
                change(mount, Attributes::default(), wanted, spread.recursive || (self.copy && keeps))
            }
            _ => Ok(()),
        }
    }
}

fn change(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    propagation: MountPropagationFlags,
    recursive: bool,
) -> rustix::io::Result<()> {
    if attributes == Attributes::default() && propagation.is_empty() {
        return Ok(());
    }
    let (set, without) = (attributes.set.into(), attributes.clear.into());
    sys::mount::change(mount, Change { attributes: set, without, users: None, propagation, recursive })
}

/// As the kernel has it.
pub(crate) fn propagation(wanted: Propagation) -> MountPropagationFlags {
    match wanted {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    }
}

/// Whether the container owns its namespaces.
pub(super) fn owns_itself(plan: &Plan) -> bool {
    plan.steps.contains(&Step::Begin)
}

pub(super) fn mount(plan: &Plan, mount: &Mount, exact: &Exact, prepared: &mut Prepared) -> Result<Op> {
    let at = Place::new(&mount.at, is_strict(mount, exact))?;
    let finish = Finish::of(exact);
    match &exact.source {
        Source::Present => Ok(Op::Again { at, finish }),
        Source::Groups => groups(plan, at, exact, prepared),
        Source::Bind { path, recursive } => {
            let private = !exact
                .propagation
                .is_some_and(|spread| matches!(spread.propagation, Propagation::Slave | Propagation::Shared));
            if private && exact.owners.is_none() && !owns_itself(plan) {
                return Ok(Op::ExactBind { at, source: c_path(path)?, recursive: *recursive, finish });
            }
            let mount = copy_of(path, *recursive)?;
            show_owners(exact, mount.as_fd(), path, prepared)?;
            finish.apply(mount.as_fd()).map_err(std::io::Error::from).doing(|| attributes_of(path))?;
            let directory = is_directory(mount.as_fd())?;
            Ok(Op::Attach { at, mount, directory })
        }
        Source::FileSystem { kind, device, options } => match kind.as_str() {
            "devpts" => {
                let mount = mounts::terminals(plan, prepared)?;
                finish
                    .fresh()
                    .apply(mount.as_fd())
                    .map_err(std::io::Error::from)
                    .doing(|| "mounting a devpts")?;
                Ok(Op::Attach { at, mount, directory: true })
            }
            "tmpfs" if exact.copied => {
                let mut make = file_system(exact, kind, device, &given(plan, options)?)?;
                make.attributes &= !sys::mount::READ_ONLY;
                let mount = mounts::seeded(plan, &mount.at, make)?;
                adopt(plan, mount.as_fd()).doing(|| "giving a tmpfs to the container's root")?;
                finish.apply(mount.as_fd()).map_err(std::io::Error::from).doing(|| "mounting a tmpfs")?;
                Ok(Op::Attach { at, mount, directory: true })
            }
            _ => {
                let make = file_system(exact, kind, device, options)?;
                let early = is_early(plan, kind);
                Ok(Op::ExactMount { at, make, finish: finish.fresh(), early })
            }
        },
    }
}

/// Only the kernel's own file systems may lie in proc and sys, and whatever is said to lie there;
/// these, and all of `/dev`, are reached without a symlink.
fn is_strict(mount: &Mount, exact: &Exact) -> bool {
    let kernels = |kind: &str| matches!(kind, "proc" | "sysfs" | "mqueue" | "devpts" | "cgroup" | "cgroup2");
    let below = |top: &[u8]| {
        mount.at.as_bytes().strip_prefix(top).is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
    };
    match &exact.source {
        Source::Groups => true,
        Source::FileSystem { kind, .. } if kernels(kind) => true,
        _ => below(b"/proc") || below(b"/sys") || below(b"/dev"),
    }
}

pub(super) fn file_system(
    exact: &Exact,
    kind: &str,
    device: &str,
    options: &[(String, Option<String>)],
) -> Result<FileSystem> {
    let mut all = Vec::with_capacity(options.len() + 1);
    if !device.is_empty() {
        all.push((c"source".to_owned(), Some(c_string(device.as_bytes())?)));
    }
    for (name, value) in options {
        let value = value.as_ref().map(|value| c_string(value.as_bytes())).transpose()?;
        all.push((c_string(name.as_bytes())?, value));
    }
    let attributes = u64::from(exact.attributes.set | exact.below.set);
    Ok(FileSystem { kind: Cow::Owned(c_string(kind.as_bytes())?), options: all, attributes })
}

/// The options of a file system that we make for a container with users of its own: their ids are
/// the host's here.
pub(super) fn host_ids(
    plan: &Plan,
    options: &[(String, Option<String>)],
) -> Result<Vec<(String, Option<String>)>> {
    let owners = Owners::of(plan)?;
    let translate = |(name, value): &(String, Option<String>)| {
        let id = value.as_deref().and_then(|value| value.parse::<u32>().ok());
        let homeless = || Error::user(format!("option {name} has no place in the user mapping"));
        let on_host = match (name.as_str(), id) {
            ("uid", Some(id)) => Some(owners.uid(id).ok_or_else(homeless)?),
            ("gid", Some(id)) => Some(owners.group(id).ok_or_else(homeless)?),
            _ => None,
        };
        Ok((name.clone(), on_host.map(|id| id.to_string()).or_else(|| value.clone())))
    };
    options.iter().map(translate).collect()
}

/// The same, and where nothing else is said it belongs to the container's root.
fn given(plan: &Plan, options: &[(String, Option<String>)]) -> Result<Vec<(String, Option<String>)>> {
    let mut all = host_ids(plan, options)?;
    if let Some((uid, gid)) = Owners::of(plan)?.root()? {
        for (name, id) in [("uid", uid.as_raw()), ("gid", gid.as_raw())] {
            if !all.iter().any(|(other, _)| other == name) {
                all.push((name.to_owned(), Some(id.to_string())));
            }
        }
    }
    Ok(all)
}

/// What belongs to nobody whom the container knows belongs to its root.
fn adopt(plan: &Plan, mount: BorrowedFd<'_>) -> Result<()> {
    let Some((uid, gid)) = Owners::of(plan)?.root()? else { return Ok(()) };
    let Some(users) = &plan.users else { return Ok(()) };
    let known = |ranges: &[IdRange], id: u32| {
        ranges.iter().any(|range| id.checked_sub(range.host).is_some_and(|offset| offset < range.count))
    };
    let status = rustix::fs::fstat(mount).map_err(std::io::Error::from).doing(|| "looking at it")?;
    let uid = (!known(&users.uids, status.st_uid)).then_some(uid);
    let gid = (!known(&users.gids, status.st_gid)).then_some(gid);
    let given = rustix::fs::chownat(mount, c"", uid, gid, rustix::fs::AtFlags::EMPTY_PATH);
    given.map_err(std::io::Error::from).doing(|| "changing its owner")
}

/// Whether the container's root may not mount such a file system itself, because the namespace behind
/// it is not its own: then the first process does, which has entered that namespace too. But it is in
/// no other namespace of process ids than the host's.
fn is_early(plan: &Plan, kind: &str) -> bool {
    let namespace = match kind {
        "proc" => Namespace::Pid,
        "sysfs" => Namespace::Net,
        "mqueue" => Namespace::Ipc,
        _ => return false,
    };
    let enters_ids = |step: &Step| matches!(step, Step::Enter { namespace: Namespace::Pid, .. });
    owns_itself(plan)
        && !plan.namespaces.contains(&namespace)
        && !(namespace == Namespace::Pid && plan.steps.iter().any(enters_ids))
}

/// Without a namespace of its own only the container's own groups are shown, one by one: mounted
/// anew they would be those of the whole host.
fn groups(plan: &Plan, at: Place, exact: &Exact, prepared: &Prepared) -> Result<Op> {
    let attributes = u64::from(exact.attributes.set | exact.below.set);
    let hides = plan.steps.contains(&Step::Groups { namespace: true });
    let enters = |step: &Step| matches!(step, Step::Enter { namespace: Namespace::Cgroup, .. });
    if hides || plan.namespaces.contains(&Namespace::Cgroup) || plan.steps.iter().any(enters) {
        return cgroups::mount(at, attributes);
    }
    cgroups::own(at, attributes, prepared)
}

/// A copy of the mount of a path of the host.
pub(super) fn copy_of(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let mount = rustix::mount::open_tree(CWD, path, flags).map_err(std::io::Error::from);
    above_standard(mount.doing(|| format!("opening {}", path.display()))?)
}

fn show_owners(exact: &Exact, mount: BorrowedFd<'_>, path: &Path, prepared: &Prepared) -> Result<()> {
    let Some(Shown { users, recursive }) = &exact.owners else { return Ok(()) };
    let made = users.as_ref().map(mapping).transpose()?;
    let namespace = match &made {
        Some(made) => made.as_fd(),
        None => prepared.own_users().ok_or_else(|| {
            Error::user(format!(
                "{} is to be shown with mapped owners, and there is no mapping",
                path.display()
            ))
        })?,
    };
    let change = Change {
        attributes: 0,
        without: 0,
        users: Some(namespace),
        propagation: MountPropagationFlags::empty(),
        recursive: *recursive,
    };
    sys::mount::change(mount, change).map_err(|errno| {
        let error = Error::io(format!("mapping the owners of {}", path.display()), errno.into());
        match errno {
            Errno::INVAL | Errno::PERM => {
                error.hint("its file system knows no id mapping, or is mapped already")
            }
            _ => error,
        }
    })
}

/// A user namespace that nobody is ever in.
fn mapping(mapping: &Users) -> Result<OwnedFd> {
    users::namespace(mapping, 0, false).map(|made| made.users)
}

fn is_directory(mount: BorrowedFd<'_>) -> Result<bool> {
    let status = rustix::fs::fstat(mount).map_err(std::io::Error::from).doing(|| "looking at a mount")?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

fn attributes_of(path: &Path) -> String {
    format!("setting mount attributes of {}", path.display())
}

/// A root that is taken as it is.
pub(super) fn root(path: &Path) -> Result<(OwnedFd, CString)> {
    use rustix::fs::{Mode, OFlags};
    // What is to be the root is no link: whoever made one there may lead it anywhere.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
    let found = found.doing(|| format!("opening the root {}", path.display()))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&found, c"", flags).map_err(std::io::Error::from);
    let tree = above_standard(tree.doing(|| format!("opening the root {}", path.display()))?)?;
    change(tree.as_fd(), Attributes::default(), MountPropagationFlags::PRIVATE, true)
        .map_err(std::io::Error::from)
        .doing(|| attributes_of(path))?;
    Ok((tree, c_path(path)?))
}
