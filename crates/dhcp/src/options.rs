//! What stands in the options of a message.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Their numbers (RFC 2132 and others).
pub(crate) mod code {
    pub(crate) const PAD: u8 = 0;
    pub(crate) const MASK: u8 = 1;
    pub(crate) const ROUTER: u8 = 3;
    pub(crate) const SERVERS: u8 = 6;
    pub(crate) const HOSTNAME: u8 = 12;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const MTU: u8 = 26;
    pub(crate) const WISH: u8 = 50;
    pub(crate) const LEASE: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const KIND: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const ASKED: u8 = 55;
    pub(crate) const SIZE: u8 = 57;
    pub(crate) const RENEW: u8 = 58;
    pub(crate) const REBIND: u8 = 59;
    pub(crate) const CLIENT: u8 = 61;
    /// RFC 3397.
    pub(crate) const SEARCH: u8 = 119;
    /// RFC 3442.
    pub(crate) const ROUTES: u8 = 121;
    pub(crate) const END: u8 = 255;
}

/// So much of lists is taken.
const MOST: usize = 32;
/// A name has 253 bytes at most (RFC 1035), as text.
const LONGEST_NAME: usize = 253;

/// Addresses, one after the other.
pub(crate) fn addresses(value: &[u8]) -> Vec<Ipv4Addr> {
    let four = |four: &[u8]| <[u8; 4]>::try_from(four).ok().map(Ipv4Addr::from);
    value.chunks_exact(4).filter_map(four).take(MOST).collect()
}

/// The length of the prefix that a mask stands for.
pub(crate) fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let length = bits.leading_ones();
    (bits.checked_shl(length).unwrap_or(0) == 0).then_some(length as u8)
}

/// Routes, each with the one by whom it goes; 0.0.0.0 for what is on the segment itself.
pub(crate) fn routes(mut value: &[u8]) -> Option<Vec<(Ipv4Net, Ipv4Addr)>> {
    let mut all = Vec::new();
    while let Some((&length, rest)) = value.split_first() {
        let significant = usize::from(length).div_ceil(8);
        let (start, rest) = rest.split_at_checked(significant)?;
        let (via, rest) = rest.split_at_checked(4)?;
        let mut to = [0; 4];
        to.get_mut(..significant)?.copy_from_slice(start);
        let net = Ipv4Net::new(to.into(), length).ok()?.trunc();
        all.push((net, Ipv4Addr::from(<[u8; 4]>::try_from(via).ok()?)));
        value = rest;
    }
    all.truncate(MOST);
    Some(all)
}

/// Names in the form of DNS, where a later one may end in a part of an earlier one. What is no name of a host is
/// left out: it would be written into a file with others.
pub(crate) fn names(value: &[u8]) -> Vec<String> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < value.len() && all.len() < MOST {
        let Some((name, next)) = name(value, at) else { break };
        all.extend(is_domain(&name).then_some(name));
        at = next;
    }
    all
}

/// The name that begins there, and where the next one begins. A part of another lies before: so it ends.
fn name(value: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut text, mut at, mut limit, mut next) = (String::new(), start, start, None);
    loop {
        let length = *value.get(at)?;
        match length {
            0 => break,
            1..=63 => {
                let label = value.get(at + 1..at + 1 + usize::from(length))?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(std::str::from_utf8(label).ok()?);
                if text.len() > LONGEST_NAME {
                    return None;
                }
                at += 1 + usize::from(length);
            }
            192.. => {
                let to = usize::from(length & 63) << 8 | usize::from(*value.get(at + 1)?);
                next = next.or(Some(at + 2));
                if to >= limit {
                    return None;
                }
                (at, limit) = (to, to);
            }
            _ => return None,
        }
    }
    Some((text, next.unwrap_or(at + 1)))
}

/// The one name in an option of text.
pub(crate) fn domain(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches(['\0', '.']);
    is_domain(text).then(|| text.to_owned())
}

/// Whether it is made as names of hosts are.
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..64).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
    };
    text.len() <= LONGEST_NAME && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn masks_have_no_holes() {
        for (mask, length) in [
            ([255, 255, 255, 0], Some(24)),
            ([0; 4], Some(0)),
            ([255; 4], Some(32)),
            ([255, 0, 255, 0], None),
        ] {
            assert_eq!(prefix(mask.into()), length, "{mask:?}");
        }
    }

    #[test]
    fn routes_are_as_long_as_their_prefix() {
        // RFC 3442: 0.0.0.0/0, 10.0.0.0/8, 10.17.0.0/16, 10.27.129.0/24.
        let value =
            [0, 10, 0, 0, 1, 8, 10, 10, 0, 0, 2, 16, 10, 17, 10, 0, 0, 3, 24, 10, 27, 129, 0, 0, 0, 0];
        let all = routes(&value).expect("routes");
        let texts: Vec<String> = all.iter().map(|(net, via)| format!("{net} {via}")).collect();
        assert_eq!(
            texts,
            ["0.0.0.0/0 10.0.0.1", "10.0.0.0/8 10.0.0.2", "10.17.0.0/16 10.0.0.3", "10.27.129.0/24 0.0.0.0"]
        );
        for bad in [&[33, 1, 1, 1, 1, 1, 1, 1, 1][..], &[8, 10, 1, 1], &[255; 12]] {
            assert_eq!(routes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_may_share_their_ends_and_never_go_round() {
        // RFC 3397: eng.apple.com., marketing.apple.com.
        let value = b"\x03eng\x05apple\x03com\x00\x09marketing\xC0\x04";
        assert_eq!(names(value), ["eng.apple.com", "marketing.apple.com"]);
        assert!(names(b"\x03eng\xC0\x00").is_empty(), "round");
        assert!(names(b"\xC0\x02\xC0\x00").is_empty(), "round by two");
        assert!(names(b"\x03a b\x00").is_empty() && names(b"\x05a\nb.c\x00").is_empty());
        assert_eq!(domain(b"lan.example\0").as_deref(), Some("lan.example"));
        assert_eq!(domain(b"lan\nnameserver 6.6.6.6"), None);
        let mut random = Random::new(3);
        for _ in 0..200_000 {
            let wild: Vec<u8> = (0..random.below(40))
                .map(|_| if random.below(3) == 0 { 192 } else { random.below(20) as u8 })
                .collect();
            let _ = (names(&wild), routes(&wild), addresses(&wild), domain(&wild));
        }
    }
}
