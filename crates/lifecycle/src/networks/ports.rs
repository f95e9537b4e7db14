//! Ports of the host that lead to a container: nobody else may have them meanwhile.
//!
//! Packets on their way to a container never reach a socket of the host. Without one, another program
//! could open the port and wonder why nobody comes; with one it is told that the port is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spec::network::{Protocol, Publish};
use spec::{Error, Result};

/// Descriptors that a keeper may need besides.
const OTHERS: u64 = 512;

/// So often a port that is free for one protocol and address, and not for the other, is given up.
const TRIES: usize = 16;

/// So many connections wait to be taken up.
const BACKLOG: i32 = 512;

/// Takes the ports; where any will do (0) it is said which were found. `relayed`: they are listened on.
///
/// # Errors
/// Conflict for one that another program has.
pub(super) fn reserve(published: &[Publish], relayed: bool) -> Result<(Vec<Publish>, Vec<OwnedFd>)> {
    make_room(published.len());
    let (mut found, mut sockets) = (Vec::with_capacity(published.len()), Vec::new());
    for publish in published {
        let (port, held) = take(publish, relayed)?;
        found.push(Publish { host: port, ..*publish });
        sockets.extend(held);
    }
    Ok((found, sockets))
}

/// Each port takes up to two descriptors, and a process may usually have 1024.
fn make_room(ports: usize) {
    let wanted = 2 * ports as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return };
    // No more than is needed: what we start inherits it.
    let most = limit.maximum.map_or(wanted, |most| most.min(wanted)).max(current);
    // Without it the port is refused that takes one too many.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
}

fn take(publish: &Publish, relayed: bool) -> Result<(u16, Vec<OwnedFd>)> {
    let mut last = Errno::ADDRINUSE;
    for _ in 0..if publish.host == 0 { TRIES } else { 1 } {
        match take_all(publish, relayed) {
            Ok(taken) => return Ok(taken),
            Err(errno) => last = errno,
        }
    }
    Err(explain(publish, last))
}

/// On all addresses that it is published on.
fn take_all(publish: &Publish, relayed: bool) -> Result<(u16, Vec<OwnedFd>), Errno> {
    let addresses: Vec<IpAddr> = match publish.address {
        Some(address) => vec![address],
        None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
    };
    let (mut port, mut held) = (publish.host, Vec::new());
    for address in addresses {
        match taken(SocketAddr::new(address, port), publish.protocol, relayed) {
            Ok((socket, number)) => {
                port = number;
                held.push(socket);
            }
            // A host without IPv6.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
                if publish.address.is_none() && address.is_ipv6() => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok((port, held))
}

/// A socket that has a port. Connections of somebody who has ended may linger there: who listens may have it all
/// the same, and whether somebody else does only listening tells.
fn taken(at: SocketAddr, protocol: Protocol, relayed: bool) -> Result<(OwnedFd, u16), Errno> {
    let first = bound(at, protocol, relayed);
    if relayed || protocol == Protocol::Udp || !matches!(first, Err(Errno::ADDRINUSE)) {
        return first;
    }
    let (socket, port) = bound(at, protocol, true)?;
    // It stays bound, and who comes is refused again.
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Both)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok((socket, port))
}

/// A socket that is bound, and nothing more unless it is `relayed`: who reaches it all the same is refused.
fn bound(at: SocketAddr, protocol: Protocol, relayed: bool) -> Result<(OwnedFd, u16), Errno> {
    let (family, kind, number) = match (at, protocol) {
        (SocketAddr::V4(_), Protocol::Tcp) => (AddressFamily::INET, SocketType::STREAM, ipproto::TCP),
        (SocketAddr::V4(_), Protocol::Udp) => (AddressFamily::INET, SocketType::DGRAM, ipproto::UDP),
        (SocketAddr::V6(_), Protocol::Tcp) => (AddressFamily::INET6, SocketType::STREAM, ipproto::TCP),
        (SocketAddr::V6(_), Protocol::Udp) => (AddressFamily::INET6, SocketType::DGRAM, ipproto::UDP),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    let listens = relayed && protocol == Protocol::Tcp;
    if listens {
        // Connections of the life before may linger; who listens is alone all the same.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if protocol == Protocol::Udp && !relayed {
        // What comes here is never read.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    rustix::net::bind(&socket, &at)?;
    if listens {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    let name = SocketAddr::try_from(rustix::net::getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((socket, name.port()))
}

fn explain(publish: &Publish, errno: Errno) -> Error {
    let Publish { host, protocol, container, .. } = publish;
    let at = publish.address.map_or_else(String::new, |address| format!(" of {address}"));
    let what =
        format!("port {host}/{}{at}, which is to lead to port {container} of the container", protocol.word());
    match errno {
        Errno::ADDRINUSE => Error::conflict(format!("{what}, is taken by another program or container"))
            .hint(format!("choose another: -p PORT:{container}, or any that is free: -p 0:{container}; `ss -lntup` shows who has it")),
        Errno::ADDRNOTAVAIL => Error::user(format!("{what}: this host does not have the address"))
            .hint("`ip address` shows those that it has; without one the port is published on all"),
        Errno::ACCESS | Errno::PERM => Error::new(spec::ErrorKind::Denied, format!("{what}, takes root"))
            .hint("choose a port from 1024 on"),
        errno => Error::io(format!("cannot take {what}"), errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(host: u16, protocol: Protocol) -> Publish {
        Publish { address: Some(Ipv4Addr::LOCALHOST.into()), host, container: 80, protocol }
    }

    #[test]
    fn one_that_is_taken_is_said_and_any_that_is_free_is_found() {
        let (found, held) =
            reserve(&[publish(0, Protocol::Tcp), publish(0, Protocol::Udp)], false).expect("two free ports");
        assert!(found.iter().all(|one| one.host != 0) && held.len() == 2);
        let error = reserve(&[publish(found[0].host, Protocol::Tcp)], false).expect_err("taken");
        assert!(error.to_string().contains(&found[0].host.to_string()), "{error}");
        drop(held);
        reserve(&[publish(found[0].host, Protocol::Tcp)], false).expect("free again");
    }

    #[test]
    fn connections_that_linger_are_in_nobodys_way_and_who_listens_is() {
        use std::io::Read;
        use std::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listener");
        let port = listener.local_addr().expect("address").port();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("client");
        let (server, _) = listener.accept().expect("server");
        reserve(&[publish(port, Protocol::Tcp)], false).expect_err("somebody listens");
        // Who ends first keeps the port for a while.
        drop((server, listener));
        let _ = client.read(&mut [0]);
        drop(client);
        let (_, held) = reserve(&[publish(port, Protocol::Tcp)], false).expect("it only lingers");
        reserve(&[publish(port, Protocol::Tcp)], false).expect_err("it is held");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect_err("nobody listens");
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        other.expect_err("it is held");
        drop(held);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free");
    }

    #[test]
    fn a_thousand_ports_have_room() {
        let before = getrlimit(Resource::Nofile);
        make_room(1000);
        let after = getrlimit(Resource::Nofile);
        let most = before.maximum.unwrap_or(u64::MAX);
        assert!(after.current.is_none_or(|current| current >= most.min(2000 + OTHERS)), "{after:?}");
        assert_eq!(after.maximum, before.maximum);
        make_room(1);
        assert_eq!(getrlimit(Resource::Nofile).current, after.current, "never lowered");
    }

    #[test]
    fn a_published_port_is_taken_for_all_addresses() {
        let (found, _held) =
            reserve(&[Publish { address: None, ..publish(0, Protocol::Tcp) }], false).expect("free");
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, found[0].host)).expect_err("taken");
    }
}
