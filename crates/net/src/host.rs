//! The host's side of all networks.

use spec::Result;

use crate::link::{self, Found};
use crate::socket::Socket;

/// The network namespace in which it was opened, which takes the part of the host. Its methods are to be
/// called by threads that are in the same one: parameters below /proc/sys/net are theirs.
pub struct Host {
    pub(crate) route: Socket,
    pub(crate) filter: Socket,
}

impl Host {
    /// That of the calling thread.
    pub fn open() -> Result<Self> {
        Ok(Self { route: Socket::route()?, filter: Socket::filter()? })
    }

    /// A link by its name.
    pub fn link(&self, name: &str) -> Result<Option<Found>> {
        link::find(&self.route, name)
    }
}
