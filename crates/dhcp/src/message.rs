//! A message of DHCP, read and written (RFC 2131, section 2).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::options::{self, code};

/// From a client.
const REQUEST: u8 = 1;
/// From a server.
const REPLY: u8 = 2;
/// Interfaces have addresses as Ethernet has them.
const ETHERNET: u8 = 1;
/// "Answer to everybody": who has no address yet may not hear what is sent to it.
const BROADCAST: u16 = 0x8000;
/// What the options begin with.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the fields of fixed size end, and their parts begin.
const HEAD: usize = 236;
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..HEAD;
/// Relays of old take nothing shorter (RFC 1542, section 2.1).
const LEAST: usize = 300;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who gives addresses?
    Discover,
    /// This one could be had.
    Offer,
    /// Give me this one.
    Request,
    /// Somebody has this one already.
    Decline,
    /// It is yours.
    Ack,
    /// It is not.
    Nak,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        use Kind::*;
        let all = [Discover, Offer, Request, Decline, Ack, Nak];
        all.into_iter().find(|kind| kind.number() == number)
    }

    fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Decline => 4,
            Self::Ack => 5,
            Self::Nak => 6,
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// It comes from a server.
    pub reply: bool,
    /// What belongs together has the same.
    pub transaction: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// The answer is to go to everybody.
    pub broadcast: bool,
    /// The address that the client has and uses.
    pub own: Ipv4Addr,
    /// The address that it is given.
    pub yours: Ipv4Addr,
    /// The client's MAC address.
    pub mac: [u8; 6],
    /// All else, by number; what came in several pieces is whole again.
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// A client's.
    pub fn new(kind: Kind, transaction: u32, mac: [u8; 6]) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self {
            kind,
            reply: false,
            transaction,
            seconds: 0,
            broadcast: false,
            own: none,
            yours: none,
            mac,
            options: BTreeMap::new(),
        }
    }

    /// With a further option.
    #[must_use]
    pub fn with(mut self, code: u8, value: impl Into<Vec<u8>>) -> Self {
        self.options.insert(code, value.into());
        self
    }

    /// The value of an option that is an address.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        options::addresses(self.options.get(&code)?).into_iter().next()
    }

    /// The value of an option that is a number of four bytes.
    pub fn number(&self, code: u8) -> Option<u32> {
        self.options.get(&code)?.as_slice().try_into().ok().map(u32::from_be_bytes)
    }

    /// As bytes. What is longer than a piece of an option can be goes in several.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        let op = if self.reply { REPLY } else { REQUEST };
        bytes[..4].copy_from_slice(&[op, ETHERNET, 6, 0]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        let flags = if self.broadcast { BROADCAST } else { 0 };
        bytes[10..12].copy_from_slice(&flags.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.own.octets());
        bytes[16..20].copy_from_slice(&self.yours.octets());
        bytes[28..34].copy_from_slice(&self.mac);
        bytes.extend(COOKIE);
        bytes.extend([code::KIND, 1, self.kind.number()]);
        for (code, value) in self.options.iter().filter(|(code, _)| **code != code::KIND) {
            for piece in value.chunks(255) {
                bytes.extend([*code, piece.len() as u8]);
                bytes.extend(piece);
            }
        }
        bytes.push(code::END);
        bytes.resize(bytes.len().max(LEAST), 0);
        bytes
    }

    /// What was written so; None for everything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        if !matches!(head[0], REQUEST | REPLY) || head[1..3] != [ETHERNET, 6] {
            return None;
        }
        let rest = bytes.get(HEAD..)?.strip_prefix(&COOKIE)?;
        let mut all = BTreeMap::new();
        collect(rest, &mut all)?;
        // Options may go on in fields that are not needed otherwise.
        let more = all.get(&code::OVERLOAD).and_then(|value| value.first()).copied().unwrap_or(0);
        if more & 1 != 0 {
            collect(&head[FILE], &mut all)?;
        }
        if more & 2 != 0 {
            collect(&head[SERVER_NAME], &mut all)?;
        }
        let kind = match all.get(&code::KIND)?.as_slice() {
            [number] => Kind::of(*number)?,
            _ => return None,
        };
        all.remove(&code::KIND);
        let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        Some(Self {
            kind,
            reply: head[0] == REPLY,
            transaction: u32::from_be_bytes(four(4)),
            seconds: u16::from_be_bytes([head[8], head[9]]),
            broadcast: u16::from_be_bytes([head[10], head[11]]) & BROADCAST != 0,
            own: four(12).into(),
            yours: four(16).into(),
            mac: head[28..34].try_into().ok()?,
            options: all,
        })
    }
}

/// The options of one field. One that is cut off makes the whole message worthless; an end that is missing does not.
fn collect(mut bytes: &[u8], all: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    while let Some((&code, rest)) = bytes.split_first() {
        match code {
            code::PAD => bytes = rest,
            code::END => break,
            _ => {
                let (&length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(length.into())?;
                all.entry(code).or_default().extend(value);
                bytes = rest;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn offer() -> Message {
        let mut offer = Message::new(Kind::Offer, 0x1234_5678, [2, 0x74, 0, 0, 0, 1])
            .with(code::SERVER, [192, 0, 2, 1])
            .with(code::LEASE, 3600_u32.to_be_bytes());
        (offer.reply, offer.yours) = (true, Ipv4Addr::new(192, 0, 2, 7));
        offer
    }

    #[test]
    fn what_is_written_is_read() {
        let mut offer = offer();
        offer.broadcast = true;
        offer.options.insert(code::SEARCH, vec![7; 600]);
        let bytes = offer.bytes();
        assert_eq!(Message::read(&bytes).as_ref(), Some(&offer));
        assert!(bytes.len() >= LEAST);
        assert_eq!(offer.number(code::LEASE), Some(3600));
        assert_eq!(offer.address(code::SERVER), Some([192, 0, 2, 1].into()));
    }

    #[test]
    fn options_go_on_in_other_fields() {
        let mut bytes = offer().with(code::OVERLOAD, [3]).bytes();
        bytes[FILE][..8].copy_from_slice(&[3, 4, 192, 0, 2, 254, 255, 0]);
        bytes[SERVER_NAME][..7].copy_from_slice(&[1, 4, 255, 255, 255, 0, 255]);
        let read = Message::read(&bytes).expect("a message");
        assert_eq!(read.address(code::ROUTER), Some([192, 0, 2, 254].into()));
        assert_eq!(read.address(code::MASK), Some([255, 255, 255, 0].into()));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_none() {
        let bytes = offer().bytes();
        for length in 0..HEAD + 4 {
            assert_eq!(Message::read(&bytes[..length]), None, "{length}");
        }
        for (at, value) in [(0, 3), (1, 6), (2, 16), (HEAD, 0), (HEAD + 6, 9), (HEAD + 5, 200)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(Message::read(&other), None, "{at}");
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_fall() {
        let mut random = Random::new(7);
        let bytes = offer().with(code::OVERLOAD, [3]).bytes();
        for _ in 0..200_000 {
            let mut wild = bytes.clone();
            wild.truncate(random.below(bytes.len() as u32 + 1) as usize);
            for _ in 0..random.below(12) {
                if !wild.is_empty() {
                    let at = random.below(wild.len() as u32) as usize;
                    wild[at] = random.below(256) as u8;
                }
            }
            if let Some(read) = Message::read(&wild) {
                let _ = Message::read(&read.bytes()).expect("what is written is read");
            }
        }
    }
}
