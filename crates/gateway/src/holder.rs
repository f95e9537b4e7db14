//! Who holds the listening sockets while those who accept come and go: a process that does nothing else, so
//! that nobody who comes meanwhile is turned away.
//!
//! Holder and worker talk over a socket that keeps messages apart: each is a word, an address, and at most
//! one descriptor.

mod channel;
mod process;
mod tend;
mod verdict;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use spec::{Result, ResultExt};

use crate::watch::Watched;

pub(crate) use channel::{Channel, Message};
pub use tend::hold;

/// The sockets that a worker was given, and where it tells of others.
#[derive(Default)]
pub(crate) struct Held {
    /// None where nobody holds anything for us.
    channel: Option<Channel>,
    given: HashMap<SocketAddr, OwnedFd>,
    /// Nobody else serves this state directory as long as it is open.
    lock: Option<OwnedFd>,
}

impl Held {
    /// Takes what a holder gives over `channel`.
    ///
    /// # Errors
    /// When it is no holder that speaks there.
    pub(crate) fn receive(channel: OwnedFd) -> Result<Self> {
        let channel = Channel::over(channel);
        let mut held = Self::default();
        loop {
            match channel.receive()? {
                Some(Message::Socket(at, socket)) => drop(held.given.insert(at, socket)),
                Some(Message::Lock(lock)) => held.lock = Some(lock),
                Some(Message::End) | None => break,
                Some(Message::Forget(_) | Message::Ready) => {}
            }
        }
        held.channel = Some(channel);
        Ok(held)
    }

    /// The socket that listens at `at`, if one was given; it stays given until it is [kept](Self::keep).
    pub(crate) fn copy(&self, at: SocketAddr) -> Option<Result<OwnedFd>> {
        let socket = self.given.get(&at)?;
        Some(socket.try_clone().doing(|| format!("taking over the socket at {at}")))
    }

    /// Has a socket held from now on.
    pub(crate) fn keep(&mut self, at: SocketAddr, socket: &OwnedFd) {
        if self.given.remove(&at).is_some() {
            return;
        }
        // Where it is gone, nobody holds anything; that is seen elsewhere.
        let _ = self.channel.as_ref().map(|channel| channel.send_socket(at, socket.as_fd()));
    }

    /// And not any more.
    pub(crate) fn forget(&mut self, at: SocketAddr) {
        self.given.remove(&at);
        // A holder that is gone holds nothing.
        let _ = self.channel.as_ref().map(|channel| channel.send(&Message::Forget(at)));
    }

    /// Readable when the holder is gone.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(crate) fn watch(&self) -> Result<Option<Watched>> {
        let watch = |channel: &Channel| channel.as_fd().try_clone_to_owned().and_then(Watched::new);
        self.channel.as_ref().map(watch).transpose().doing(|| "watching who holds the sockets")
    }

    /// Another gateway may serve this state directory as soon as the holder has gone, too.
    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// Everything is as the configuration says; what was given and is not wanted is closed.
    pub(crate) fn is_ready(&mut self) {
        for at in std::mem::take(&mut self.given).into_keys() {
            self.forget(at);
        }
        let _ = self.channel.as_ref().map(|channel| channel.send(&Message::Ready));
    }
}
