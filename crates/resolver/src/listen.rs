//! The sockets on which queries come.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// So long is waited for one that is about to end to free the port.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What waits to be read: a flood of one container should not push out what others ask.
const WAITING: usize = 1 << 20;

/// Queries over TCP that wait to be taken.
const BACKLOG: i32 = 64;

/// Where queries come in.
#[derive(Debug)]
pub struct Listeners {
    /// Over UDP.
    pub datagrams: Vec<UdpSocket>,
    /// Over TCP.
    pub streams: Vec<TcpListener>,
}

impl Listeners {
    /// Listens on all of these addresses, whether they are there yet or only will be again.
    ///
    /// # Errors
    /// When somebody else has the port, or no address is of a family that this host has.
    pub fn bind(addresses: &[IpAddr], port: u16) -> std::io::Result<Self> {
        let mut listeners = Self { datagrams: Vec::new(), streams: Vec::new() };
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            match pair(address) {
                Ok((datagrams, stream)) => {
                    listeners.datagrams.push(datagrams);
                    listeners.streams.push(stream);
                }
                // IPv6 is switched off here.
                Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {}
                Err(errno) => {
                    let error = std::io::Error::from(errno);
                    return Err(std::io::Error::new(
                        error.kind(),
                        format!("listening on {address}: {error}"),
                    ));
                }
            }
        }
        if listeners.datagrams.is_empty() {
            return Err(std::io::Error::other("none of the addresses can be listened on"));
        }
        Ok(listeners)
    }
}

fn pair(address: SocketAddr) -> Result<(UdpSocket, TcpListener), Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match (bound(address, SocketType::DGRAM), bound(address, SocketType::STREAM)) {
            (Ok(datagrams), Ok(stream)) => {
                rustix::net::listen(&stream, BACKLOG)?;
                return Ok((datagrams.into(), stream.into()));
            }
            (Err(Errno::ADDRINUSE), _) | (_, Err(Errno::ADDRINUSE)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            (Err(errno), _) | (_, Err(errno)) => return Err(errno),
        }
    }
}

fn bound(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let socket = socket(address, kind)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_freebind(&socket, true)?;
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::DGRAM {
        // Without the right to more, it is what everybody has.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, WAITING);
    }
    if kind == SocketType::STREAM {
        // Connections of one that has ended are no reason to wait.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// A socket that never waits.
pub(crate) fn socket(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}
