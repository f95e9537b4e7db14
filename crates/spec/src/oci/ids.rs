//! Who the container's users are on the host.

use super::bad;
use super::written::IdMapping;
use crate::Result;
use crate::container::{IdRange, Namespace, Place, Spec, Users};

/// The most ranges that the kernel takes (user_namespaces(7)).
const MOST: usize = 340;

/// The mapping of the container's user namespace. For one that exists it only tells what is there.
pub(super) fn users(
    spec: &Spec,
    uids: Option<&[IdMapping]>,
    gids: Option<&[IdMapping]>,
) -> Result<Option<Users>> {
    let (uids, gids) = (uids.unwrap_or_default(), gids.unwrap_or_default());
    match spec.namespaces.get(&Namespace::User) {
        None if uids.is_empty() && gids.is_empty() => return Ok(None),
        None => {
            return Err(bad(
                "linux.uidMappings",
                "mappings need a user namespace, and linux.namespaces has none",
            ));
        }
        Some(Place::Own) => {}
        Some(_) if uids.is_empty() && gids.is_empty() => return Ok(None),
        Some(_) => {}
    }
    let users = mapping("linux.uidMappings", "linux.gidMappings", uids, gids)?;
    let user = &spec.process.user;
    if users.host_uid(user.uid).is_none() || users.host_gid(user.gid).is_none() {
        let (uid, gid) = (user.uid, user.gid);
        return Err(bad("process.user", &format!("user {uid} group {gid} has no place in the mappings")));
    }
    if let Some(homeless) = user.groups.iter().find(|gid| users.host_gid(**gid).is_none()) {
        let why = format!("group {homeless} has no place in linux.gidMappings");
        return Err(bad("process.user.additionalGids", &why));
    }
    Ok(Some(users))
}

/// A mapping that is complete.
pub(super) fn mapping(
    uid_place: &str,
    gid_place: &str,
    uids: &[IdMapping],
    gids: &[IdMapping],
) -> Result<Users> {
    Ok(Users { uids: ranges(uid_place, uids)?, gids: ranges(gid_place, gids)?, anywhere: false })
}

fn ranges(place: &str, written: &[IdMapping]) -> Result<Vec<IdRange>> {
    if written.is_empty() {
        return Err(bad(place, "a user namespace without a mapping has no users"));
    }
    if written.len() > MOST {
        let why = format!("{} ranges are more than the {MOST} that the kernel takes", written.len());
        return Err(bad(place, &why).hint("join ranges that follow each other"));
    }
    let mut sides = [Vec::new(), Vec::new()];
    for (index, range) in written.iter().enumerate() {
        let place = || format!("{place}[{index}]");
        if range.size == 0 {
            return Err(bad(&place(), "its size is 0"));
        }
        for (side, first) in sides.iter_mut().zip([range.container_id, range.host_id]) {
            let end = u64::from(first) + u64::from(range.size);
            // The last number of all means nobody to the kernel.
            if end > u64::from(u32::MAX) {
                return Err(bad(&place(), "it goes beyond the last id, 4294967294"));
            }
            side.push((u64::from(first), end));
        }
    }
    for (mut side, what) in sides.into_iter().zip(["containerID", "hostID"]) {
        side.sort_unstable();
        if let Some(pair) = side.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            return Err(bad(place, &format!("ranges overlap: {what} {} is in two of them", pair[1].0)));
        }
    }
    let range = |one: &IdMapping| IdRange { inside: one.container_id, host: one.host_id, count: one.size };
    Ok(written.iter().map(range).collect())
}
