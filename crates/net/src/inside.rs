//! The inner side: sockets that belong to a container's network namespace.

use std::os::fd::BorrowedFd;

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

/// A socket for links and addresses there.
pub(crate) fn socket(namespace: BorrowedFd<'_>) -> Result<Socket> {
    within(namespace, Socket::route)
}

/// Moves an interface out of the namespace `from` into that of the calling thread, under its name there. To
/// be done before the namespace ends: the kernel gives back devices only, and destroys what is virtual. An
/// interface that is not in it is no failure.
pub fn give_back(from: BorrowedFd<'_>, inside: &str, host: &str) -> Result<()> {
    let socket = socket(from)?;
    let Some(found) = link::find(&socket, inside)? else { return Ok(()) };
    let here =
        std::fs::File::open("/proc/thread-self/ns/net").doing(|| "opening the host's network namespace")?;
    let mut batch = Batch::default();
    link::travel(&mut batch, found.index, host, std::os::fd::AsFd::as_fd(&here));
    match socket.run(&mut batch)?.first() {
        None => Ok(()),
        Some(failure) => {
            Err(Error::io(format!("giving the interface {host} back to the host"), failure.errno.into()))
        }
    }
}
