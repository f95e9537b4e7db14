//! PAX extended headers: records `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.

use std::collections::BTreeMap;

use crate::meta::Time;

/// What stands before the name of an xattr.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The key of the xattr `name`. A key ends at the first `=`, so one in the name is written as GNU
/// tar writes it.
pub(crate) fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR.to_vec();
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            byte => key.push(*byte),
        }
    }
    key
}

/// The name of the xattr that `key` stands for, if it does.
pub(crate) fn xattr_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(XATTR)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match *rest {
            [b'%', b'2', b'5', ..] => (b'%', &rest[3..]),
            [b'%', b'3', b'D', ..] => (b'=', &rest[3..]),
            _ => (*first, tail),
        };
        name.push(byte);
        rest = tail;
    }
    Some(name)
}

/// Reads all records; None if they are malformed. A later record of a key wins, as POSIX says.
pub(crate) fn parse(mut block: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !block.is_empty() {
        let space = block.iter().take(20).position(|byte| *byte == b' ')?;
        let length = number(&block[..space])? as usize;
        let (record, rest) = block.split_at_checked(length)?;
        let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|byte| *byte == b'=')?;
        records.insert(body[..equals].to_vec(), body[equals + 1..].to_vec());
        block = rest;
    }
    Some(records)
}

/// Writes records in the order of their keys.
pub(crate) fn format(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut block = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + digits(rest);
        length = rest + digits(length);
        block.extend_from_slice(length.to_string().as_bytes());
        for part in [b" ", key.as_slice(), b"=", value, b"\n"] {
            block.extend_from_slice(part);
        }
    }
    block
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// A plain decimal number; no sign, no blanks.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// `-1.5` and the like. What is finer than a nanosecond is cut off.
pub(crate) fn parse_time(text: &[u8]) -> Option<Time> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let secs = i64::try_from(number(&text[..point])?).ok()?;
    let fraction = text.get(point + 1..).unwrap_or_default();
    let mut nanos = 0;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        nanos = nanos * 10 + (digit as char).to_digit(10)?;
    }
    Some(match (negative, nanos) {
        (false, _) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, _) => Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// As [`parse_time`] reads it.
pub(crate) fn format_time(time: Time) -> Vec<u8> {
    let text = match (time.secs < 0, time.nanos) {
        (_, 0) => time.secs.to_string(),
        (false, nanos) => format!("{}.{nanos:09}", time.secs),
        (true, nanos) => format!("-{}.{:09}", -(time.secs + 1), 1_000_000_000 - nanos),
    };
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_with_newlines_and_every_length() {
        for size in [0, 1, 5, 6, 7, 80, 85, 86, 87, 88, 89, 90, 980, 985, 990, 995] {
            let records = BTreeMap::from([
                (b"SCHILY.xattr.user.\xff".to_vec(), b"\n=\0".to_vec()),
                (b"path".to_vec(), vec![b'a'; size]),
            ]);
            assert_eq!(parse(&format(&records)), Some(records));
        }
    }

    #[test]
    fn names_of_xattrs_round_trip() {
        for name in ["user.a", "user.=", "user.%=%3D=", "user.%", "user.50%25"] {
            let key = xattr_key(name.as_bytes());
            assert!(!key.contains(&b'='), "{name}");
            assert_eq!(xattr_name(&key).as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(xattr_name(b"path"), None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in ["x", "4 a=\n", "99 a=b\n", "6 a=bc", "6 abc\n", " a=b\n", "-6 a=b\n", "0 a=b\n", "1 "] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn times_round_trip_before_and_after_1970() {
        for (text, secs, nanos) in
            [("0", 0, 0), ("1.5", 1, 500_000_000), ("-1.5", -2, 500_000_000), ("-3", -3, 0)]
        {
            let time = Time { secs, nanos };
            assert_eq!(parse_time(text.as_bytes()), Some(time));
            assert_eq!(parse_time(&format_time(time)), Some(time));
        }
        assert_eq!(parse_time(b"1.000000000999"), Some(Time { secs: 1, nanos: 0 }));
        for bad in ["", "-", "1.x", "1e3", ".5", "99999999999999999999"] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
