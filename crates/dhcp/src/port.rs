//! The sockets of a client: those that it needs now, and no others.
//!
//! Answers are heard on packet sockets only, and what is for everybody is said there: they hear what comes over the
//! interface, and what they say comes to nobody who listens in the container itself. So no process there is
//! asked what a server is, and none can answer in its place.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

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
    /// Speaks to one server from the address that it has, and holds the port. What comes to it is not read: it may
    /// come from inside.
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
            Ears::Own => {
                if self.own.is_none() {
                    // Somebody in the container may have the port: then everybody is asked instead.
                    self.own = own(self.index).ok();
                }
                self.open_link()?;
            }
        }
        Ok(())
    }

    fn open_link(&mut self) -> Result<()> {
        if self.link.is_none() {
            let ip = sys::packet::open(self.index, sys::packet::IP, Some(CLIENT))?;
            self.link = Some([ip, sys::packet::open(self.index, sys::packet::ARP, None)?]);
        }
        Ok(())
    }

    /// What is to be polled.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.link.iter().flatten().map(AsFd::as_fd)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Whatever the kernel refuses; it may be lost on its way as well.
    pub fn send(&mut self, message: &Message, to: To) -> Result<()> {
        let bytes = message.bytes();
        if let (To::Server(server), Some(socket)) = (to, &self.own) {
            let to = SocketAddrV4::new(server, SERVER);
            return rustix::net::sendto(socket, &bytes, rustix::net::SendFlags::empty(), &to).map(drop);
        }
        // Who declines an address listens to nothing any more.
        self.open_link()?;
        let Some([link, _]) = &self.link else { return Err(Errno::NOTCONN) };
        let packet = frame::wrap(message.own, &bytes);
        sys::packet::send(link.as_fd(), self.index, sys::packet::IP, EVERYBODY, &packet)
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
    // Nobody else may have it meanwhile (SO_REUSEADDR): he would get what comes.
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT))?;
    Ok(socket.into())
}
