//! Queries as they come over the wire, and answers as they go back.
//!
//! A query is read here and not by the crate that writes the answers: that knows only types which it can make
//! something of, and most of what is asked is passed on as it is.

use std::net::IpAddr;

use simple_dns::rdata::{A, AAAA, OPT, PTR, RData};
use simple_dns::{
    CLASS, Label, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};

/// The length of a header.
const HEADER: usize = 12;

/// The most that an answer over UDP may have where nothing else was said (RFC 1035), and where it was (what goes
/// unbroken over every link, as the DNS flag day of 2020 has it).
const PLAIN: usize = 512;
const EXTENDED: usize = 1232;

/// The most that goes over TCP.
const STREAM: usize = 65_535;

/// The longest query that is looked at.
pub const LONGEST: usize = 4096;

const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;

/// Answers are asked for again each time: addresses go with their containers.
const TTL: u32 = 0;

/// What somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// Chosen by whoever asks.
    pub id: u16,
    /// The message, without what comes behind it.
    pub bytes: &'a [u8],
    /// The name in small letters; octets that are in no name of ours are such that it is none.
    pub name: String,
    /// The number of the type.
    pub kind: u16,
    labels: Vec<&'a [u8]>,
    question: usize,
    recursion: bool,
    edns: bool,
    room: usize,
}

/// A message that is not answered as a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not answered at all: it is an answer itself, or nothing.
    Silent,
    /// It is answered with this.
    Told(Vec<u8>),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// The address has this name.
    Name(String),
    /// The name is there, but has nothing of this type.
    Empty,
    /// There is no such name.
    Missing,
    /// Not for whoever asks.
    Refused,
    /// Nobody knew in time.
    Failed,
}

impl<'a> Query<'a> {
    /// Reads a message; `stream` if it came over TCP.
    ///
    /// # Errors
    /// What it is answered, if it is no query that can be.
    pub fn parse(message: &'a [u8], stream: bool) -> Result<Self, Fault> {
        let word = |at: usize| message.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
        let (Some(id), Some(flags), Some(_)) = (word(0), word(2), message.get(HEADER - 1)) else {
            return Err(Fault::Silent);
        };
        if flags & 0x8000 != 0 {
            return Err(Fault::Silent);
        }
        let told = |code| Fault::Told(bare(id, flags, code));
        if flags & 0x7800 != 0 {
            return Err(told(RCODE::NotImplemented));
        }
        let bad = || told(RCODE::FormatError);
        // One question, nothing that answers it, and a few additions.
        if message.len() > LONGEST || [4, 6, 8].map(word) != [Some(1), Some(0), Some(0)] || word(10) > Some(4)
        {
            return Err(bad());
        }
        let (labels, at) = labels(message).ok_or_else(bad)?;
        let (kind, class) = word(at).zip(word(at + 2)).ok_or_else(bad)?;
        let question = at + 4;
        let (end, size) = additions(message, question, word(10).unwrap_or(0)).ok_or_else(bad)?;
        if class != CLASS_IN {
            return Err(told(RCODE::Refused));
        }
        let (edns, stated) = (size.is_some(), usize::from(size.unwrap_or(0)));
        let room = if stream { STREAM } else { stated.clamp(PLAIN, EXTENDED) };
        let (name, recursion) = (text(&labels), flags & 0x0100 != 0);
        Ok(Self { id, bytes: &message[..end], name, kind, labels, question, recursion, edns, room })
    }

    /// The answer of ours.
    pub fn answer(&self, answer: &Answer) -> Vec<u8> {
        let (code, data) = match answer {
            Answer::Addresses(addresses) => {
                (RCODE::NoError, addresses.iter().copied().map(address).collect())
            }
            Answer::Name(name) => (RCODE::NoError, pointer(name).into_iter().collect()),
            Answer::Empty => (RCODE::NoError, Vec::new()),
            Answer::Missing => (RCODE::NameError, Vec::new()),
            Answer::Refused => (RCODE::Refused, Vec::new()),
            Answer::Failed => (RCODE::ServerFailure, Vec::new()),
        };
        self.build(code, data)
    }

    fn build(&self, code: RCODE, mut data: Vec<RData<'_>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(self.id);
        packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if matches!(code, RCODE::NoError | RCODE::NameError) {
            packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        }
        if self.recursion {
            packet.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        let fitting = self.fitting();
        if data.len() > fitting {
            packet.set_flags(PacketFlag::TRUNCATION);
            data.truncate(fitting);
        }
        *packet.rcode_mut() = code;
        let labels: Vec<Label<'_>> = self.labels.iter().map(|label| Label::new_unchecked(*label)).collect();
        let name = Name::new_with_labels(&labels);
        let kind = QTYPE::try_from(self.kind).unwrap_or_else(|_| QTYPE::TYPE(TYPE::from(self.kind)));
        packet.questions.push(Question::new(name.clone(), kind, QCLASS::CLASS(CLASS::IN), false));
        let record = |data| ResourceRecord::new(name.clone(), CLASS::IN, TTL, data);
        packet.answers = data.into_iter().map(record).collect();
        if self.edns {
            *packet.opt_mut() =
                Some(OPT { opt_codes: Vec::new(), udp_packet_size: EXTENDED as u16, version: 0 });
        }
        packet.build_bytes_vec_compressed().unwrap_or_default()
    }

    /// How many addresses of the longer kind the answer takes, each with a name of two bytes.
    fn fitting(&self) -> usize {
        self.room.saturating_sub(self.question + 11) / 28
    }

    /// Whether `message` answers this query, sent with the id `asked`.
    pub fn is_answered_by(&self, message: &[u8], asked: u16) -> bool {
        let same = |ours: &[u8], theirs: &[u8]| ours.eq_ignore_ascii_case(theirs);
        message.len() >= self.question
            && message[..2] == asked.to_be_bytes()
            && message[2] & 0x80 != 0
            && message[4..6] == [0, 1]
            && same(&self.bytes[HEADER..self.question], &message[HEADER..self.question])
    }

    /// Somebody else's answer, as it goes to whoever has asked.
    pub fn passed_on(&self, mut message: Vec<u8>) -> Vec<u8> {
        if message.len() > self.room {
            message.truncate(self.question);
            message[2] |= 0x02;
            message[6..HEADER].fill(0);
        }
        message[..2].copy_from_slice(&self.id.to_be_bytes());
        message
    }

    /// The query, as it goes to somebody else.
    pub fn asked_as(&self, id: u16) -> Vec<u8> {
        let mut message = self.bytes.to_vec();
        message[..2].copy_from_slice(&id.to_be_bytes());
        message
    }
}

/// Whether the answer is not whole.
pub fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Whether whoever answers so may only not be able to: another server should be asked.
pub fn is_helpless(message: &[u8]) -> bool {
    // SERVFAIL, NOTIMP, REFUSED.
    message.get(3).is_some_and(|flags| matches!(flags & 0x0f, 2 | 4 | 5))
}

/// An answer that is a header only.
fn bare(id: u16, flags: u16, code: RCODE) -> Vec<u8> {
    let mut packet = Packet::new_reply(id);
    if flags & 0x0100 != 0 {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *packet.rcode_mut() = code;
    packet.build_bytes_vec().unwrap_or_default()
}

/// The labels of the question, and what comes behind. There is nothing before it that a pointer could lead to.
fn labels(message: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => return Some((labels, at)),
            1..=63 => labels.push(message.get(at..at + length)?),
            _ => return None,
        }
        at += length;
        // With the end, 255 octets at most.
        if at - HEADER > 254 {
            return None;
        }
    }
}

/// The end of the message, and what room for an answer it states (EDNS), once at most.
fn additions(message: &[u8], mut at: usize, count: u16) -> Option<(usize, Option<u16>)> {
    let mut size = None;
    for _ in 0..count {
        at = behind_name(message, at)?;
        let fixed = message.get(at..at + 10)?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        if word(0) == TYPE_OPT && size.replace(word(2)).is_some() {
            return None;
        }
        at += 10 + usize::from(word(8));
        message.get(..at)?;
    }
    Some((at, size))
}

/// A pointer ends a name, and is not followed.
fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + length,
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// What is in no host name becomes what is in none of ours either: a dot within a label is no border.
fn text(labels: &[&[u8]]) -> String {
    let plain = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') => {
            byte.to_ascii_lowercase() as char
        }
        _ => '?',
    };
    let mut text = String::new();
    for label in labels {
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(plain));
    }
    text
}

fn address(address: IpAddr) -> RData<'static> {
    match address {
        IpAddr::V4(address) => RData::A(A { address: address.into() }),
        IpAddr::V6(address) => RData::AAAA(AAAA { address: address.into() }),
    }
}

fn pointer(name: &str) -> Option<RData<'_>> {
    Name::new(name).ok().map(|name| RData::PTR(PTR(name)))
}

#[cfg(test)]
mod tests;
