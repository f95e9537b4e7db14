//! What is answered to whom: a pure function of the network, its leases, and the query.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use spec::network::{Kind, Network};

use crate::message::Answer;
use crate::table::Table;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
/// What is asked of domains and not of hosts: NS, SOA, DS, NSEC, DNSKEY, NSEC3.
const OF_DOMAINS: [u16; 6] = [2, 6, 43, 47, 48, 50];
const IXFR: u16 = 251;
const AXFR: u16 = 252;
const ANY: u16 = 255;

/// The domain that every network has besides that of its own name: set aside for private use by ICANN (2024).
const INTERNAL: &str = "internal";

/// A network, as far as names go.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    forwards: bool,
    nets: Vec<IpNet>,
    gateways: Vec<IpAddr>,
}

/// What is to be done with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This is answered.
    Answer(Answer),
    /// Somebody else is asked.
    Forward,
}

/// How whoever asks stands to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// One of its containers.
    Inside,
    /// The host itself.
    Host,
    /// Anybody else.
    Outside,
}

impl Zone {
    /// That of a network.
    pub fn of(network: &Network) -> Self {
        Self {
            name: network.name.as_str().to_ascii_lowercase(),
            // What leads nowhere asks nobody either: names would be a way out (2024-29018).
            forwards: !matches!(network.kind, Kind::Isolated | Kind::Pair),
            nets: network.subnets.iter().map(|subnet| subnet.net).collect(),
            gateways: network.subnets.iter().map(|subnet| subnet.gateway).collect(),
        }
    }

    /// Decides about a query for `name`, in small letters. With each `turn` another of several addresses is first.
    pub fn decide(&self, name: &str, kind: u16, source: IpAddr, table: &Table, turn: usize) -> Verdict {
        let standing = self.standing(source);
        if standing == Standing::Outside || matches!(kind, IXFR | AXFR) {
            return Verdict::Answer(Answer::Refused);
        }
        let lease = table.lease(&source.to_canonical());
        let inside = standing == Standing::Inside;
        let group = inside.then(|| lease.map_or("", |lease| lease.group.as_str()));
        if let Some(answer) = self.known(name, kind, table, group, turn) {
            return Verdict::Answer(answer);
        }
        match self.is_ours(name, kind) {
            // There may be one on another network of whoever asks, whose resolver is asked next.
            Some(Ours::Shared) if lease.is_some_and(|lease| lease.more) => Verdict::Answer(Answer::Refused),
            Some(_) => Verdict::Answer(Answer::Missing),
            // The host asks somebody else in the first place: what comes from it is what we have asked ourselves.
            None if standing == Standing::Host => Verdict::Answer(Answer::Refused),
            // Of whom nobody knows what he may ask nothing is told to others.
            None if lease.is_none() => Verdict::Answer(Answer::Refused),
            None if self.forwards && lease.is_some_and(|lease| !lease.closed) => Verdict::Forward,
            None if lease.is_some_and(|lease| lease.more) => Verdict::Answer(Answer::Refused),
            None => Verdict::Answer(Answer::Missing),
        }
    }

    fn standing(&self, source: IpAddr) -> Standing {
        let source = source.to_canonical();
        if source.is_loopback() || self.gateways.contains(&source) {
            Standing::Host
        } else if self.nets.iter().any(|net| net.contains(&source)) {
            Standing::Inside
        } else {
            Standing::Outside
        }
    }

    fn known(
        &self,
        name: &str,
        kind: u16,
        table: &Table,
        group: Option<&str>,
        turn: usize,
    ) -> Option<Answer> {
        if let Some(address) = reverse(name) {
            let lease = table.lease(&address)?;
            let own = format!("{}.{}", lease.name, self.name);
            return Some(if matches!(kind, PTR | ANY) { Answer::Name(own) } else { Answer::Empty });
        }
        let found = if name == "localhost" || name.ends_with(".localhost") {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            self.names(name).map(|name| table.addresses(name, group)).find(|found| !found.is_empty())?
        };
        let fits = |address: &&IpAddr| kind == ANY || kind == if address.is_ipv4() { A } else { AAAA };
        let mut fitting: Vec<IpAddr> = found.iter().filter(fits).copied().collect();
        if fitting.is_empty() {
            return Some(Answer::Empty);
        }
        let first = turn % fitting.len();
        fitting.rotate_left(first);
        Some(Answer::Addresses(fitting))
    }

    /// What is looked for: the name as it is, and without the domains that are ours. Whatever a container is
    /// called: with dots in it, and not in the network's own domain, the name is that of somebody elsewhere.
    fn names<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let short = [Some(name), within(name, INTERNAL)].into_iter().flatten();
        short.filter(|name| !name.contains('.')).chain(within(name, &self.name))
    }

    /// Whether nobody else is asked about a name that is not there: while a container is away, somebody else must
    /// not be taken for it.
    fn is_ours(&self, name: &str, kind: u16) -> Option<Ours> {
        if let Some(address) = reverse(name) {
            return self.nets.iter().any(|net| net.contains(&address)).then_some(Ours::Own);
        }
        if name == self.name || within(name, &self.name).is_some() {
            return Some(Ours::Own);
        }
        // The root has no labels. Deeper names below `internal` are those of whoever runs the host.
        let short = !name.is_empty() && !name.contains('.') && !OF_DOMAINS.contains(&kind);
        let internal = within(name, INTERNAL).is_some_and(|rest| !rest.contains('.'));
        (short || internal).then_some(Ours::Shared)
    }
}

/// Which names are a network's.
enum Ours {
    /// In its own domain, or of its own addresses.
    Own,
    /// Without a domain, or in the one that all networks have.
    Shared,
}

/// What stands before a domain.
fn within<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    name.strip_suffix(domain)?.strip_suffix('.').filter(|rest| !rest.is_empty())
}

/// The address that is asked for by its name (RFC 1035 3.5, RFC 3596 2.5).
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(rest) = within(name, "in-addr.arpa") {
        let mut bytes = [0_u8; 4];
        let mut parts = rest.split('.');
        for byte in bytes.iter_mut().rev() {
            *byte = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then(|| IpAddr::from(bytes));
    }
    let mut bytes = [0_u8; 16];
    let mut parts = within(name, "ip6.arpa")?.split('.');
    let mut nibble =
        || parts.next().filter(|part| part.len() == 1).and_then(|part| u8::from_str_radix(part, 16).ok());
    for byte in bytes.iter_mut().rev() {
        let low = nibble()?;
        *byte = nibble()? << 4 | low;
    }
    parts.next().is_none().then(|| IpAddr::from(bytes))
}

#[cfg(test)]
mod tests;
