//! The inner side: sockets that belong to a container's network namespace.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use spec::{Error, Result, ResultExt};

use crate::link;
use crate::message::Batch;
use crate::socket::Socket;

/// Does something in a network namespace, on a thread that ends there.
pub(crate) fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
                .map_err(std::io::Error::from)
                .doing(|| "entering the container's network namespace")?;
            work()
        });
        let thread =
            thread.map_err(|cause| Error::process("making a thread for the container's side", cause))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::internal("the thread for the container's side broke down")))
    })
}

/// The container's side: its network namespace, and a way to speak to the kernel there.
pub struct Inside {
    namespace: OwnedFd,
    pub(crate) route: Socket,
}

impl Inside {
    /// That of the calling thread: what costs least, if the namespace was made by it just now.
    pub fn here() -> Result<Self> {
        let namespace = File::open("/proc/thread-self/ns/net").doing(|| "opening the network namespace")?;
        Ok(Self { namespace: namespace.into(), route: Socket::route()? })
    }

    /// That of a namespace.
    pub fn of(namespace: BorrowedFd<'_>) -> Result<Self> {
        let copy = namespace.try_clone_to_owned().doing(|| "keeping the network namespace")?;
        Ok(Self { namespace: copy, route: within(namespace, Socket::route)? })
    }

    /// From descriptors of a namespace and of a socket of it (AF_NETLINK, NETLINK_ROUTE), which another process made.
    pub fn from_parts(namespace: OwnedFd, socket: OwnedFd) -> Self {
        Self { namespace, route: Socket::from(socket) }
    }

    /// Whether an interface is there.
    pub fn has(&self, interface: &str) -> Result<bool> {
        Ok(link::find(&self.route, interface)?.is_some())
    }

    /// The namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Moves an interface out of the namespace `from` into that of the calling thread, under its name there. To
/// be done before the namespace ends: the kernel gives back devices only, and destroys what is virtual. An
/// interface that is not in it is no failure.
pub fn give_back(from: BorrowedFd<'_>, inside: &str, host: &str) -> Result<()> {
    let socket = within(from, Socket::route)?;
    let Some(found) = link::find(&socket, inside)? else { return Ok(()) };
    let here = File::open("/proc/thread-self/ns/net").doing(|| "opening the host's network namespace")?;
    let mut batch = Batch::default();
    link::travel(&mut batch, found.index, host, here.as_fd());
    match socket.run(&mut batch)?.first() {
        None => Ok(()),
        Some(failure) => {
            Err(Error::io(format!("giving the interface {host} back to the host"), failure.errno.into()))
        }
    }
}
