//! Packet sockets, on which who has no address yet speaks and hears; and sockets that are held to one interface.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// ETH_P_IP.
pub const IP: u16 = libc::ETH_P_IP as u16;
/// ETH_P_ARP.
pub const ARP: u16 = libc::ETH_P_ARP as u16;

/// Hears packets of a protocol that come over the interface of this number in the calling thread's network
/// namespace, without the header of their frames: all of them, or those of UDP over IPv4 to one port. It never waits.
/// Takes CAP_NET_RAW.
///
/// What the namespace itself sends is not among them: the kernel gives that to sockets of all protocols only, and
/// copies that it makes of what is sent to everybody (PACKET_LOOPBACK) to none.
pub fn open(index: u32, protocol: u16, port: Option<u16>) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Of no protocol until it is bound: it would hear all interfaces.
    let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    if let Some(port) = port {
        filter(&socket, &to_port(port))?;
    }
    let address = address(index, protocol, [0; 6]);
    // SAFETY: the address is as long as is said.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), LENGTH) };
    if bound < 0 { Err(crate::last_error()) } else { Ok(socket) }
}

/// Lets the kernel throw away what the socket is not for (SO_ATTACH_FILTER).
fn filter(socket: &OwnedFd, program: &[libc::sock_filter]) -> Result<()> {
    // The kernel only reads it.
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the program has as many instructions as it says, which outlive the call; the kernel copies them.
    let set = unsafe {
        let value = (&raw const program).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, length)
    };
    if set < 0 { Err(crate::last_error()) } else { Ok(()) }
}

/// UDP over IPv4 to one port, and of what came in pieces only what is whole: what is loaded from behind the packet's end
/// ends the program with nothing.
fn to_port(port: u16) -> [libc::sock_filter; 9] {
    use libc::{
        BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET,
    };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let plain = |code: u32, k: u32| jump(code, k, 0, 0);
    [
        plain(BPF_LD | BPF_B | BPF_ABS, 9),
        jump(BPF_JMP | BPF_JEQ | BPF_K, libc::IPPROTO_UDP as u32, 0, 6),
        plain(BPF_LD | BPF_H | BPF_ABS, 6),
        jump(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 4, 0),
        plain(BPF_LDX | BPF_B | BPF_MSH, 0),
        plain(BPF_LD | BPF_H | BPF_IND, 2),
        jump(BPF_JMP | BPF_JEQ | BPF_K, port.into(), 0, 1),
        plain(BPF_RET | BPF_K, u32::from(u16::MAX)),
        plain(BPF_RET | BPF_K, 0),
    ]
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
