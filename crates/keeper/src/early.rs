//! What most containers need, made before the job comes, while there is nothing else to do; or all
//! that one container takes, if it is known which.

use std::time::{Duration, Instant};

use cgroup::{Entry, Group, Hold, Room};
use lifecycle::job::Job;
use lifecycle::tenants;
use runtime::ids::Claim;
use runtime::{EarlyNetwork, EarlyUsers};
use spec::container::{Namespace, Spec, Users};
use spec::plan::Step;
use spec::resources::Resources;
use spec::{Error, Id, Result, ResultExt};

use crate::network::Namespaces;

/// How long groups may wait for their container, if nobody holds them: an image may have to be
/// installed first.
const FRESH: Duration = Duration::from_secs(30);

/// Made early; what nobody asks for is taken back.
pub(crate) struct Early {
    id: Id,
    group: Option<Result<Option<Group>>>,
    made: Instant,
    /// What was said to the groups already.
    wished: Resources,
    entry: Option<Entry>,
    /// The container that all of this is made for, and what holds its groups.
    own: Option<(Box<Spec>, Option<Hold>)>,
    pub(crate) claim: Option<Claim>,
    pub(crate) namespaces: Namespaces,
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
        early.namespaces.users = users.and_then(|users| EarlyUsers::make(users, network).ok());
        early
    }

    /// All of the container that `job` is about. It may wait for long.
    pub(crate) fn of(mut job: Job) -> Result<Self> {
        let wanted = Box::new(job.spec.clone());
        let group = groups(&job)?;
        let hold = group.as_ref().map(Group::hold).transpose();
        let entry = group.as_ref().map(Group::entry).transpose();
        // From here on it is taken back, whatever fails.
        let mut early = Self::adopting(job.spec.id, Some(Ok(group)));
        early.own = Some((wanted, hold?));
        early.entry = entry?;
        early.claim = lifecycle::claim(&mut job.spec, None)?;
        early.namespaces = namespaces(&job)?;
        Ok(early)
    }

    /// Groups that were made by another program in this process.
    pub(crate) fn adopt(id: Id, group: Option<Group>) -> Self {
        Self::adopting(id, group.map(|group| Ok(Some(group))))
    }

    fn adopting(id: Id, group: Option<Result<Option<Group>>>) -> Self {
        Self {
            id,
            group,
            made: Instant::now(),
            wished: Resources::default(),
            entry: None,
            own: None,
            claim: None,
            namespaces: Namespaces::default(),
        }
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
        if let Some((wanted, hold)) = &self.own {
            let there = hold.as_ref().is_none_or(Hold::is_in_place);
            if there
                && has_same_groups(wanted, spec)
                && let Some(group) = self.group.take()
            {
                return Ok((group?, self.entry.take()));
            }
        }
        // What lies empty for long is taken for forgotten (`tsubo gc`).
        let plain = spec.controllers.is_none() && spec.group.is_none() && self.own.is_none();
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
        let group = self.group.take();
        match (self.own.take(), group) {
            // Those of this name may be somebody else's by now.
            (Some((_, hold)), Some(_)) => hold.into_iter().for_each(Hold::remove),
            (None, Some(Ok(Some(group)))) => {
                // `tsubo gc` finds what stays.
                let _ = group.end();
            }
            _ => {}
        }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.remove_groups();
    }
}

/// Whether what was made for one serves the other: somebody may have changed it meanwhile.
fn has_same_groups(wanted: &Spec, spec: &Spec) -> bool {
    let groups = |spec: &Spec| (spec.id, spec.cgroup, spec.controllers.clone(), spec.group.clone());
    groups(wanted) == groups(spec) && wanted.resources == spec.resources && wanted.wishes == spec.wishes
}

/// The namespaces that its plan will ask for, of users that have a place.
fn namespaces(job: &Job) -> Result<Namespaces> {
    let plan = spec::plan::plan(&job.spec);
    let of_users = plan.steps.contains(&Step::Own { namespace: Namespace::Net });
    let users = job.spec.users.clone().filter(|_| plan.steps.contains(&Step::Users));
    let users = users.map(|users| EarlyUsers::make(users, of_users)).transpose()?;
    let alone = users.is_none() && plan.namespaces.contains(&Namespace::Net);
    let network = alone.then(EarlyNetwork::make).transpose().doing(|| "making a network namespace")?;
    Ok(Namespaces { users, network })
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
