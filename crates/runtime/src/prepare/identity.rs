//! Who the process becomes, and what it may do until it executes the command.

use rustix::fs::{Gid, Uid};
use spec::container::{CAPABILITY_NAMES, Namespace, capability_names};
use spec::plan::{Plan, Step};
use spec::portable::Ids;
use spec::{Error, Result, ResultExt};

use super::Op;
use super::users::Owners;

/// Who the process becomes.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// None where this user namespace lets nobody change them (user_namespaces(7)).
    pub(crate) groups: Option<Vec<Gid>>,
    pub(crate) bounding: u64,
    /// Held until the gate: what it ends up with, and what loading a filter takes.
    pub(crate) until_gate: u64,
}

pub(super) fn identity(plan: &Plan, user: &Ids, bounding: u64, listen: bool) -> Result<Op> {
    let valid = |id: u32, what: &str| {
        if id == u32::MAX {
            Err(Error::user(format!("{what} id {id} means none to the kernel")))
        } else {
            Ok(id)
        }
    };
    let permitted = permitted(plan)?;
    if bounding & !permitted != 0 {
        let missing: Vec<_> = capability_names(bounding & !permitted).collect();
        let error = Error::unsupported(format!(
            "the container needs {}, which this host does not let us have",
            missing.join(", ")
        ));
        return Err(if permitted == 0 { error.hint("run it with sudo") } else { error });
    }
    let owners = Owners::of(plan)?;
    if let Some(homeless) = user.groups.iter().find(|gid| owners.group(**gid).is_none()) {
        return Err(Error::user(format!("group {homeless} has no place in the user mapping"))
            .hint("widen the mapping, or leave the group out"));
    }
    let groups = user.groups.iter().map(|gid| valid(*gid, "group").map(Gid::from_raw));
    let groups: Vec<Gid> = groups.collect::<Result<_>>()?;
    // A user who maps himself alone keeps his groups: without them he could get where they may not.
    let fixed = groups.is_empty()
        && std::fs::read("/proc/self/setgroups").is_ok_and(|word| word.starts_with(b"deny"));
    let administer = if takes_administrator(plan, listen) { 1 << sys::capability::SYS_ADMIN } else { 0 };
    Ok(Op::Identity(Identity {
        uid: Uid::from_raw(valid(user.uid, "user")?),
        gid: Gid::from_raw(valid(user.gid, "group")?),
        groups: (!fixed).then_some(groups),
        bounding,
        until_gate: (bounding | administer) & permitted,
    }))
}

/// What the process can hold when it becomes its user: everything, of a user namespace that it has
/// entered.
fn permitted(plan: &Plan) -> Result<u64> {
    let entered = |step: &Step| matches!(step, Step::Users | Step::Enter { namespace: Namespace::User, .. });
    if plan.steps.iter().any(entered) {
        return Ok((1 << CAPABILITY_NAMES.len()) - 1);
    }
    sys::capability::permitted().map_err(std::io::Error::from).doing(|| "reading our capabilities")
}

/// Filters and Landlock are for who cannot gain privilege by exec, or has CAP_SYS_ADMIN.
fn takes_administrator(plan: &Plan, listen: bool) -> bool {
    let restricts = |step: &Step| matches!(step, Step::Filter { .. } | Step::Landlock(_));
    !plan.steps.contains(&Step::NoNewPrivileges) && (listen || plan.steps.iter().any(restricts))
}
