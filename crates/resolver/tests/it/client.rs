//! Somebody who asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question};

use super::harness::{GATEWAY, GATEWAY6, ip};

/// What libraries wait for twice, and a little: nobody should have to.
const PATIENCE: Duration = Duration::from_secs(6);

pub const A: u16 = 1;
pub const MX: u16 = 15;
pub const AAAA: u16 = 28;
pub const PTR: u16 = 12;

pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let kind = QTYPE::try_from(kind).expect("a type");
    packet.questions.push(Question::new(Name::new(name).expect("a name"), kind, CLASS::IN.into(), false));
    packet.build_bytes_vec().expect("a query")
}

/// A socket of a container, which talks to the gateway of its kind.
pub fn from(source: &str) -> UdpSocket {
    let source = SocketAddr::new(ip(source), 0);
    let socket = UdpSocket::bind(source).expect("a socket");
    let gateway = if source.is_ipv4() { GATEWAY } else { GATEWAY6 };
    socket.connect(SocketAddr::new(ip(gateway), 53)).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket
}

/// What is answered, in words: addresses and names, or the code.
pub fn ask_from(source: &str, name: &str, kind: u16) -> String {
    let socket = from(source);
    socket.send(&query(77, name, kind)).expect("sent");
    hear(&socket)
}

/// As libraries do: asks again, where the kernel has dropped what was too much.
pub fn ask_again(source: &str, name: &str, kind: u16) -> String {
    let socket = from(source);
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
    for _ in 0..20 {
        socket.send(&query(77, name, kind)).expect("sent");
        match hear(&socket) {
            silent if silent == "WouldBlock" => {}
            words => return words,
        }
    }
    "silence".to_owned()
}

pub fn hear(socket: &UdpSocket) -> String {
    let mut room = [0; 65_535];
    match socket.recv(&mut room) {
        Ok(length) => words(&room[..length]),
        Err(error) => format!("{:?}", error.kind()),
    }
}

pub fn words(message: &[u8]) -> String {
    let packet = Packet::parse(message).expect("an answer");
    if packet.answers.is_empty() {
        let cut = if packet.has_flags(PacketFlag::TRUNCATION) { " cut" } else { "" };
        return format!("{:?}{cut}", packet.rcode());
    }
    let word = |data: &RData<'_>| match data {
        RData::A(a) => std::net::Ipv4Addr::from(a.address).to_string(),
        RData::AAAA(aaaa) => std::net::Ipv6Addr::from(aaaa.address).to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => format!("{other:?}"),
    };
    packet.answers.iter().map(|record| word(&record.rdata)).collect::<Vec<_>>().join(" ")
}

/// A connection of a container.
pub fn stream(source: &str) -> TcpStream {
    let source = SocketAddr::new(ip(source), 0);
    let (family, gateway) = match source.is_ipv4() {
        true => (AddressFamily::INET, GATEWAY),
        false => (AddressFamily::INET6, GATEWAY6),
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket: OwnedFd = socket.expect("a socket");
    rustix::net::bind(&socket, &source).expect("bound");
    rustix::net::connect(&socket, &SocketAddr::new(ip(gateway), 53)).expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

pub fn send(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("a length").to_be_bytes();
    stream.write_all(&[&length[..], message].concat()).expect("sent");
}

/// None when the connection has ended.
pub fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
