//! Who the container's users are on the host, and the user namespace that says so to the kernel.

use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;
use spec::container::{self, IdRange, Namespace};
use spec::plan::{Plan, Step};
use spec::portable::Ids;
use spec::{Error, ErrorKind, Result, ResultExt};
use sys::users::{Stage, UserNamespace, Wish};

use super::{Op, above_standard};

/// The kernel takes a map in one write of less than a page.
const LONGEST_MAP: usize = 4095;

/// A user namespace that was made before anybody knew whether it would be of use.
#[derive(Debug)]
pub struct EarlyUsers {
    users: container::Users,
    made: UserNamespace,
}

impl EarlyUsers {
    /// Makes the one of these users, owned by who is root inside; with a network namespace that belongs to
    /// it if `network` is asked for.
    ///
    /// # Errors
    /// Where the kernel refuses it, and for users without a root.
    pub fn make(users: container::Users, network: bool) -> Result<Self> {
        let owner = users.host_uid(0).ok_or_else(without_root)?;
        Ok(Self { made: namespace(&users, owner, network)?, users })
    }

    /// The network namespace that was made with it.
    pub fn network(&self) -> Option<BorrowedFd<'_>> {
        self.made.network.as_ref().map(AsFd::as_fd)
    }

    /// Whether it is what a container of these users needs.
    pub fn suits(&self, users: &container::Users, network: bool) -> bool {
        self.users == *users && self.made.network.is_some() == network
    }
}

/// The user namespace of a container that gets one of its own.
pub(super) fn make(plan: &Plan, early: Option<EarlyUsers>) -> Result<Option<UserNamespace>> {
    let Some(users) = entered(plan) else { return Ok(None) };
    if users.anywhere {
        return Err(Error::internal("a start without a place on the host for the container's users"));
    }
    if !plan.steps.contains(&Step::Users) {
        // Somebody else's, which is there already.
        return Ok(None);
    }
    let network = plan.steps.contains(&Step::Own { namespace: Namespace::Net });
    match early.filter(|early| early.suits(users, network)) {
        Some(early) => Ok(Some(early.made)),
        None => {
            let (owner, _) = Owners::of(plan)?.root()?.ok_or_else(without_root)?;
            namespace(users, owner.as_raw(), network).map(Some)
        }
    }
}

/// A user namespace with this mapping, of this user of the host.
pub(super) fn namespace(users: &container::Users, owner: u32, network: bool) -> Result<UserNamespace> {
    let (uids, gids) = (lines(&users.uids)?, lines(&users.gids)?);
    let wish = Wish { owner, uids: &uids, gids: &gids, network };
    sys::users::make(wish).map_err(|(stage, cause)| explain(stage, cause))
}

fn without_root() -> Error {
    Error::internal("users without a root")
}

/// Which user namespace is entered, and as whom.
#[derive(Debug)]
pub(crate) struct Users {
    /// That of a running container, by its pidfd; None for the one that was made for it.
    pub(crate) joined: Option<OwnedFd>,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// Into the namespace that was made, or into that of the process behind `target`.
pub(super) fn enter(plan: &Plan, target: Option<BorrowedFd<'_>>) -> Result<Op> {
    let joined = target.map(|target| target.try_clone_to_owned().doing(|| "duplicating a pidfd"));
    let joined = joined.transpose()?.map(above_standard).transpose()?;
    let (uid, gid) = Owners::of(plan)?.inside();
    Ok(Op::Users(Users { joined, uid, gid }))
}

/// The users of a plan whose process enters their namespace.
fn entered(plan: &Plan) -> Option<&container::Users> {
    let enters = |step: &Step| matches!(step, Step::Users | Step::Enter { namespace: Namespace::User, .. });
    plan.users.as_ref().filter(|_| plan.steps.iter().any(enters))
}

fn lines(ranges: &[IdRange]) -> Result<String> {
    let mut text = String::new();
    for IdRange { inside, host, count } in ranges {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{inside} {host} {count}");
    }
    if text.len() > LONGEST_MAP {
        return Err(Error::user(format!("the user mapping takes {} bytes", text.len()))
            .hint(format!("the kernel takes {LONGEST_MAP}: join ranges, or leave some out")));
    }
    Ok(text)
}

fn explain(stage: Stage, cause: std::io::Error) -> Error {
    let full = cause.raw_os_error() == Some(Errno::NOSPC.raw_os_error());
    let what = match stage {
        Stage::Helper => "making the process that makes a user namespace",
        Stage::Owner => "becoming the owner of a user namespace",
        Stage::Making => "making a user namespace",
        Stage::Mapping => "mapping the users of a container",
    };
    let error = Error::process(what, cause);
    match (stage, error.kind()) {
        (Stage::Making, _) if full => {
            error.hint("the host allows no more of them: raise user.max_user_namespaces (sysctl)")
        }
        (_, ErrorKind::Denied) => error.hint("run it with sudo"),
        _ => error,
    }
}

/// Owners of what is made for a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners<'a> {
    users: Option<&'a container::Users>,
    /// As numbered inside.
    root: (u32, u32),
}

impl<'a> Owners<'a> {
    pub(super) fn of(plan: &'a Plan) -> Result<Self> {
        let users = entered(plan);
        let rootless = users.is_some_and(|users| users.host_uid(0).is_none() || users.host_gid(0).is_none());
        let root = match user(plan) {
            Some(user) if rootless => (user.uid, user.gid),
            _ => (0, 0),
        };
        Ok(Self { users, root })
    }

    /// Who a process is between entering the user namespace and becoming its user, as numbered
    /// inside: root, or the user where the mapping has no root.
    pub(super) fn inside(self) -> (Uid, Gid) {
        (Uid::from_raw(self.root.0), Gid::from_raw(self.root.1))
    }

    /// The same on the host; None where the container's users are the host's.
    pub(super) fn root(self) -> Result<Option<(Uid, Gid)>> {
        let (uid, gid) = self.root;
        self.users.map(|users| on_host(users, uid, gid)).transpose()
    }

    /// A user on the host, if it has a place there.
    pub(super) fn uid(self, inside: u32) -> Option<u32> {
        self.users.map_or(Some(inside), |users| users.host_uid(inside))
    }

    /// A group on the host, if it has a place there.
    pub(super) fn group(self, inside: u32) -> Option<u32> {
        self.users.map_or(Some(inside), |users| users.host_gid(inside))
    }

    /// Whom a terminal or a pipe of `user` belongs to, if not to ourselves.
    pub(super) fn user(self, user: &Ids) -> Result<Option<Uid>> {
        match self.users {
            None => Ok((user.uid != 0 && user.uid != u32::MAX).then(|| Uid::from_raw(user.uid))),
            Some(users) => on_host(users, user.uid, user.gid).map(|(uid, _)| Some(uid)),
        }
    }
}

fn on_host(users: &container::Users, uid: u32, gid: u32) -> Result<(Uid, Gid)> {
    let missing = || Error::user(format!("user {uid} group {gid} has no place in the user mapping"));
    let ids = users.host_uid(uid).zip(users.host_gid(gid)).ok_or_else(missing)?;
    Ok((Uid::from_raw(ids.0), Gid::from_raw(ids.1)))
}

/// Who the process becomes, if that is said.
pub(super) fn user(plan: &Plan) -> Option<&Ids> {
    plan.steps.iter().find_map(|step| match step {
        Step::Identity { user, .. } => Some(user),
        _ => None,
    })
}

/// Lets a process that is not root open its pipes anew, as `/dev/stdout`. Only pipes without a
/// name: nothing on the host changes its owner.
pub(crate) fn give_pipes(plan: &Plan, stdio: [BorrowedFd<'_>; 3]) -> Result<()> {
    let Some(owner) = user(plan).map(|user| Owners::of(plan)?.user(user)).transpose()?.flatten() else {
        return Ok(());
    };
    for fd in stdio {
        if is_pipe(fd) {
            match rustix::fs::fchown(fd.as_fd(), Some(owner), None) {
                // Not ours to give (the caller's, and we are an ordinary user): it works as it is.
                Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
                Err(error) => return Err(Error::io("giving a pipe to the container's user", error.into())),
            }
        }
    }
    Ok(())
}

fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    let fifo = |mode| FileType::from_raw_mode(mode) == FileType::Fifo;
    rustix::fs::fstat(fd).is_ok_and(|status| fifo(status.st_mode))
        && rustix::fs::fstatfs(fd).is_ok_and(|system| system.f_type as u64 == PIPES)
}

/// PIPEFS_MAGIC.
const PIPES: u64 = 0x5049_5045;
