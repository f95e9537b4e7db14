//! What the kernel knows a running container by: descriptors that cannot come to mean another one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use spec::{Result, ResultExt};

use crate::container::Container;
use crate::pinned::ends_within;
use crate::record::Running;

/// A running container, for whoever watches its end and makes sockets in its network.
#[derive(Debug)]
pub struct Handle {
    /// The pidfd of its first process, which can be read from (poll) once that has ended.
    pub first: OwnedFd,
    /// The pidfd of its keeper, likewise: by its end everything of this life is cleaned up.
    pub keeper: OwnedFd,
    /// Its network namespace; None where it is in that of the calling thread.
    pub network: Option<OwnedFd>,
}

impl Container {
    /// Opens what it is known by.
    ///
    /// # Errors
    /// Conflict if it does not run, or rests between two lives.
    pub fn handle(&self) -> Result<Handle> {
        self.handle_of(&self.running()?)
    }

    /// The same, for whoever knows already how it stands.
    ///
    /// # Errors
    /// As there.
    pub fn handle_of(&self, state: &Running) -> Result<Handle> {
        let keeper = state.keeper.find()?.ok_or_else(|| self.just_ended())?;
        let first = state.first.find()?.ok_or_else(|| self.just_ended())?;
        let network = network_of(state.first.pid);
        // Only if it has not ended by now was the number its own.
        if ends_within(&first, Duration::ZERO) {
            return Err(self.just_ended());
        }
        let network = network.doing(|| format!("opening the network of container {}", self.name()))?;
        Ok(Handle { first, keeper, network })
    }
}

fn network_of(pid: i32) -> std::io::Result<Option<OwnedFd>> {
    let theirs = File::open(format!("/proc/{pid}/ns/net"))?;
    let (there, here) = (theirs.metadata()?, std::fs::metadata("/proc/thread-self/ns/net")?);
    let same = (there.dev(), there.ino()) == (here.dev(), here.ino());
    Ok((!same).then(|| theirs.into()))
}
