//! The network.

use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType, netlink, socket_with};

use crate::attack::{Attack, Family::Network};
use crate::cell::{Cell, Stop, errno};

const OWN: &str = "[isolation] namespaces.net = \"own\"";
const FILTER: &str = "[isolation] seccomp = \"default\"";
const RAW: &str = "[isolation] capabilities.drop = [\"NET_RAW\"]";

const fn asks(
    name: &'static str,
    what: &'static str,
    mend: &'static str,
    act: fn(&mut Cell) -> Stop,
) -> Attack {
    Attack::question(Network, name, what, mend, act)
}

pub(super) static ATTACKS: [Attack; 8] = [
    asks("ports", "takes ports of the host", OWN, ports),
    asks("loopback", "talks to a service on the host's loopback", OWN, loopback),
    asks("abstract-sockets", "talks to an abstract socket of the host", OWN, abstract_socket),
    asks("packet-socket", "listens to everything that passes", RAW, |_| {
        opens(AddressFamily::PACKET, SocketType::RAW, None)
    }),
    asks("raw-socket", "sends packets of its own making", RAW, |_| {
        opens(AddressFamily::INET, SocketType::RAW, RawProtocol::new(255).map(Protocol::from_raw))
    }),
    asks("af-alg", "uses the kernel's ciphers", FILTER, |_| {
        opens(AddressFamily::from_raw(38), SocketType::SEQPACKET, None)
    }),
    asks("af-vsock", "talks to the machine below the host", FILTER, |_| {
        opens(AddressFamily::from_raw(40), SocketType::STREAM, None)
    }),
    asks("audit", "writes into the host's audit log", FILTER, |_| {
        opens(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::AUDIT)).but_harmless()
    }),
];

fn opens(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> Stop {
    Stop::answer(socket_with(family, kind, SocketFlags::CLOEXEC, protocol), "the socket is open")
}

impl Stop {
    /// That socket may be opened by anybody; what is sent through it is refused without CAP_AUDIT_WRITE
    /// in the first user namespace.
    fn but_harmless(self) -> Self {
        let writes =
            |text: &str| text.lines().find_map(|line| line.strip_prefix("CapEff:")).is_some_and(may_audit);
        let own = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        match self {
            Self::Possible(_) if !(writes(&own) && crate::attacks::escape::has_hosts_users()) => {
                Self::Refused(Errno::PERM)
            }
            other => other,
        }
    }
}

/// CAP_AUDIT_WRITE is number 29.
fn may_audit(mask: &str) -> bool {
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 << 29 != 0)
}

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
