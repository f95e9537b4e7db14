//! Published ports where the host filters what comes to it: its rules would not see packets that are led on before
//! they come to it. So a process (`tsubo-keeper relay`) listens there like any service of the host, and carries
//! what is let through. So does one within the container's network for what is listened on at its own loopback only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{SocketType, sockopt};
use spec::Result;
use spec::network::{Element, Plan, Protocol, Publish, Step};

use super::leash;

/// The word for the network in which ports lead on.
pub const WITHIN: &str = "within=";

/// Takes out of a plan what leads published ports to the container by the packet filter.
pub(super) fn take_ways(plan: &mut Plan) -> Vec<Element> {
    let mut ways = Vec::new();
    plan.retain(|step| match step {
        Step::Element(way @ Element::Published { .. }) => {
            ways.push(way.clone());
            false
        }
        _ => true,
    });
    ways
}

/// The ways to ports of the container's own loopback.
pub(super) fn inner_ways(published: &[Publish]) -> Vec<Element> {
    let way = |&Publish { address, host, container, protocol }: &Publish| Element::Published {
        address,
        protocol,
        port: host,
        to: Ipv4Addr::LOCALHOST.into(),
        to_port: container,
    };
    published.iter().map(way).collect()
}

/// Begins the process for the sockets that reserve the ports. It runs as long as the other side of what is
/// returned is held. `inside`: the network that it leads on in, the host's if none.
///
/// # Errors
/// Not found without the program; when no process can be made.
pub(super) fn begin(held: &[OwnedFd], ways: &[Element], inside: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let (mut kept, mut words) = (Vec::new(), Vec::new());
    if let Some(inside) = inside {
        words.push(format!("{WITHIN}{}", inside.as_raw_fd()));
        kept.push(inside);
    }
    for socket in held {
        if let Some(word) = word(socket.as_fd(), ways) {
            words.push(word);
            kept.push(socket.as_fd());
        }
    }
    leash::begin("relay", &words, &kept)
}

/// `FD=tcp|udp=ADDRESS:PORT`: where what comes to this socket goes.
fn word(socket: BorrowedFd<'_>, ways: &[Element]) -> Option<String> {
    let at = SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
    let kind =
        if sockopt::socket_type(socket).ok()? == SocketType::STREAM { Protocol::Tcp } else { Protocol::Udp };
    let leads = |way: &Element| match *way {
        Element::Published { address, protocol, port, to, to_port } => {
            let here = address.map_or(at.ip().is_unspecified(), |address: IpAddr| address == at.ip());
            let here = here && (protocol, port, to.is_ipv4()) == (kind, at.port(), at.is_ipv4());
            here.then(|| SocketAddr::new(to, to_port))
        }
        _ => None,
    };
    let to = ways.iter().find_map(leads)?;
    Some(format!("{}={}={to}", socket.as_raw_fd(), kind.word()))
}
