//! Ports of the host that lead to a container.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::word::shown;
use crate::{Error, Result};

const FORMS: &str = "as in 8080:80, 80 (any free port of the host), 127.0.0.1:8080:80, [::1]:8080:80, 8000-8010:80-90, 5353:53/udp";

/// So many ports at once are a mistake: each is a socket that is held, and an element of the table.
const MOST: usize = 1000;

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As `tcp`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its number in IP packets (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One port of the host that leads to one of a container. Ranges are many of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The address of the host; None for all, IPv4 and IPv6.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The port there; 0 for any that is free, found at each start.
    pub host: u16,
    /// The port inside.
    pub container: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}

impl Publish {
    /// What `[IP:]HOST:CONTAINER[/udp]` means: one port, or as many as its ranges have.
    ///
    /// # Errors
    /// What is none of its forms; ports outside 1 to 65535; ranges of different lengths; a protocol
    /// that cannot be published.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let (ports, protocol) = with_protocol(text)?;
        let bad = || Error::user(format!("{:?} is no published port", shown(text))).hint(FORMS);
        let (rest, inside) =
            ports.rsplit_once(':').map_or((None, ports), |(rest, inside)| (Some(rest), inside));
        let (address, host) = match rest {
            None => (None, ""),
            Some(rest) => match (rest.strip_prefix('['), rest.rsplit_once(':')) {
                (Some(six), _) => {
                    let (address, host) = six.split_once("]:").ok_or_else(bad)?;
                    (Some(address), host)
                }
                // Without brackets nothing tells where an address of IPv6 ends.
                (None, Some((address, _))) if address.contains(':') => return Err(bad()),
                (None, Some((address, host))) => (Some(address), host),
                (None, None) => (None, rest),
            },
        };
        let address = address.map(|text| parse_address(text).ok_or_else(bad)).transpose()?;
        let inside = range(inside, text, false)?;
        let host = if host.is_empty() { 0..=0 } else { range(host, text, true)? };
        pairs(&host, &inside, text).map(|pairs| {
            let one = |(host, container)| Self { address: address.flatten(), host, container, protocol };
            pairs.into_iter().map(one).collect()
        })
    }
}

/// All addresses are none in particular.
fn parse_address(text: &str) -> Option<Option<IpAddr>> {
    let address: IpAddr = text.parse().ok()?;
    let usable = !address.is_multicast();
    usable.then(|| Some(address).filter(|address| *address != IpAddr::from([0, 0, 0, 0])))
}

fn pairs(host: &RangeInclusive<u16>, inside: &RangeInclusive<u16>, text: &str) -> Result<Vec<(u16, u16)>> {
    if inside.len() > MOST {
        return Err(Error::user(format!(
            "{:?} are {} ports; {MOST} are the most",
            shown(text),
            inside.len()
        ))
        .hint("give the container the host's network for so many: --network host"));
    }
    if *host.start() == 0 {
        return Ok(inside.clone().map(|port| (0, port)).collect());
    }
    if host.len() != inside.len() {
        return Err(Error::user(format!(
            "{:?}: {} ports of the host cannot lead to {} of the container",
            shown(text),
            host.len(),
            inside.len()
        ))
        .hint("ranges are of one length, as in 8000-8010:80-90"));
    }
    Ok(host.clone().zip(inside.clone()).collect())
}

fn range(text: &str, whole: &str, zero: bool) -> Result<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let least = u16::from(!zero);
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port >= least);
        port.ok_or_else(|| {
            Error::user(format!("{:?} in {:?} is no port", shown(text), shown(whole)))
                .hint(format!("a number from {least} to 65535; {FORMS}"))
        })
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last || first == 0 && last != 0 {
        return Err(Error::user(format!(
            "the ports {text:?} in {:?} go backwards, or begin with 0",
            shown(whole)
        ))
        .hint(FORMS));
    }
    Ok(first..=last)
}

/// What is in front of `/udp`, and the protocol.
pub(super) fn with_protocol(text: &str) -> Result<(&str, Protocol)> {
    let Some((rest, word)) = text.rsplit_once('/') else { return Ok((text, Protocol::Tcp)) };
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Ok((rest, Protocol::Tcp)),
        "udp" => Ok((rest, Protocol::Udp)),
        "sctp" => Err(Error::unsupported(format!("{:?}: SCTP cannot be published", shown(text)))
            .hint("its ends name several addresses in the packets themselves, which no translation follows; --network host does without one")),
        _ => Err(Error::user(format!("{:?} in {:?} is no protocol with ports", shown(word), shown(text)))
            .hint("they are tcp and udp")),
    }
}

/// A port by itself, 1 to 65535, with its protocol, as in `53/udp`.
pub(super) fn port(text: &str) -> Result<(Protocol, u16)> {
    let (number, protocol) = with_protocol(text)?;
    let range = range(number, text, false)?;
    match range.len() {
        1 => Ok((protocol, *range.start())),
        _ => Err(Error::user(format!("{:?} are several ports", shown(text))).hint("say each by itself")),
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.host))?,
            None => write!(f, "{}", self.host)?,
        }
        write!(f, ":{}", self.container)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_all(text: &str) -> Vec<String> {
        Publish::parse(text).expect(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_form() {
        for (text, shown) in [
            ("8080:80", &["8080:80"][..]),
            ("80", &["0:80"]),
            (":80", &["0:80"]),
            ("0:80", &["0:80"]),
            ("5353:53/udp", &["5353:53/udp"]),
            ("80/UDP", &["0:80/udp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1:8080:80"]),
            ("127.0.0.1::80", &["127.0.0.1:0:80"]),
            ("[::1]:80:80", &["[::1]:80:80"]),
            ("0.0.0.0:1:2", &["1:2"]),
            ("8000-8002:80-82", &["8000:80", "8001:81", "8002:82"]),
            ("80-81", &["0:80", "0:81"]),
            ("65535:65535", &["65535:65535"]),
        ] {
            assert_eq!(shown_all(text), shown, "{text}");
        }
        assert_eq!(
            Publish::parse("[::]:1:2").expect("all of IPv6")[0].address,
            Some("::".parse().expect("::"))
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, part) in [
            ("", "no port"),
            ("http", "no port"),
            ("80:0", "no port"),
            ("70000:80", "no port"),
            ("80:-1", "no port"),
            ("+80:80", "no port"),
            ("80:80:80:80", "no published port"),
            ("host:80:80", "no published port"),
            ("[::1:80:80", "no published port"),
            ("::1:80:80", "no published port"),
            ("224.0.0.1:80:80", "no published port"),
            ("90-80:90-80", "backwards"),
            ("0-5:80-85", "begin with 0"),
            ("8000-8001:80", "2 ports of the host"),
            ("1-65535:1-65535", "the most"),
            ("80:80/sctp", "SCTP"),
            ("80:80/icmp", "no protocol"),
            ("80:80/", "no protocol"),
        ] {
            let error = Publish::parse(text).expect_err(text);
            assert!(error.to_string().contains(part) && !error.hints().is_empty(), "{text}: {error}");
        }
        let long = "8".repeat(300);
        assert!(Publish::parse(&long).expect_err("long").chain().len() < 300);
    }
}
