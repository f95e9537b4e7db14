//! Connections to instances: made in the network of the container itself, which so needs no way to the
//! outside to be served.

mod probe;

use std::cell::OnceCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as Blocking};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) use probe::Probe;

thread_local! {
    /// The network that we are in, if we may come back to it: that of the host is not an ordinary user's.
    static OWN: OnceCell<Option<OwnedFd>> = const { OnceCell::new() };
}

/// Where services listen for others of their machine.
const PLACES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// From one address there are some 28,000 ports to one service, and fewer where that is said. A whole network is
/// one's own, so there are more addresses: up to this one.
const LAST: u8 = 16;

/// Connects to a port in `network`, or in our own; tries both loopback addresses.
///
/// # Errors
/// When nobody listens there, or the network has gone.
pub(crate) async fn connect(network: Option<BorrowedFd<'_>>, port: u16) -> io::Result<TcpStream> {
    match connect_to(network, SocketAddr::new(PLACES[0], port)).await {
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
            // The first refusal is the one to tell: version 6 may not be there at all.
            connect_to(network, SocketAddr::new(PLACES[1], port)).await.map_err(|_| refused)
        }
        connected => connected,
    }
}

async fn connect_to(network: Option<BorrowedFd<'_>>, at: SocketAddr) -> io::Result<TcpStream> {
    let mut from = 1;
    loop {
        match connect_from(network, at, from).await {
            Err(error) if has_no_port(&error) && at.is_ipv4() && from < LAST => from += 1,
            connected => return connected,
        }
    }
}

fn has_no_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

/// From 127.0.0.`from`.
async fn connect_from(network: Option<BorrowedFd<'_>>, at: SocketAddr, from: u8) -> io::Result<TcpStream> {
    let socket = socket(network, at)?;
    if from > 1 {
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0)))?;
    }
    let stream = TcpSocket::from_std_stream(Blocking::from(socket)).connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn socket(network: Option<BorrowedFd<'_>>, at: SocketAddr) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let make = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        Ok(socket)
    };
    within(network, make)?.map_err(|errno: rustix::io::Errno| errno.into())
}

/// Does something in a network; in our own where there is none.
fn within<T: Send>(network: Option<BorrowedFd<'_>>, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(network) = network else { return Ok(act()) };
    OWN.with(|own| match own.get_or_init(own_network) {
        Some(own) => Ok(sys::namespace::in_network(own.as_fd(), network, act)?),
        None => Ok(sys::namespace::away_in_network(network, act)?),
    })
}

fn own_network() -> Option<OwnedFd> {
    let own: OwnedFd = std::fs::File::open("/proc/thread-self/ns/net").ok()?.into();
    sys::namespace::enter(own.as_fd(), sys::namespace::NET).is_ok().then_some(own)
}
