//! As much of rtnetlink(7) as it takes to give a device away. (A library for all of it would weigh more
//! than the whole runtime.)

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;

const ERROR: u16 = 2;
const DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400 | 0x200;

const LINK_NAME: u16 = 3;
const LINK_NAMESPACE: u16 = 28;
const ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;

const UP: u32 = 1;

/// Of a message, and of what a device or an address is told by.
const HEADER: usize = 16;
const LINK: usize = 16;
const LOCATION: usize = 8;

/// ENODEV.
const NO_DEVICE: i32 = 19;

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    pub(super) flags: u8,
    pub(super) scope: u8,
    /// By their kinds: its own, the peer's, that of all.
    parts: Vec<(u16, Vec<u8>)>,
}

/// A socket of one network namespace.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// In the calling thread's.
    pub(super) fn open() -> io::Result<Self> {
        // The first protocol of netlink is that of routes and devices.
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        Ok(Self(rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, None)?))
    }

    /// The number of a device; None where there is none of that name.
    pub(super) fn index(&self, name: &str) -> io::Result<Option<i32>> {
        let mut body = vec![0; LINK];
        put(&mut body, LINK_NAME, &[name.as_bytes(), b"\0"].concat());
        match self.call(GET_LINK, ACKNOWLEDGE, &body) {
            Err(error) if error.raw_os_error() == Some(NO_DEVICE) => Ok(None),
            answers => {
                let answers = answers?;
                let link = answers.iter().find(|(kind, body)| *kind == NEW_LINK && body.len() >= LINK);
                Ok(link.map(|(_, body)| i32::from_ne_bytes([body[4], body[5], body[6], body[7]])))
            }
        }
    }

    /// The addresses of a device.
    pub(super) fn addresses(&self, index: i32) -> io::Result<Vec<Address>> {
        let answers = self.call(GET_ADDRESS, DUMP, &[0; LOCATION])?;
        let of_it = answers.iter().filter(|(kind, body)| {
            *kind == NEW_ADDRESS && body.len() >= LOCATION && body[4..LOCATION] == index.to_ne_bytes()
        });
        let address = |body: &[u8]| Address {
            family: body[0],
            prefix: body[1],
            flags: body[2],
            scope: body[3],
            parts: parts(&body[LOCATION..]),
        };
        Ok(of_it.map(|(_, body)| address(body)).collect())
    }

    /// Moves a device to another namespace, under this name.
    pub(super) fn give(&self, index: i32, to: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let mut body = link(index, 0);
        put(&mut body, LINK_NAMESPACE, &to.as_raw_fd().to_ne_bytes());
        put(&mut body, LINK_NAME, &[name.as_bytes(), b"\0"].concat());
        self.call(SET_LINK, ACKNOWLEDGE, &body).map(drop)
    }

    /// Gives a device an address.
    pub(super) fn add(&self, index: i32, address: &Address) -> io::Result<()> {
        let mut body = vec![address.family, address.prefix, 0, address.scope];
        body.extend(index.to_ne_bytes());
        address.parts.iter().for_each(|(kind, part)| put(&mut body, *kind, part));
        self.call(NEW_ADDRESS, ACKNOWLEDGE | CREATE, &body).map(drop)
    }

    /// Switches a device on.
    pub(super) fn up(&self, index: i32) -> io::Result<()> {
        self.call(SET_LINK, ACKNOWLEDGE, &link(index, UP)).map(drop)
    }

    /// Asks, and takes in all answers.
    fn call(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        rustix::net::send(&self.0, &message, SendFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (length, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((kind, body, further)) = next(rest) {
                match kind {
                    ERROR => return judge(body).map(|()| answers),
                    DONE => return Ok(answers),
                    _ => answers.push((kind, body.to_vec())),
                }
                rest = further;
            }
        }
    }
}

/// A device, with this one flag.
fn link(index: i32, flag: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flag.to_ne_bytes());
    body.extend(flag.to_ne_bytes());
    body
}

/// The first message of a datagram.
fn next(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// What an acknowledgement says.
fn judge(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Those parts of an address that another one is made of.
fn parts(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let [a, b, c, d, ..] = *bytes {
        let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let Some(value) = bytes.get(4..length) else { break };
        if [ADDRESS, ADDRESS_LOCAL, ADDRESS_BROADCAST].contains(&kind) {
            found.push((kind, value.to_vec()));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_its_address() {
        let socket = Socket::open().expect("a socket");
        let lo = socket.index("lo").expect("an answer").expect("lo");
        assert_eq!(socket.index("no-such").expect("an answer"), None);
        let addresses = socket.addresses(lo).expect("addresses");
        let has = |address: &Address| address.parts.contains(&(ADDRESS_LOCAL, vec![127, 0, 0, 1]));
        assert!(addresses.iter().any(|address| has(address) && address.prefix == 8), "{addresses:?}");
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        assert_eq!(next(&[20, 0, 0, 0, 2, 0]), None);
        assert!(parts(&[9, 0, 1, 0, 127]).is_empty());
        assert!(judge(&(-1i32).to_ne_bytes()).is_err() && judge(&[0; 4]).is_ok());
    }
}
