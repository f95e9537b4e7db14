//! Messages of netlink: many in one buffer, and the attributes of those that come back.

use crate::uapi::netlink::{ACK, NESTED, REQUEST, TYPE_MASK};

/// Messages that are sent at once. The kernel does them in order, and goes on after one that fails.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where the last message starts.
    last: usize,
    count: u32,
}

impl Batch {
    /// Begins a message, whose fixed part is `header`; it gets the returned number.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, header: &[u8]) -> u32 {
        self.last = self.bytes.len();
        self.count += 1;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(header);
        self.finish();
        self.count
    }

    /// Adds an attribute to the last message.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.close(start);
    }

    /// A number in the order of this machine.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// A number in the order of the network.
    pub(crate) fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Likewise, of eight bytes.
    pub(crate) fn put_be64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Text with a zero at its end.
    pub(crate) fn put_text(&mut self, kind: u16, value: &str) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// An attribute that holds others, behind `header`.
    pub(crate) fn nest(&mut self, kind: u16, header: &[u8], inner: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        self.bytes.extend(header);
        inner(self);
        self.close(start);
    }

    /// The number of the last message; 0 if there is none.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// What is sent. The last message is always answered; failures of others too.
    pub(crate) fn finished(&mut self) -> &[u8] {
        if let Some(flags) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let value = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&value.to_ne_bytes());
        }
        &self.bytes
    }

    /// Asks for an answer to the last message.
    pub(crate) fn acknowledge(&mut self) {
        self.finished();
    }

    /// As it is.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn close(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        while self.bytes.len() % 4 != 0 {
            self.bytes.push(0);
        }
        self.finish();
    }

    fn finish(&mut self) {
        let length = (self.bytes.len() - self.last) as u32;
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// A message that came back.
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages in a buffer.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..16)?;
        let length = word(header, 0) as usize;
        let answer = Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            sequence: word(header, 8),
            body: bytes.get(16..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

/// The attributes in a buffer: their kinds and values.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of this kind.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// Four bytes in the order of this machine; 0 beyond the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// Four bytes in the order of the network; 0 where there are less.
pub(crate) fn be_word(bytes: &[u8]) -> u32 {
    bytes.get(..4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Text up to the first zero.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut batch = Batch::default();
        batch.message(16, 0, &[1, 2, 3, 4]);
        batch.put_text(3, "eth0");
        batch.nest(18, &[], |batch| batch.put_u32(1, 7));
        batch.message(17, 0, &[]);
        let bytes = batch.finished().to_vec();
        let all: Vec<_> = answers(&bytes).collect();
        assert_eq!(all.iter().map(|one| (one.kind, one.sequence)).collect::<Vec<_>>(), [(16, 1), (17, 2)]);
        assert_eq!(text(attribute(&all[0].body[4..], 3).expect("name")), "eth0");
        assert_eq!(word(attribute(attribute(&all[0].body[4..], 18).expect("nest"), 1).expect("one"), 0), 7);
        assert!(answers(&bytes[..20]).next().is_none(), "cut off");
    }
}
