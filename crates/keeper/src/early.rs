//! What most containers need, made before the job comes, while there is nothing else to do.

use std::time::{Duration, Instant};

use cgroup::{Entry, Group, Room};
use lifecycle::job::Job;
use lifecycle::tenants;
use runtime::EarlyUsers;
use runtime::ids::Claim;
use spec::container::{Spec, Users};
use spec::resources::Resources;
use spec::{Error, Id, Result};

/// How long groups may wait for their container: an image may have to be installed first.
const FRESH: Duration = Duration::from_secs(30);

/// Made early; what nobody asks for is taken back.
pub(crate) struct Early {
    id: Id,
    group: Option<Result<Option<Group>>>,
    made: Instant,
    /// What was said to the groups already.
    wished: Resources,
    entry: Option<Entry>,
    pub(crate) claim: Option<Claim>,
    pub(crate) users: Option<EarlyUsers>,
}

impl Early {
    /// The control groups of `id`.
    pub(crate) fn groups(id: Id) -> Self {
        Self::adopting(id, Some(Group::create(id)))
    }

    /// And the ways into them, and users, with a network if that is likely. What fails is tried again when it is needed, and told then.
    pub(crate) fn all(id: Id, network: bool) -> Self {
        let mut early = Self::groups(id);
        if let Some(Ok(Some(group))) = &early.group {
            early.wished = Room::of_host().one();
            // What could not be said is tried again when more is known.
            early.wished = group.wish(&early.wished, &Resources::default());
            early.entry = group.entry().ok();
        }
        early.claim = lifecycle::find_place().ok();
        let users = early.claim.as_ref().map(|claim| Users::anywhere().at(claim.base()));
        early.users = users.and_then(|users| EarlyUsers::make(users, network).ok());
        early
    }

    /// Groups that were made by another program in this process.
    pub(crate) fn adopt(id: Id, group: Option<Group>) -> Self {
        Self::adopting(id, group.map(|group| Ok(Some(group))))
    }

    fn adopting(id: Id, group: Option<Result<Option<Group>>>) -> Self {
        let wished = Resources::default();
        Self { id, group, made: Instant::now(), wished, entry: None, claim: None, users: None }
    }

    /// Who goes on with the groups is somebody else.
    pub(crate) fn give_up_groups(&mut self) -> Option<Group> {
        self.entry = None;
        self.group.take()?.ok()?
    }

    /// The groups of a container and the ways into them: those that were made, or new ones; none if
    /// it is to have none.
    pub(crate) fn take_groups(&mut self, job: &Job) -> Result<(Option<Group>, Option<Entry>)> {
        let spec = &job.spec;
        // What lies empty for long is taken for forgotten (`tsubo gc`).
        let plain = spec.controllers.is_none() && spec.group.is_none();
        let fits = spec.cgroup && plain && self.id == spec.id;
        // Nobody can take a wish back.
        let fits = fits && self.wished.without(&spec.wishes).without(&spec.resources) == Resources::default();
        let fits = fits && self.made.elapsed() < FRESH;
        match self.group.take_if(|_| fits) {
            Some(group) => {
                let mut group = group?;
                let more = grant(&mut group, spec, &self.wished);
                if let (Err(_), Some(group)) = (&more, &group) {
                    // Nobody is in it. `tsubo gc` finds what stays.
                    let _ = group.end();
                }
                let entry = self.entry.take();
                more.map(|more| (group, entry.filter(|_| !more)))
            }
            None => {
                // Those to be made now have the same name.
                self.remove_groups();
                Ok((groups(job)?, None))
            }
        }
    }

    fn remove_groups(&mut self) {
        self.entry = None;
        if let Some(Ok(Some(group))) = self.group.take() {
            // `tsubo gc` finds what stays.
            let _ = group.end();
        }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.remove_groups();
    }
}

/// The groups of a container with its limits; none if it is to have none.
pub(crate) fn groups(job: &Job) -> Result<Option<Group>> {
    let spec = &job.spec;
    let mut group = match (&spec.controllers, &spec.group) {
        _ if !spec.cgroup => None,
        (_, Some(shared)) => {
            let (line, _unchanged) = tenants::line(job, shared)?;
            Group::create_shared(spec.id, &line)?
        }
        (Some(controllers), None) => Group::create_for(spec.id, controllers)?,
        (None, None) => Group::create(spec.id)?,
    };
    let granted = grant(&mut group, spec, &Resources::default());
    if let (Err(_), Some(group)) = (&granted, &group) {
        // Nobody is in it. `tsubo gc` finds what stays.
        let _ = group.end();
    }
    granted.map(|_| group)
}

/// Says the limits to a container's groups, to which `said` was said before. Whether they are in more
/// hierarchies than before.
fn grant(group: &mut Option<Group>, spec: &Spec, said: &Resources) -> Result<bool> {
    let Some(group) = group else {
        return match spec.resources == Resources::default() {
            true => Ok(false),
            false => Err(Error::unsupported("a container without control groups cannot be limited").hint(
                "tsubo info tells why this host gives it none; --best-effort starts it without limits",
            )),
        };
    };
    let mut more = false;
    let wishes = spec.wishes.beyond(said);
    if wishes != Resources::default() {
        more = group.reach(spec.id, &wishes.without(&Room::of_host().one()));
    }
    more |= group.grant(spec.id, &spec.resources)?;
    if wishes != Resources::default() {
        // Swap counts together with the memory that was asked for.
        match spec.resources == Resources::default() {
            true => group.wish(&wishes, said),
            false => group.wish_now(&wishes),
        };
    }
    Ok(more)
}
