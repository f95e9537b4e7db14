//! What is decided anew at each start: who the container's users are on the host, and which
//! namespaces of other containers it joins.

use std::path::{Path, PathBuf};

use runtime::ids::Claim;
use spec::container::{Namespace, Place, Spec};
use spec::plan::Plan;
use spec::{Error, Result, ResultExt};

use crate::job::Job;
use crate::record::Status;
use crate::{Containers, sockets};

/// One for the whole host, whatever state directory a container is of: ids are the host's.
const HOST: &str = "/run/tsubo";

/// Finds a place on the host for the users of a container that has users of its own, unless one was
/// found early. Whoever has the claim holds the place: as long as the container runs.
///
/// # Errors
/// When all places are taken.
pub fn claim(spec: &mut Spec, early: Option<Claim>) -> Result<Option<Claim>> {
    let Some(users) = spec.users.as_mut().filter(|users| users.anywhere) else { return Ok(None) };
    let claim = early.map_or_else(find_place, Ok)?;
    *users = users.at(claim.base());
    Ok(Some(claim))
}

/// A place on the host for the users of some container.
///
/// # Errors
/// When all places are taken.
pub fn find_place() -> Result<Claim> {
    std::fs::create_dir_all(HOST).doing(|| format!("making {HOST}"))?;
    Claim::take(Path::new(HOST))
}

/// The plan of a job, with the namespaces of other containers where they are now.
///
/// # Errors
/// When such a container does not run.
pub fn plan(job: &Job) -> Result<Plan> {
    let joins = |place: &Place| matches!(place, Place::Container(_));
    let planned = |spec: &Spec| {
        let mut plan = spec::plan::plan(spec);
        sockets::plan(spec, &job.sockets, &mut plan);
        plan
    };
    if !job.spec.namespaces.values().any(joins) {
        return Ok(planned(&job.spec));
    }
    let mut spec = job.spec.clone();
    for (namespace, place) in &mut spec.namespaces {
        if let Place::Container(name) = place {
            *place = Place::Path(namespace_of(job, name, *namespace)?);
        }
    }
    Ok(planned(&spec))
}

fn namespace_of(job: &Job, name: &str, namespace: Namespace) -> Result<PathBuf> {
    let container = Containers::beside(job).find(name)?;
    match container.status()? {
        Status::Running(state) if state.first.open().is_some() => {
            Ok(format!("/proc/{}/ns/{}", state.first.pid, namespace.file()).into())
        }
        other => Err(Error::conflict(format!(
            "container {name}, whose {} namespace is to be joined, does not run: {}",
            namespace.word(),
            other.word()
        ))
        .hint(format!("start it first: tsubo start {name}"))),
    }
}
