//! Packet sockets, on which who has no address yet speaks and hears; and sockets that are held to one interface.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// ETH_P_IP.
pub const IP: u16 = libc::ETH_P_IP as u16;
/// ETH_P_ARP.
pub const ARP: u16 = libc::ETH_P_ARP as u16;

/// Hears all packets of a protocol that come over the interface of this number in the calling thread's network
/// namespace, without the header of their frames. It never waits. Takes CAP_NET_RAW.
pub fn open(index: u32, protocol: u16) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Of no protocol until it is bound: it would hear all interfaces.
    let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    let address = address(index, protocol, [0; 6]);
    // SAFETY: the address is as long as is said.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) };
    if bound < 0 { Err(crate::last_error()) } else { Ok(socket) }
}

/// Sends one packet over the interface to a MAC address.
pub fn send(socket: BorrowedFd<'_>, index: u32, protocol: u16, to: [u8; 6], bytes: &[u8]) -> Result<()> {
    let address = address(index, protocol, to);
    // SAFETY: the bytes and the address are as long as is said.
    let sent = unsafe {
        let to = (&raw const address).cast();
        libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, to, LENGTH)
    };
    if sent < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// Holds a socket to one interface (SO_BINDTOIFINDEX).
pub fn hold_to(socket: BorrowedFd<'_>, index: u32) -> Result<()> {
    let number = index as libc::c_int;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the number is as long as is said.
    let set = unsafe {
        let value = (&raw const number).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, value, length)
    };
    if set < 0 { Err(crate::last_error()) } else { Ok(()) }
}

const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn address(index: u32, protocol: u16, mac: [u8; 6]) -> libc::sockaddr_ll {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&mac);
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: bytes,
    }
}
