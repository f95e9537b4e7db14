//! The network of a container: wired by a thread while its first process sets itself up.

use std::os::fd::{AsFd, OwnedFd};
use std::thread::{Builder, JoinHandle};

use lifecycle::job::Job;
use lifecycle::networks::{self, Wired};
use runtime::{EarlyNetwork, EarlyUsers};
use spec::{Error, Result, ResultExt};

/// As much stack as it takes to talk to the kernel.
const STACK: usize = 256 << 10;

/// The namespaces that a first process is to be put in.
#[derive(Default)]
pub(crate) struct Namespaces {
    /// Of its users, and the network that belongs to them.
    pub(crate) users: Option<EarlyUsers>,
    /// Of its network alone, where it has the host's users.
    pub(crate) network: Option<EarlyNetwork>,
}

/// A network on its way.
pub(crate) struct Wiring(Option<JoinHandle<Result<Wired>>>);

impl Wiring {
    /// Begins with it, if the container of `job` has one that must be wired. Some namespaces were made
    /// beforehand.
    pub(crate) fn begin(job: &Job, early: Namespaces) -> Result<(Namespaces, Self)> {
        if !networks::is_wired(&job.spec) {
            return Ok((early, Self(None)));
        }
        let namespaces = make(job, early)?;
        let inside = namespaces.users.as_ref().and_then(EarlyUsers::network);
        let inside = inside.or(namespaces.network.as_ref().and_then(EarlyNetwork::made));
        let inside = inside.ok_or_else(|| Error::internal("a network without a namespace"))?;
        let inside = inside.try_clone_to_owned().doing(|| "duplicating a namespace")?;
        // What else this process was called is forgotten soon.
        lifecycle::KeeperProgram::know();
        let job = job.clone();
        let thread = Builder::new().stack_size(STACK).spawn(move || networks::wire(&job, inside.as_fd()));
        Ok((namespaces, Self(Some(thread.doing(|| "making a thread for the network")?))))
    }

    /// Waits for it: None where there is nothing to wire.
    pub(crate) fn end(&mut self) -> Result<Option<Wired>> {
        let Some(thread) = self.0.take() else { return Ok(None) };
        let wired = thread.join().map_err(|_| Error::internal("making the network has failed half way"))?;
        let mut wired = wired?;
        wired.settle()?;
        Ok(Some(wired))
    }
}

impl Drop for Wiring {
    fn drop(&mut self) {
        // What it has made is undone by name; it must not go on while that is done.
        let _ = self.end();
    }
}

fn make(job: &Job, early: Namespaces) -> Result<Namespaces> {
    match &job.spec.users {
        Some(users) => {
            let early = early.users.filter(|early| early.suits(users, true));
            let users = early.map_or_else(|| EarlyUsers::make(users.clone(), true), Ok)?;
            Ok(Namespaces { users: Some(users), network: None })
        }
        None => {
            let network = early.network.map_or_else(EarlyNetwork::make, Ok);
            let network = network.doing(|| "making a network namespace")?;
            Ok(Namespaces { users: None, network: Some(network) })
        }
    }
}

/// Ports of the host that nobody else may have meanwhile.
pub(crate) type Ports = Vec<OwnedFd>;
