//! From the steps of a plan to operations that the child can do without memory of its own.

mod cgroups;
mod chroot;
mod command;
mod device;
mod enter;
mod exact;
mod file_system;
mod identity;
mod kernel;
mod landlock;
mod lxcfs;
mod made;
mod mounts;
mod op;
mod parts;
mod place;
mod schedule;
mod shared;
mod users;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::Mode;
use spec::container::Namespace;
use spec::plan::{Plan, Step};
use spec::seccomp::Choice;
use spec::{Error, Result, ResultExt};
use sys::pty::Pair;
use sys::seccomp::Instruction;
use sys::users::UserNamespace;

use crate::network::EarlyNetwork;

pub(crate) use device::{HostDevice, Node};
pub(crate) use exact::{Finish, propagation};
pub(crate) use file_system::{FileSystem, detached};
pub(crate) use identity::Identity;
pub(crate) use kernel::KernelFile;
pub(crate) use landlock::{Allowed, Rules, paths as allowed_paths};
pub use lxcfs::lxcfs_answers;
pub(crate) use made::NodeToMake;
pub(crate) use op::{Bound, Devices, Hierarchy, Op, Scratch, View};
pub(crate) use parts::{Part, Shares};
pub(crate) use place::Place;
pub(crate) use schedule::Schedule;
pub use users::EarlyUsers;
use users::Owners;
pub(crate) use users::{Users, give_pipes};

/// Everything that the child needs, made before it exists.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) ops: Vec<Op>,
    /// `CLONE_NEW…` of all namespaces that are made with the process.
    pub(crate) namespaces: u64,
    pub(crate) terminal: Option<Pair>,
    /// The root of the container's own devpts.
    pub(crate) devpts: Option<OwnedFd>,
    /// Something is mounted from it already.
    devpts_taken: bool,
    /// The container's own user namespace.
    pub(crate) users: Option<UserNamespace>,
    /// The network namespace that the process enters before anything else.
    pub(crate) network: Option<OwnedFd>,
    /// The version 2 group that the process is born in.
    born_in: Option<RawFd>,
    /// What is there of lxcfs, once it was asked for.
    lxcfs: Option<lxcfs::Served>,
    /// What places of the container are parts of.
    pub(crate) shares: Shares,
}

/// What comes from outside the plan.
pub(crate) struct Given<'a> {
    pub(crate) tasks: Vec<OwnedFd>,
    /// The version 2 group that the process is born in.
    pub(crate) born_in: Option<RawFd>,
    pub(crate) target: Option<BorrowedFd<'a>>,
    pub(crate) devpts: Option<BorrowedFd<'a>>,
    /// A filter with a listener is installed at the gate.
    pub(crate) listen: bool,
    /// A user namespace that was made beforehand.
    pub(crate) users: Option<EarlyUsers>,
    /// A network namespace that is being made.
    pub(crate) network: Option<EarlyNetwork>,
    /// The file system of its volumes, attached nowhere.
    pub(crate) kept: Option<OwnedFd>,
    /// What is handed over.
    pub(crate) sockets: &'a [OwnedFd],
}

/// Prepares `plan`.
pub(crate) fn prepare(plan: &Plan, given: Given<'_>) -> Result<Prepared> {
    let users = if given.target.is_none() { users::make(plan, given.users)? } else { None };
    let devpts =
        if plan.steps.iter().any(mounts::has_terminals) { Some(mounts::devpts(plan)?) } else { None };
    let instance = devpts.as_ref().map(AsFd::as_fd).or(given.devpts);
    let terminal = if plan.terminal { Some(open_terminal(plan, instance)?) } else { None };
    let ops = Vec::with_capacity(plan.steps.len());
    let namespaces = flags(plan)?;
    let (network, born_in, lxcfs) = (None, given.born_in, None);
    let devpts_taken = false;
    let shares = Shares::with(given.kept.map(above_standard).transpose()?);
    let mut prepared =
        Prepared { ops, namespaces, terminal, devpts, devpts_taken, users, network, born_in, lxcfs, shares };
    let mut tasks = Some(given.tasks);
    for step in &plan.steps {
        let op = match step {
            Step::Groups { namespace } => {
                Op::Groups { tasks: tasks.take().unwrap_or_default(), namespace: *namespace }
            }
            Step::Join { namespaces } => join(given.target, namespaces)?,
            Step::Enter { namespace: Namespace::Pid, path } if exact::owns_itself(plan) => {
                let (_, file) = enter::enter(Namespace::Pid, path).doing(|| step.to_string())?;
                Op::EnterLater { file }
            }
            Step::Begin => Op::Begin { namespaces: std::mem::take(&mut prepared.namespaces) },
            Step::Enter { namespace, path } => {
                let (namespaces, file) = enter::enter(*namespace, path).doing(|| step.to_string())?;
                Op::Enter { namespaces, file }
            }
            Step::Root { root, idmapped } if chroot::is_loose(plan) => {
                chroot::root(root, *idmapped, prepared.users.as_ref()).doing(|| step.to_string())?
            }
            Step::Chroot => chroot::chroot(plan, given.target)?,
            Step::Device(device) => device::prepare(plan, device).doing(|| step.to_string())?,
            Step::Root { root, idmapped } => {
                let mapped = *idmapped && prepared.users.is_some();
                mounts::root(plan, root, mapped, &prepared).doing(|| step.to_string())?
            }
            Step::Share(shared) => {
                prepared.shares.begin(*shared).doing(|| step.to_string())?;
                Op::Share(*shared)
            }
            Step::Mount(mount) => mounts::mount(plan, mount, &mut prepared).doing(|| step.to_string())?,
            Step::Users => users::enter(plan, given.target)?,
            Step::Sockets { count } => sockets(*count, given.sockets)?,
            Step::Identity { user, bounding } => identity::identity(plan, user, *bounding, given.listen)?,
            other => simple(other)?,
        };
        prepared.ops.push(op);
    }
    prepared.take_network(given.network)?;
    Ok(prepared)
}

fn simple(step: &Step) -> Result<Op> {
    Ok(match step {
        Step::PrivateMounts => Op::PrivateMounts,
        Step::Mask { path } => Op::Mask { path: c_path(path.relative())? },
        Step::ReadOnly { path } => Op::ReadOnly { path: c_path(path.relative())? },
        Step::Pivot => Op::Pivot,
        Step::Wait => Op::Wait,
        Step::Keyring => Op::Keyring,
        Step::Seal => Op::Seal,
        Step::Make(made) => made::make(made)?,
        Step::Spread(spread) => {
            Op::Spread { propagation: propagation(spread.propagation), recursive: spread.recursive }
        }
        Step::Umask { mask } => Op::Umask { mask: Mode::from_raw_mode(*mask & 0o777) },
        Step::MemoryPolicy(policy) => schedule::memory_policy(policy)?,
        Step::Affinity { processors } => schedule::affinity(processors)?,
        Step::Hostname { name } => Op::Hostname { name: c_string(name.as_bytes())? },
        Step::Domainname { name } => Op::Domainname { name: c_string(name.as_bytes())? },
        Step::Clocks(clocks) => kernel::clocks(clocks)?,
        Step::Sysctl { name, value } => kernel::sysctl(name, value)?,
        Step::OomScore { adjustment } => kernel::oom_score(*adjustment)?,
        Step::Label(labels) => kernel::label(labels)?,
        Step::Landlock(rules) => landlock::prepare(rules)?,
        Step::Own { namespace } => Op::Own { namespaces: flag(*namespace) },
        Step::Init => Op::Init { filter: crate::filter::init_program() },
        Step::Session => Op::Session,
        Step::Limit { resource, soft, hard, exact } => {
            Op::Limit { resource: *resource, soft: *soft, hard: *hard, exact: *exact }
        }
        Step::Directory { path } => Op::Directory { path: c_path(path.relative())? },
        Step::NoNewPrivileges => Op::NoNewPrivileges,
        Step::Filter { choice, capabilities } => filter(choice, *capabilities)?,
        Step::Gate => Op::Gate,
        Step::Capabilities { sets } => Op::Capabilities { sets: *sets },
        Step::Execute { argv, env } => command::execute(argv, env)?,
        Step::Groups { .. }
        | Step::Join { .. }
        | Step::Root { .. }
        | Step::Mount(_)
        | Step::Share(_)
        | Step::Sockets { .. }
        | Step::Users
        | Step::Identity { .. } => {
            return Err(Error::internal(format!("{step} takes more than the step")));
        }
        other => match schedule::schedule(other) {
            Some(schedule) => Op::Schedule(schedule),
            None => return Err(Error::unsupported(format!("{step} is not possible yet"))),
        },
    })
}

fn flags(plan: &Plan) -> Result<u64> {
    // Who is born in a time namespace can set its clocks no more: its step makes it.
    let later = |one: &Namespace| *one == Namespace::Time && plan.steps.iter().any(kernel::sets_clocks);
    let born = plan.namespaces.iter().filter(|one| !later(one));
    let flags = born.fold(0, |all, one| all | flag(*one));
    let needs = |step: fn(&Step) -> bool, namespace, what| {
        let entered = |step: &Step| matches!(step, Step::Enter { namespace: one, .. } if *one == namespace);
        let there = plan.namespaces.contains(&namespace) || plan.steps.iter().any(entered);
        if plan.steps.iter().any(step) && !there {
            return Err(Error::user(format!(
                "{what} needs a {namespace:?} namespace of the container's own"
            )));
        }
        Ok(())
    };
    needs(|step| matches!(step, Step::Hostname { .. }), Namespace::Uts, "a host name")?;
    needs(|step| matches!(step, Step::Init), Namespace::Pid, "an init process")?;
    Ok(flags)
}

/// Its `CLONE_NEW…`.
fn flag(namespace: Namespace) -> u64 {
    match namespace {
        Namespace::Mount => sys::namespace::MOUNT,
        Namespace::Pid => sys::namespace::PID,
        Namespace::Ipc => sys::namespace::IPC,
        Namespace::Uts => sys::namespace::UTS,
        Namespace::Cgroup => sys::namespace::CGROUP,
        Namespace::Net => sys::namespace::NET,
        Namespace::User => sys::namespace::USER,
        Namespace::Time => sys::namespace::TIME,
    }
}

fn join(target: Option<BorrowedFd<'_>>, namespaces: &BTreeSet<Namespace>) -> Result<Op> {
    let target = target.ok_or_else(|| Error::internal("joining a container without saying which"))?;
    let target = target.try_clone_to_owned().doing(|| "duplicating a pidfd")?;
    let entered = namespaces.iter().filter(|namespace| **namespace != Namespace::Pid).map(|one| flag(*one));
    Ok(Op::Join { target: above_standard(target)?, namespaces: entered.fold(0, |all, one| all | one) })
}

fn filter(choice: &Choice, capabilities: u64) -> Result<Op> {
    let program = crate::filter::program(choice, capabilities)?;
    Ok(match crate::filter::listens(choice) {
        Some(flags) => Op::Filter { program, flags, listens: true },
        None => Op::Filter { program, flags: crate::filter::flags(choice), listens: false },
    })
}

fn open_terminal(plan: &Plan, devpts: Option<BorrowedFd<'_>>) -> Result<Pair> {
    let failed = |cause: rustix::io::Errno| Error::io("making a terminal", cause.into());
    let Pair { master, slave } = sys::pty::open(devpts).map_err(failed)?;
    if let Some(owner) = users::user(plan).map(|user| Owners::of(plan)?.user(user)).transpose()?.flatten() {
        rustix::fs::fchown(&slave, Some(owner), None).map_err(failed)?;
    }
    Ok(Pair { master: above_standard(master)?, slave: above_standard(slave)? })
}

/// Copies of them with numbers above those that they are to have.
fn sockets(count: u32, given: &[OwnedFd]) -> Result<Op> {
    if count as usize != given.len() {
        return Err(Error::internal(format!(
            "{count} sockets are to be handed over, and {} are there",
            given.len()
        )));
    }
    given.iter().map(|socket| copy_above(socket.as_fd(), 2 + count)).collect::<Result<_>>().map(Op::Sockets)
}

/// The same descriptor with a number above the standard three, which the child overwrites.
pub(crate) fn above_standard(fd: OwnedFd) -> Result<OwnedFd> {
    above(fd, 2)
}

/// The same descriptor with a number above `highest`, up to which the child overwrites them.
pub(crate) fn above(fd: OwnedFd, highest: u32) -> Result<OwnedFd> {
    if fd.as_raw_fd() > highest as RawFd {
        return Ok(fd);
    }
    copy_above(fd.as_fd(), highest)
}

fn copy_above(fd: BorrowedFd<'_>, highest: u32) -> Result<OwnedFd> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, highest as RawFd + 1).map_err(std::io::Error::from);
    copy.doing(|| "duplicating a descriptor")
}

pub(crate) fn c_path(path: &Path) -> Result<CString> {
    c_string(path.as_os_str().as_bytes())
}

pub(crate) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes)
        .map_err(|_| Error::user(format!("{:?} contains a NUL byte", String::from_utf8_lossy(bytes))))
}

impl Prepared {
    /// The numbers of all descriptors that the child must not close, in order.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut numbers: Vec<RawFd> = self.ops.iter().flat_map(Op::descriptors).collect();
        numbers.extend(self.terminal.iter().map(|pair| pair.slave.as_raw_fd()));
        let made = self.users.iter().flat_map(|made| std::iter::once(&made.users).chain(&made.network));
        numbers.extend(made.chain(&self.network).map(AsRawFd::as_raw_fd));
        numbers.extend(self.shares.descriptors());
        numbers
    }

    /// Where one is to be made with the process, and belongs to the caller's users as this one does.
    fn take_network(&mut self, early: Option<EarlyNetwork>) -> Result<()> {
        let early = early.and_then(EarlyNetwork::end);
        if self.namespaces & sys::namespace::NET != 0 && self.namespaces & sys::namespace::USER == 0 {
            self.network = early.map(above_standard).transpose()?;
        }
        if self.network.is_some() {
            self.namespaces &= !sys::namespace::NET;
        }
        Ok(())
    }

    /// How many descriptors from 3 on are sockets that were handed over.
    pub(crate) fn sockets(&self) -> u32 {
        let count = self.ops.iter().map(|op| if let Op::Sockets(sockets) = op { sockets.len() } else { 0 });
        count.sum::<usize>() as u32
    }

    /// The pid namespace that the child is to be born in, if it is another's.
    pub(crate) fn pid_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.ops.iter().find_map(|op| match op {
            Op::Enter { namespaces: sys::namespace::PID, file } => Some(file.as_fd()),
            _ => None,
        })
    }

    /// The user namespace that the container's process enters.
    pub(crate) fn own_users(&self) -> Option<BorrowedFd<'_>> {
        let entered = || {
            self.ops.iter().find_map(|op| match op {
                Op::Enter { namespaces: sys::namespace::USER, file } => Some(file.as_fd()),
                _ => None,
            })
        };
        self.users.as_ref().map(|made| made.users.as_fd()).or_else(entered)
    }

    /// Whether the first process makes a second one, which is the container's.
    pub(crate) fn begins(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Begin { .. }))
    }

    /// The filter by which another process decides about calls.
    pub(crate) fn listening_filter(&self) -> Option<(&[Instruction], u32)> {
        self.ops.iter().find_map(|op| match op {
            Op::Filter { program, flags, listens: true } => Some((program.as_slice(), *flags)),
            _ => None,
        })
    }

    /// The first operation that takes a procfs.
    pub(crate) fn takes_procfs(&self) -> Option<usize> {
        self.ops.iter().position(|op| matches!(op, Op::Clocks { .. } | Op::KernelFiles(_)))
    }

    /// Whether the process keeps the root that it is born with.
    pub(crate) fn keeps_root(&self) -> bool {
        let given = |op: &Op| {
            matches!(
                op,
                Op::Join { .. } | Op::LooseRoot { .. } | Op::Scratch(_) | Op::Tree(_) | Op::Root { .. }
            )
        };
        !self.ops.iter().any(given)
    }
}
