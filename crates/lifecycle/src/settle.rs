//! What is decided anew at each start: who the container's users are on the host, and which
//! namespaces of other containers it joins.

use std::path::{Path, PathBuf};

use runtime::ids::Claim;
use spec::container::{Namespace, Place, Spec};
use spec::{Error, Result, ResultExt};

use crate::Containers;
use crate::job::Job;
use crate::record::Status;

/// One for the whole host, whatever state directory a container is of: ids are the host's.
const HOST: &str = "/run/tsubo";

/// A spec that names only what is there.
#[derive(Debug)]
pub struct Settled {
    /// Ready to be planned.
    pub spec: Spec,
    /// Holds the container's place among the host's users; as long as it runs.
    pub claim: Option<Claim>,
}

/// Settles what a start needs of the host.
///
/// # Errors
/// When all places are taken; a container whose namespace is to be joined does not run.
pub fn settle(job: &Job) -> Result<Settled> {
    let mut spec = job.spec.clone();
    let mut claim = None;
    if let Some(users) = spec.users.as_mut().filter(|users| users.anywhere) {
        std::fs::create_dir_all(HOST).doing(|| format!("making {HOST}"))?;
        let taken = Claim::take(Path::new(HOST))?;
        *users = users.at(taken.base());
        claim = Some(taken);
    }
    for (namespace, place) in &mut spec.namespaces {
        if let Place::Container(name) = place {
            *place = Place::Path(namespace_of(job, name, *namespace)?);
        }
    }
    Ok(Settled { spec, claim })
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
