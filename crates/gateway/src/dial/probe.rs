//! Whether anybody listens, asked of the kernel (sock_diag(7)): a tenth of what it costs to try to connect, and what
//! a service has of a processor while it starts is not taken by asking.

use std::cell::OnceCell;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::within;

thread_local! {
    /// Whether this kernel tells.
    static TELLS: OnceCell<bool> = const { OnceCell::new() };
}

/// `SOCK_DIAG_BY_FAMILY`, and of its flags `NLM_F_REQUEST`.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;

/// Of `nlmsghdr` and `inet_diag_req_v2` (linux/inet_diag.h).
const LENGTH: usize = 16 + 56;

/// `TCP_LISTEN`, and where it stands in an answer: the second byte of `inet_diag_msg`.
const LISTENS: u8 = 10;
const STATE: usize = 16 + 1;

/// IPPROTO_TCP.
const TCP: u8 = 6;

/// 127.0.0.1 and ::1, as families and in the order of the wire.
const PLACES: [(u8, [u8; 16]); 2] = [
    (2, [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
];

/// A connection to the kernel, of one network.
#[derive(Debug)]
pub(crate) struct Probe(OwnedFd);

impl Probe {
    /// For that network, or our own; None where the kernel does not tell.
    pub(crate) fn new(network: Option<BorrowedFd<'_>>) -> Option<Self> {
        let tells = TELLS.with(|tells| *tells.get_or_init(|| tried().unwrap_or(false)));
        if tells { Self::open(network).ok() } else { None }
    }

    fn open(network: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let make = || {
            rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::DGRAM,
                flags,
                Some(netlink::SOCK_DIAG),
            )
        };
        Ok(Self(within(network, make)??))
    }

    /// Whether somebody listens on this port of its loopback addresses, or of all.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(crate) fn listens(&self, port: u16) -> io::Result<bool> {
        for (family, place) in PLACES {
            rustix::net::send(&self.0, &question(family, place, port), SendFlags::empty())?;
            let mut answer = [0; 512];
            let (read, _) = rustix::net::recv(&self.0, &mut answer, RecvFlags::empty())?;
            let kind = u16::from_ne_bytes([answer[4], answer[5]]);
            if kind == BY_FAMILY && read > STATE && answer[STATE] == LISTENS {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// It asks for one socket: whom a connection from nowhere to that port would reach.
fn question(family: u8, place: [u8; 16], port: u16) -> [u8; LENGTH] {
    let mut asked = [0; LENGTH];
    asked[..4].copy_from_slice(&(LENGTH as u32).to_ne_bytes());
    asked[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    asked[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    (asked[16], asked[17]) = (family, TCP);
    asked[20..24].copy_from_slice(&(1_u32 << LISTENS).to_ne_bytes());
    asked[24..26].copy_from_slice(&port.to_be_bytes());
    asked[28..44].copy_from_slice(&place);
    // Whichever it is.
    asked[64..72].fill(0xff);
    asked
}

/// A kernel without the module for it says that nobody listens, whoever does.
fn tried() -> io::Result<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Probe::open(None)?.listens(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_seen_and_who_does_not_is_not() {
        let Some(probe) = Probe::new(None) else {
            eprintln!("SKIPPED: this kernel has no tcp_diag");
            return;
        };
        for place in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let listener = match TcpListener::bind(place) {
                Err(_) if place.starts_with('[') => {
                    eprintln!("SKIPPED: this host has no IPv6");
                    continue;
                }
                bound => bound.expect(place),
            };
            let port = listener.local_addr().expect("an address").port();
            assert!(probe.listens(port).expect("an answer"), "{place}");
            drop(listener);
            assert!(!probe.listens(port).expect("an answer"), "{place}");
        }
    }

    #[test]
    fn what_is_bound_does_not_listen_yet() {
        let Some(probe) = Probe::new(None) else {
            eprintln!("SKIPPED: this kernel has no tcp_diag");
            return;
        };
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        rustix::net::bind(&socket, &any).expect("bound");
        let port = std::net::SocketAddr::try_from(rustix::net::getsockname(&socket).expect("a name"));
        assert!(!probe.listens(port.expect("an address").port()).expect("an answer"));
    }
}
