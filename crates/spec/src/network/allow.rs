//! Who may talk to whom beyond a zone.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::word::shown;
use super::{Protocol, publish};
use crate::limits::GroupName;
use crate::{Error, Name, Result};

const FORMS: &str = "as in host, host:5432, outside, db:5432, dns:53/udp, group:tenant-a, 10.0.0.0/8, [fd00::/8]:80; from: in front for who may talk to it";

/// One permission: to somebody, on some ports. Answers are always let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// The other side talks to this container, and not this container to the other side.
    #[serde(default)]
    pub inward: bool,
    /// Who.
    pub peer: Peer,
    /// Only this; None for everything.
    #[serde(default)]
    pub port: Option<(Protocol, u16)>,
}

/// The other side of a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// The host's own services.
    Host,
    /// Everything that is no container of ours and not the host.
    Outside,
    /// A container.
    Container(Name),
    /// The containers of a group.
    Group(GroupName),
    /// Addresses.
    Net(IpNet),
}

/// The words for what is not allowed.
pub(super) const CLOSED: [&str; 2] = ["!outside", "closed"];

impl FromStr for Allow {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (inward, rest) = text.strip_prefix("from:").map_or((false, text), |rest| (true, rest));
        let said =
            |error: Error| error.context(format!("{:?} says nobody who may talk", shown(text))).hint(FORMS);
        let (peer, port) = parse(rest).map_err(said)?;
        Ok(Self { inward, peer, port })
    }
}

fn parse(text: &str) -> Result<(Peer, Option<(Protocol, u16)>)> {
    if text.is_empty() {
        return Err(Error::user("nobody is named"));
    }
    if let Some((net, port)) = bracketed(text) {
        return Ok((Peer::Net(addresses(net)?), port.map(publish::port).transpose()?));
    }
    // Addresses have colons and slashes of their own.
    if let Ok(net) = addresses(text) {
        return Ok((Peer::Net(net), None));
    }
    let (prefix, rest) = text.strip_prefix("group:").map_or(("", text), |rest| ("group:", rest));
    let (name, port) = rest.split_once(':').map_or((rest, None), |(name, port)| (name, Some(port)));
    let port = port.map(publish::port).transpose()?;
    let peer = match (prefix, name) {
        ("", "host") => Peer::Host,
        ("", "outside") => Peer::Outside,
        ("", name) if name.contains('/') || name.parse::<IpAddr>().is_ok() => Peer::Net(addresses(name)?),
        ("", name) => Peer::Container(name.parse()?),
        (_, name) => Peer::Group(name.parse()?),
    };
    Ok((peer, port))
}

/// `[fd00::/8]:80`.
fn bracketed(text: &str) -> Option<(&str, Option<&str>)> {
    let (net, rest) = text.strip_prefix('[')?.split_once(']')?;
    match rest.strip_prefix(':') {
        Some(port) => Some((net, Some(port))),
        None => rest.is_empty().then_some((net, None)),
    }
}

fn addresses(text: &str) -> Result<IpNet> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc()).map_err(|_| Error::user(format!("{:?} are no addresses", shown(text))))
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inward {
            f.write_str("from:")?;
        }
        match (&self.peer, self.port) {
            (Peer::Host, _) => f.write_str("host")?,
            (Peer::Outside, _) => f.write_str("outside")?,
            (Peer::Container(name), _) => write!(f, "{name}")?,
            (Peer::Group(name), _) => write!(f, "group:{name}")?,
            (Peer::Net(net @ IpNet::V6(_)), Some(_)) => write!(f, "[{net}]")?,
            (Peer::Net(net), _) => write!(f, "{net}")?,
        }
        match self.port {
            Some((Protocol::Tcp, port)) => write!(f, ":{port}"),
            Some((protocol, port)) => write!(f, ":{port}/{}", protocol.word()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in [
            "host",
            "host:5432",
            "outside",
            "outside:443",
            "from:outside",
            "db",
            "db:5432",
            "dns:53/udp",
            "from:web:80",
            "group:tenant-a",
            "group:tenant-a/web:80",
            "from:group:tenant-a",
            "10.0.0.0/8",
            "10.0.0.0/8:80/udp",
            "fd00::/8",
            "[fd00::/8]:80",
            "from:192.168.1.7/32",
        ] {
            assert_eq!(text.parse::<Allow>().expect(text).to_string(), text);
        }
        assert_eq!("10.1.2.3".parse::<Allow>().expect("address").to_string(), "10.1.2.3/32");
        assert_eq!("10.1.2.3/8".parse::<Allow>().expect("network").to_string(), "10.0.0.0/8");
        assert_eq!("::1".parse::<Allow>().expect("address").to_string(), "::1/128");
        assert_eq!("host:80/tcp".parse::<Allow>().expect("tcp").to_string(), "host:80");
    }

    #[test]
    fn nobody_is_refused() {
        for text in [
            "",
            "from:",
            "a b",
            "host:0",
            "host:70000",
            "host:http",
            "host:80/sctp",
            "host:80-90",
            "group:",
            "group:a//b",
            "10.0.0.0/33",
            "[fd00::/8",
            "[fd00::/8]80",
            "..",
            "!outside",
        ] {
            assert!(text.parse::<Allow>().is_err(), "{text}");
        }
        let long = "n".repeat(300);
        let error = long.parse::<Allow>().expect_err("long");
        assert!(error.chain().contains("300 bytes") && !error.hints().is_empty(), "{}", error.chain());
    }
}
