//! Packets of who has no address yet: what the kernel would write around a datagram, and questions of ARP.

use std::net::Ipv4Addr;

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
const UDP: u8 = 17;
/// Of IPv4 without options, and of UDP.
const IP: usize = 20;
const HEAD: usize = IP + 8;

/// A datagram of a client to everybody, from the address that it has, if any.
pub(crate) fn wrap(from: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let to = Ipv4Addr::BROADCAST;
    let mut bytes = vec![0; HEAD];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&((HEAD + payload.len()) as u16).to_be_bytes());
    (bytes[8], bytes[9]) = (64, UDP);
    bytes[12..16].copy_from_slice(&from.octets());
    bytes[16..20].copy_from_slice(&to.octets());
    let sum = !folded(sum_of(&bytes[..IP]));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes[20..22].copy_from_slice(&CLIENT.to_be_bytes());
    bytes[22..24].copy_from_slice(&SERVER.to_be_bytes());
    bytes[24..26].copy_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    bytes.extend(payload);
    let whole = !folded(pseudo(&bytes[12..20], bytes.len() - IP) + sum_of(&bytes[IP..]));
    // Zero would say that there is none.
    let whole = if whole == 0 { u16::MAX } else { whole };
    bytes[26..28].copy_from_slice(&whole.to_be_bytes());
    bytes
}

/// What a server says to a client in this packet; None if it is something else.
pub(crate) fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let head = usize::from(first & 15) * 4;
    let header = packet.get(..head)?;
    if first >> 4 != 4 || head < IP || header[9] != UDP || folded(sum_of(header)) != u16::MAX {
        return None;
    }
    // Of one in pieces the ports are only in the first.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return None;
    }
    // Short ones are padded on their way.
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let datagram = packet.get(head..length)?;
    let number = |at: usize| Some(u16::from_be_bytes([*datagram.get(at)?, *datagram.get(at + 1)?]));
    if (number(0)?, number(2)?) != (SERVER, CLIENT) {
        return None;
    }
    let datagram = datagram.get(..number(4)?.into())?;
    let payload = datagram.get(8..)?;
    is_sound(&header[12..20], datagram, number(6)?).then_some(payload)
}

/// Whether the sum of a datagram is right. Over a link that is only in memory it may not be finished: there the sum of the
/// addresses alone stands in its place.
fn is_sound(addresses: &[u8], datagram: &[u8], said: u16) -> bool {
    let pseudo = pseudo(addresses, datagram.len());
    said == 0 || said == folded(pseudo) || folded(pseudo + sum_of(datagram)) == u16::MAX
}

fn pseudo(addresses: &[u8], length: usize) -> u32 {
    sum_of(addresses) + u32::from(UDP) + length as u32
}

/// In words of two bytes; at most 64 KiB, so it does not overflow.
fn sum_of(bytes: &[u8]) -> u32 {
    let word = |two: &[u8]| u32::from(two[0]) << 8 | two.get(1).map_or(0, |low| u32::from(*low));
    bytes.chunks(2).map(word).sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Asks whether somebody has an address, without saying that we do (RFC 5227).
pub fn probe(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1];
    bytes.extend(mac);
    bytes.extend([0; 10]);
    bytes.extend(address.octets());
    bytes
}

/// Who says of himself that he has an address, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// His MAC address.
    pub mac: [u8; 6],
    /// The address.
    pub address: Ipv4Addr,
}

impl Claim {
    /// What a packet of ARP says; None for other packets.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..28)?;
        let (true, 1 | 2) = (bytes[..6] == [0, 1, 8, 0, 6, 4], bytes[7]) else { return None };
        let four = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        // Who asks for it as we do, without having it, wants it too.
        let address = if four(14).is_unspecified() { four(24) } else { four(14) };
        Some(Self { mac: bytes[8..14].try_into().ok()?, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What a server would send.
    fn answer(payload: &[u8]) -> Vec<u8> {
        let mut bytes = wrap(Ipv4Addr::UNSPECIFIED, payload);
        bytes[20..24].copy_from_slice(&[0, 67, 0, 68]);
        bytes
    }

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        for payload in [&b""[..], b"x", b"hello", &[255; 700]] {
            assert_eq!(unwrap(&answer(payload)), Some(payload));
            let mut padded = answer(payload);
            padded.extend([0; 18]);
            assert_eq!(unwrap(&padded), Some(payload));
            assert_eq!(unwrap(&wrap([192, 0, 2, 7].into(), payload)), None, "a client's");
        }
    }

    #[test]
    fn a_sum_may_be_missing_or_begun_but_not_wrong() {
        let good = answer(b"hello");
        let with = |value: u16| {
            let mut bytes = good.clone();
            bytes[26..28].copy_from_slice(&value.to_be_bytes());
            bytes
        };
        let begun = folded(pseudo(&good[12..20], good.len() - IP));
        assert!(unwrap(&with(0)).is_some() && unwrap(&with(begun)).is_some());
        assert!(unwrap(&with(begun.wrapping_add(1))).is_none());
        let mut header = good.clone();
        header[8] = 63;
        assert!(unwrap(&header).is_none(), "the header's");
    }

    #[test]
    fn nothing_that_comes_makes_it_fall() {
        let mut random = Random::new(1);
        let good = answer(&[7; 60]);
        for _ in 0..200_000 {
            let mut wild = good.clone();
            wild.truncate(random.below(good.len() as u32 + 1) as usize);
            for _ in 0..random.below(6) {
                if !wild.is_empty() {
                    let at = random.below(wild.len().min(30) as u32) as usize;
                    wild[at] = random.below(256) as u8;
                }
            }
            let _ = (unwrap(&wild), Claim::read(&wild));
        }
    }

    #[test]
    fn a_probe_is_a_claim_of_who_has_it_not() {
        let (mac, address) = ([2, 0x74, 0, 0, 0, 1], Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(Claim::read(&probe(mac, address)), Some(Claim { mac, address }));
        assert_eq!(Claim::read(&probe(mac, address)[..27]), None);
    }
}
