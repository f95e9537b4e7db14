//! Published ports where the host filters what comes to it: its rules would not see packets that are led on before
//! they come to it. So a process (`tsubo-keeper relay`) listens there like any service of the host, and carries
//! what is let through. So does one within the container's network for what is listened on at its own loopback only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use spec::network::{Element, Plan, Protocol, Publish, Step};
use spec::{Error, Result, ResultExt};

use crate::KeeperProgram;

/// So long may it take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

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
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(std::io::Error::from).doing(|| "making a leash")?;
    let (mut kept, mut words) =
        (vec![theirs.as_fd()], vec!["relay".to_owned(), theirs.as_raw_fd().to_string()]);
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
    let program = KeeperProgram::own()?;
    let words = KeeperProgram::words(words.iter().map(String::as_str))?;
    // In a child of a child, which nobody has to reap.
    let child = || {
        let relay = || {
            program.become_it(&words, &kept);
            127
        };
        sys::process::fork_child(relay).map_or(126, |_| 0)
    };
    let made = sys::process::clone_child(0, None, child);
    let (pid, _pidfd) =
        made.map_err(|cause| Error::process("making a process for published ports", cause))?;
    let ended = rustix::io::retry_on_intr(|| sys::process::reap(pid, true)).map_err(std::io::Error::from);
    match ended.doing(|| "making a process for published ports")? {
        Some((_, 0)) => Ok(ours),
        _ => Err(Error::failed("the process for published ports could not be made")),
    }
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

/// Ends the processes, if there are any, and waits until the ports are anybody's: the next start wants them.
pub(super) fn end(held: &[OwnedFd]) {
    let is_leash =
        |fd: &&OwnedFd| sockopt::socket_domain(fd).is_ok_and(|domain| domain == AddressFamily::UNIX);
    let leashes: Vec<&OwnedFd> = held.iter().filter(is_leash).collect();
    for leash in &leashes {
        // Whoever else has a copy of it is of no matter then.
        let _ = rustix::net::shutdown(leash, Shutdown::Write);
    }
    if leashes.is_empty() {
        return;
    }
    // Who comes until they are closed is refused, and does not wait for nobody.
    for socket in held.iter().filter(|fd| sockopt::socket_acceptconn(fd).is_ok_and(|listens| listens)) {
        let _ = rustix::net::shutdown(socket, Shutdown::Both);
    }
    for leash in leashes {
        let mut polled = [PollFd::new(leash, PollFlags::IN)];
        let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&PATIENCE)));
    }
}
