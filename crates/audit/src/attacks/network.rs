//! The network.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType, netlink, socket_with};

use crate::attack::{Attack, Family, questions};
use crate::attacks::own::{self, Users};
use crate::cell::{Cell, Stop, errno};

const OWN: &str = "[isolation] namespaces.net = \"own\"";
const FILTER: &str = "[isolation] seccomp = \"default\"";
const RAW: &str = "[isolation] capabilities.drop = [\"NET_RAW\"]";

pub(super) static ATTACKS: [Attack; 9] = questions(
    Family::Network,
    [
        ("ports", "takes ports of the host", OWN, ports),
        ("loopback", "talks to a service on the host's loopback", OWN, loopback),
        ("abstract-sockets", "talks to an abstract socket of the host", OWN, abstract_socket),
        (
            "connections",
            "fills the table of connections that are tracked",
            "[isolation] namespaces.net = \"own\" and kernel_parameters of net.netfilter",
            connections,
        ),
        ("packet-socket", "listens to everything that passes", RAW, |_| {
            opens(AddressFamily::PACKET, SocketType::RAW, None)
        }),
        ("raw-socket", "sends packets of its own making", RAW, |_| {
            opens(AddressFamily::INET, SocketType::RAW, RawProtocol::new(255).map(Protocol::from_raw))
        }),
        ("af-alg", "uses the kernel's ciphers", FILTER, |_| {
            opens(AddressFamily::from_raw(38), SocketType::SEQPACKET, None)
        }),
        ("af-vsock", "talks to the machine below the host", FILTER, |_| {
            opens(AddressFamily::from_raw(40), SocketType::STREAM, None)
        }),
        ("audit", "writes into the host's audit log", FILTER, |_| {
            opens(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::AUDIT)).but_harmless()
        }),
    ],
);

fn opens(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> Stop {
    Stop::answer(socket_with(family, kind, SocketFlags::CLOEXEC, protocol), "the socket is open")
}

impl Stop {
    /// That socket may be opened by anybody; what is sent through it is refused without CAP_AUDIT_WRITE
    /// in the first user namespace.
    fn but_harmless(self) -> Self {
        match (&self, own::capabilities(), own::users()) {
            (Self::Possible(_), None, _) => Self::Unknown("its capabilities cannot be told"),
            (Self::Possible(_), Some(mask), _) if mask & AUDIT_WRITE == 0 => Self::Refused(Errno::PERM),
            (Self::Possible(_), _, Users::Own | Users::SameRoot) => Self::Refused(Errno::PERM),
            (Self::Possible(_), _, Users::Unknown) => Self::Unknown("whose users are inside cannot be told"),
            _ => self,
        }
    }
}

const AUDIT_WRITE: u64 = 1 << 29;

/// A port that the host listens on is taken only where the network is the host's.
fn ports(cell: &mut Cell) -> Stop {
    match TcpListener::bind(("127.0.0.1", cell.hints.port)) {
        Ok(_) => Stop::Nowhere("its network is its own"),
        Err(cause) if errno(&cause) == Errno::ADDRINUSE => {
            Stop::Possible("it is on the host's network: what is free, it can take".to_owned())
        }
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

fn loopback(cell: &mut Cell) -> Stop {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], cell.hints.port));
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(_) => Stop::Possible("the host's service answers".to_owned()),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

fn abstract_socket(cell: &mut Cell) -> Stop {
    let address = SocketAddr::from_abstract_name(cell.hints.socket.as_bytes());
    match address.and_then(|address| UnixStream::connect_addr(&address)) {
        Ok(_) => Stop::Possible("the host's socket answers".to_owned()),
        Err(cause) => Stop::Refused(errno(&cause)),
    }
}

/// So many tell whether each is tracked, and are no burden for a table.
const FLOWS: u64 = 300;

/// Packets to a socket of its own, each from another port: where connections are tracked each is one, for half a
/// minute.
fn connections(cell: &mut Cell) -> Stop {
    if !std::fs::exists("/proc/net/stat/nf_conntrack").unwrap_or(false) {
        return untracked();
    }
    let Some(before) = tracked() else { return Stop::Unknown("the table cannot be read") };
    if let Err(cause) = flows() {
        return Stop::Refused(cause);
    }
    let more = tracked().unwrap_or(before).saturating_sub(before);
    let most = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap_or_default();
    match (more, ports(cell), most.trim().parse()) {
        (0..50, ..) => Stop::Nowhere("connections are not tracked here"),
        (_, Stop::Possible(_), _) => Stop::Possible("it fills the host's table of connections".to_owned()),
        (_, _, Ok(1_u64..)) => Stop::Nowhere("its table is its own, and has a limit"),
        (_, _, Ok(0)) => Stop::Possible("its table has no limit".to_owned()),
        _ => Stop::Unknown("whether its table has a limit cannot be told"),
    }
}

/// A kernel that tracks none has no such table; of a hidden one nothing is known.
fn untracked() -> Stop {
    match std::fs::exists("/proc/net/dev") {
        Ok(true) => Stop::Nowhere("this kernel tracks no connections"),
        _ => Stop::Unknown("the table cannot be read"),
    }
}

/// Connections in the table of this network: the first number of each line but the head, the same in each.
fn tracked() -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/stat/nf_conntrack").ok()?;
    u64::from_str_radix(table.lines().nth(1)?.split_whitespace().next()?, 16).ok()
}

fn flows() -> Result<(), Errno> {
    let bind = || UdpSocket::bind("127.0.0.1:0").map_err(|cause| errno(&cause));
    let to = bind()?;
    let address = to.local_addr().map_err(|cause| errno(&cause))?;
    for _ in 0..FLOWS {
        bind()?.send_to(b"x", address).map_err(|cause| errno(&cause))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Hints;

    const TRACKING: &str = "iptables -w -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT";

    /// What is told in a network of its own, where this was done before; a listener there stands for the host's.
    fn told(script: &str, is_hosts: bool) -> Option<String> {
        let shared = sys::attack::Shared::new().expect("a page");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let shell = |script: &str| {
            std::process::Command::new("/bin/sh")
                .args(["-c", script])
                .status()
                .is_ok_and(|status| status.success())
        };
        let child = sys::attack::bound_child(20, || {
            let made = sys::namespace::unshare(sys::namespace::NET).is_ok()
                && shell("ip link set lo up")
                && shell(script);
            let listener =
                TcpListener::bind("127.0.0.1:0").and_then(|one| Ok((one.local_addr()?.port(), one)));
            let port = listener.as_ref().map_or(0, |(port, _)| if is_hosts { *port } else { 0 });
            let hints = Hints { port, ..Hints::default() };
            let told = if made {
                format!("{:?}", connections(&mut Cell::new(1, 5.0, hints, shared)))
            } else {
                String::new()
            };
            i32::from(std::io::Write::write_all(&mut &writer, told.as_bytes()).is_err())
        });
        drop(writer);
        sys::process::reap(child.expect("a child"), true).expect("its end");
        let told = std::io::read_to_string(reader).expect("what it told");
        if told.is_empty() {
            eprintln!("SKIPPED: needs root, ip, and iptables with conntrack");
        }
        (!told.is_empty()).then_some(told)
    }

    #[test]
    fn a_table_of_connections_is_held_if_it_is_its_own_or_nobody_fills_it() {
        let expect = |script, is_hosts, text: &str| {
            let told = told(script, is_hosts);
            assert!(told.as_ref().is_none_or(|told| told.contains(text)), "{told:?}");
        };
        expect("true", true, "not tracked here");
        expect(TRACKING, false, "its table is its own");
        expect(TRACKING, true, "fills the host's table");
    }
}
