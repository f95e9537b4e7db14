//! Ports of the host, kept free of others until the process that is to have them has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use spec::network::{Protocol, Publish};
use spec::{Error, ErrorKind, Result};

use super::words;

/// Ports that nobody else gets.
pub(super) struct Reserved(Vec<(Publish, OwnedFd)>);

impl Reserved {
    /// Which they are; those that any would do for are known by now.
    pub(super) fn published(&self) -> Vec<Publish> {
        self.0.iter().map(|(publish, _)| *publish).collect()
    }
}

/// Reserves them all.
///
/// # Errors
/// Conflict where one is taken, or given twice; Denied where it takes root; an address that is not the host's.
pub(super) fn reserve(published: &[Publish]) -> Result<Reserved> {
    published.iter().map(one).collect::<Result<_>>().map(Reserved)
}

fn one(publish: &Publish) -> Result<(Publish, OwnedFd)> {
    let bound = match publish.address {
        Some(address) => bound(address, publish),
        // On all of both kinds, unless this host has no IPv6.
        None => bound(Ipv6Addr::UNSPECIFIED.into(), publish).or_else(|errno| match errno {
            Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => bound(Ipv4Addr::UNSPECIFIED.into(), publish),
            other => Err(other),
        }),
    };
    let (socket, host) = bound.map_err(|errno| refused(errno, publish))?;
    Ok((Publish { host, ..*publish }, socket))
}

fn bound(address: IpAddr, publish: &Publish) -> rustix::io::Result<(OwnedFd, u16)> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let tcp = publish.protocol == Protocol::Tcp;
    let kind = if tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Connections that have just ended do not keep a port, and of two that listen the kernel lets one. With
    // datagrams there is no such rule: of two that agree to share both get the port. So ours agrees only after
    // it has it alone.
    sockopt::set_socket_reuseaddr(&socket, tcp)?;
    rustix::net::bind(&socket, &SocketAddr::new(address, publish.host))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    let own = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, own.port()))
}

fn refused(errno: Errno, publish: &Publish) -> Error {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::ADDRINUSE => words::taken(Some(publish)).because(cause),
        Errno::ACCESS => Error::new(
            ErrorKind::Denied,
            format!("port {} of the host takes root", publish.host),
        )
        .because(cause)
        .hint(format!(
            "publish a higher one: -p {}:{}; or ask for sysctl net.ipv4.ip_unprivileged_port_start={}",
            publish.host.saturating_add(8000),
            publish.container,
            publish.host
        )),
        Errno::ADDRNOTAVAIL => {
            let address = publish.address.map(|address| address.to_string()).unwrap_or_default();
            Error::user(format!(
                "this host has no address {address}, on which port {} is to be published",
                publish.host
            ))
            .because(cause)
            .hint("ip address lists what it has; without one the port is published on all")
        }
        _ => Error::io(format!("reserving port {}", publish.host), cause),
    }
}
