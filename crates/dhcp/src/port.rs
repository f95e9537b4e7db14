//! The sockets of a client: those that it needs now, and no others.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};

use crate::client::{Ears, To};
use crate::frame::{self, Claim};
use crate::message::Message;

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
const EVERYBODY: [u8; 6] = [255; 6];
/// The longest that is read; servers are told to send nothing that is longer than a packet.
const LONGEST: usize = 9216;

/// One interface, in the network namespace of whoever made it.
#[derive(Debug)]
pub struct Port {
    index: u32,
    /// All packets of IP, and of ARP.
    link: Option<[OwnedFd; 2]>,
    /// What is sent to its address.
    own: Option<UdpSocket>,
}

/// What has come.
#[derive(Debug)]
pub enum Heard {
    /// From a server, or somebody who says so.
    Message(Message),
    /// Somebody has an address.
    Claim(Claim),
}

impl Port {
    /// The interface of this number, which hears nothing yet.
    pub fn new(index: u32) -> Self {
        Self { index, link: None, own: None }
    }

    /// Opens what is needed, and closes what is not.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub fn listen(&mut self, ears: Ears) -> Result<()> {
        match ears {
            Ears::None => (self.link, self.own) = (None, None),
            Ears::Link => {
                self.own = None;
                self.open_link()?;
            }
            Ears::Own if self.own.is_some() => self.link = None,
            Ears::Own => match own(self.index) {
                Ok(socket) => (self.link, self.own) = (None, Some(socket)),
                // Somebody in the container has the port: all that comes over the interface is heard instead.
                Err(_) => self.open_link()?,
            },
        }
        Ok(())
    }

    fn open_link(&mut self) -> Result<()> {
        if self.link.is_none() {
            let open = |protocol| sys::packet::open(self.index, protocol);
            self.link = Some([open(sys::packet::IP)?, open(sys::packet::ARP)?]);
        }
        Ok(())
    }

    /// What is to be polled.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let link = self.link.iter().flatten().map(AsFd::as_fd);
        link.chain(self.own.iter().map(AsFd::as_fd))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Whatever the kernel refuses; it may be lost on its way as well.
    pub fn send(&self, message: &Message, to: To) -> Result<()> {
        let bytes = message.bytes();
        let address = match to {
            To::Link => None,
            To::Server(server) => Some(server),
            To::Everybody => Some(Ipv4Addr::BROADCAST),
        };
        match (address, &self.own, &self.link) {
            (Some(address), Some(socket), _) => {
                let to = SocketAddrV4::new(address, SERVER);
                rustix::net::sendto(socket, &bytes, rustix::net::SendFlags::empty(), &to).map(drop)
            }
            (_, _, Some([link, _])) => {
                let packet = frame::wrap(&bytes);
                sys::packet::send(link.as_fd(), self.index, sys::packet::IP, EVERYBODY, &packet)
            }
            _ => Err(Errno::NOTCONN),
        }
    }

    /// Asks whether anybody has an address.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub fn probe(&self, mac: [u8; 6], address: Ipv4Addr) -> Result<()> {
        let Some([_, socket]) = &self.link else { return Err(Errno::NOTCONN) };
        let question = frame::probe(mac, address);
        sys::packet::send(socket.as_fd(), self.index, sys::packet::ARP, EVERYBODY, &question)
    }

    /// What has come of what concerns clients, up to so many packets.
    pub fn heard(&self, most: usize) -> Vec<Heard> {
        let mut space = vec![0; LONGEST];
        let mut all = Vec::new();
        for _ in 0..most {
            if !self.take(&mut space, &mut all) {
                break;
            }
        }
        all
    }

    /// One packet of each socket; whether there was any.
    fn take(&self, space: &mut [u8], all: &mut Vec<Heard>) -> bool {
        let mut any = false;
        if let Some([ip, arp]) = &self.link {
            if let Some(packet) = receive(ip, space) {
                any = true;
                all.extend(frame::unwrap(packet).and_then(Message::read).map(Heard::Message));
            }
            if let Some(packet) = receive(arp, space) {
                any = true;
                all.extend(Claim::read(packet).map(Heard::Claim));
            }
        }
        if let Some(packet) = self.own.as_ref().and_then(|own| receive(own, space)) {
            any = true;
            all.extend(Message::read(packet).map(Heard::Message));
        }
        any
    }
}

fn receive(socket: impl AsFd, space: &mut [u8]) -> Option<&[u8]> {
    let got = rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut *space, RecvFlags::DONTWAIT));
    let (length, _) = got.ok()?;
    space.get(..length)
}

/// A socket on the port of clients, on this interface alone.
fn own(index: u32) -> Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    sys::packet::hold_to(socket.as_fd(), index)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_broadcast(&socket, true)?;
    // What is sent to everybody comes to no address.
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT))?;
    Ok(socket.into())
}
