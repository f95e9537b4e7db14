//! Control groups that are made before the job comes, while there is nothing else to do.

use cgroup::Group;
use spec::container::Spec;
use spec::{Id, Result};

/// Groups that nobody has asked for yet; removed if nobody does.
pub(crate) struct Early {
    id: Id,
    made: Option<Result<Option<Group>>>,
}

impl Early {
    pub(crate) fn make(id: Id) -> Self {
        Self { id, made: Some(Group::create(id)) }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        if let Some(Ok(Some(group))) = &self.made {
            // `tsubo gc` finds what stays.
            let _ = group.end();
        }
    }
}

/// The groups of a container: those that were made early, or new ones; none if it is to have none.
pub(crate) fn groups(early: Option<Early>, spec: &Spec) -> Result<Option<Group>> {
    match (early, &spec.controllers) {
        _ if !spec.cgroup => Ok(None),
        (early, Some(controllers)) => {
            // They have the same name.
            drop(early);
            Group::create_for(spec.id, controllers)
        }
        (Some(mut early), None) if early.id == spec.id => early.made.take().unwrap_or(Ok(None)),
        _ => Group::create(spec.id),
    }
}
