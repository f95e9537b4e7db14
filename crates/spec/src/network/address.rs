//! Addresses of interfaces.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The address of an interface on its segment (IEEE 802, six bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// That of the interface with this address: no two of one network have the same.
    pub fn of(address: IpAddr) -> Self {
        let tail = match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => {
                let bytes = address.octets();
                [bytes[12], bytes[13], bytes[14], bytes[15]]
            }
        };
        // Locally administered, one receiver.
        Self([0x02, 0x74, tail[0], tail[1], tail[2], tail[3]])
    }

    /// The address of IPv6 that an interface gives itself (RFC 4291, appendix A).
    pub fn link_local(self) -> IpAddr {
        let [a, b, c, d, e, f] = self.0;
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f].into()
    }

    /// Whether an interface may have it: it names one receiver, and is not nothing.
    pub fn is_ordinary(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::user(format!("{text:?} is no MAC address"))
                .hint("six bytes of one receiver, as in 02:74:0a:58:00:05")
        };
        let bytes: Vec<u8> = text
            .split([':', '-'])
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let mac = Self(bytes.try_into().map_err(|_| bad())?);
        if mac.is_ordinary() { Ok(mac) } else { Err(bad()) }
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_give_theirs_and_words_are_checked() {
        assert_eq!(Mac::of([10, 88, 0, 5].into()).to_string(), "02:74:0a:58:00:05");
        assert_eq!("02-74-0a-58-00-05".parse::<Mac>().expect("dashes"), Mac::of([10, 88, 0, 5].into()));
        assert_eq!(Mac::of([10, 88, 0, 5].into()).link_local().to_string(), "fe80::74:aff:fe58:5");
        for bad in
            ["", "02:74", "01:00:5e:00:00:01", "00:00:00:00:00:00", "2:74:a:58:0:5", "zz:74:0a:58:00:05"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
