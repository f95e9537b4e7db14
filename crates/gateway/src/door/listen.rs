//! Listening sockets, and the connections that come over them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use spec::{Error, Result};
use tokio::net::{TcpListener, TcpStream};

use super::Front;
use super::{http, tcp, tls};
use crate::control;
use crate::service::Service;

/// So many connections wait to be accepted, at most: the kernel's own bound is the one to hold.
const BACKLOG: i32 = 4096;

/// When there are no more descriptors, others must close first.
const BREATH: Duration = Duration::from_millis(20);

/// What is behind a listening socket.
#[derive(Clone)]
pub(crate) enum Behind {
    Http,
    Tls,
    Service(Rc<Service>),
    /// The service is given the socket.
    Lent(Rc<Service>),
    /// Metrics and the status.
    Admin,
}

impl Behind {
    /// What is spoken there, for people.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Http | Self::Admin => "http",
            Self::Tls => "https",
            Self::Service(_) | Self::Lent(_) => "tcp",
        }
    }
}

impl PartialEq for Behind {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service(one), Self::Service(other)) | (Self::Lent(one), Self::Lent(other)) => {
                Rc::ptr_eq(one, other)
            }
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }
}

/// Makes a listening socket.
///
/// # Errors
/// When the address is another's, or needs more rights.
pub(crate) fn listen(at: SocketAddr) -> Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let make = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if at.is_ipv6() {
            // Both families may be said, each for itself.
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        rustix::net::bind(&socket, &at)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    make().map_err(|errno: rustix::io::Errno| {
        let error = Error::io(format!("listening at {at}"), errno.into());
        match errno {
            rustix::io::Errno::ADDRINUSE => error
                .hint(format!("another program listens there: ss -ltnp 'sport = {}' tells which", at.port())),
            rustix::io::Errno::ACCESS => error.hint("ports below 1024 take root, or choose another"),
            rustix::io::Errno::ADDRNOTAVAIL => error.hint("no interface of this host has that address"),
            _ => error,
        }
    })
}

/// Serves what comes over a listening socket, for ever.
pub(crate) async fn accept(front: Rc<Front>, listener: TcpListener, behind: Behind) {
    loop {
        if front.open.get() >= front.clients.borrow().connections {
            // They wait in the kernel, which costs less.
            tokio::time::sleep(BREATH).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, client)) => {
                // What cannot be set on it will be seen when it is used.
                let _ = stream.set_nodelay(true);
                let _ = keep_alive(&stream);
                let (open, behind) = (Open::count(&front), behind.clone());
                tokio::task::spawn_local(async move { serve(&open.0, stream, client, behind).await });
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(_) => tokio::time::sleep(BREATH).await,
        }
    }
}

/// A connection that is counted for as long as this is kept.
struct Open(Rc<Front>);

impl Open {
    fn count(front: &Rc<Front>) -> Self {
        front.open.set(front.open.get() + 1);
        Self(Rc::clone(front))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Finds out by itself that a client is not there any more, also where both sides may be silent: within two minutes.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 6)?;
    sockopt::set_socket_keepalive(stream, true)
}

async fn serve(front: &Rc<Front>, stream: TcpStream, client: SocketAddr, behind: Behind) {
    match behind {
        Behind::Http => http::serve_plain(Rc::clone(front), stream, client.ip()).await,
        Behind::Tls => tls::serve(Rc::clone(front), stream, client.ip()).await,
        Behind::Admin => Box::pin(control::serve(Rc::clone(front), stream)).await,
        Behind::Service(service) => Box::pin(tcp::serve(service, stream, |stream| stream)).await,
        // Nobody accepts for it.
        Behind::Lent(_) => {}
    }
}

/// It was gone before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
