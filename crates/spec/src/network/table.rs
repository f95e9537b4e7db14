//! The `[network]` table of a definition.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allow::CLOSED;
use super::word::{self, alias, shown};
use super::{Allow, Choice, Networking, Publish, Rate};
use crate::{Error, Result, ResultExt};

/// So many entries of one list are a mistake or an attack.
const MOST: usize = 1000;

/// The least that may go over an interface: with less than a packet a second nothing goes at all.
const LEAST_BYTES: u64 = 1500;

/// In place of an address: the host's, as the container sees it.
const HOST_GATEWAY: &str = "host-gateway";

/// Stands for that until the container has a network, whose gateway's it is then.
pub const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// What a definition says of the network of its containers, in the words of the flags of `tsubo run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTable {
    /// Networks, the first of which leads outside: `NAME[:ip=..,ip6=..,mac=..,alias=..]`, `host`, `none`, `container:NAME`, `interface:ETH`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Ports of the host that lead to it: `[IP:]HOST:CONTAINER[/udp]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// Who else it may talk to, and (`from:`) who to it: `host`, `outside`, `NAME`, `group:NAME`, `10.0.0.0/8`, each with `:PORT[/udp]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// It may not talk to the outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<bool>,
    /// Names besides its own that its networks know it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Resolvers in place of its networks'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Domains that are tried behind a short name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Names and their addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// Bytes a second to it, as in `10M`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// Bytes a second from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// Packets a second from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
}

impl NetworkTable {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This table with a stronger one over it. Permissions, names and ports add up, but for a port of
    /// the container that both publish; of anything else the stronger word holds.
    #[must_use]
    pub fn merged(mut self, stronger: Self) -> Self {
        let either = |weak: Vec<String>, strong: Vec<String>| if strong.is_empty() { weak } else { strong };
        let both = |mut weak: Vec<String>, strong: Vec<String>| {
            weak.retain(|word| !strong.contains(word));
            weak.extend(strong);
            weak
        };
        self.publish.retain(|weak| !stronger.publish.iter().any(|strong| same_port(weak, strong)));
        let mut hosts = self.hosts;
        hosts.extend(stronger.hosts);
        Self {
            networks: either(self.networks, stronger.networks),
            publish: both(self.publish, stronger.publish),
            allow: both(self.allow, stronger.allow),
            closed: stronger.closed.or(self.closed),
            aliases: both(self.aliases, stronger.aliases),
            dns: either(self.dns, stronger.dns),
            search: either(self.search, stronger.search),
            hosts,
            ingress: stronger.ingress.or(self.ingress),
            egress: stronger.egress.or(self.egress),
            packets: stronger.packets.or(self.packets),
        }
    }

    /// Where the network comes from, if that is said.
    ///
    /// # Errors
    /// A word that is none, or goes with no other.
    pub fn choice(&self) -> Result<Option<Choice>> {
        Choice::of(&self.networks)
    }

    /// Whether it says anything that only means something with interfaces of the container's own.
    pub fn needs_own(&self) -> Option<&'static str> {
        let said = [
            (!self.publish.is_empty(), "published ports"),
            (!self.allow.is_empty(), "who may talk to whom"),
            (self.closed == Some(true), "no way to the outside"),
            (!self.aliases.is_empty(), "names on its network"),
            (self.ingress.is_some() || self.egress.is_some() || self.packets.is_some(), "rates"),
        ];
        said.iter().find(|(said, _)| *said).map(|(_, what)| *what)
    }

    /// All but the interfaces: ports, permissions, names, rates.
    ///
    /// # Errors
    /// The first word that is none; one port of the host that leads to two of the container.
    pub fn networking(&self) -> Result<Networking> {
        let published =
            self.publish.iter().map(|word| Publish::parse(word)).collect::<Result<Vec<_>>>()?.concat();
        each_leads_to_one(&published)?;
        let closing = |word: &&String| CLOSED.contains(&word.as_str());
        let allow = self.allow.iter().filter(|word| !closing(word)).map(|word| word.parse::<Allow>());
        Ok(Networking {
            attachments: Vec::new(),
            published,
            shown: Vec::new(),
            allow: allow.collect::<Result<_>>()?,
            closed: self.closed.unwrap_or_else(|| self.allow.iter().any(|word| closing(&word))),
            servers: self.dns.iter().map(|word| server(word)).collect::<Result<_>>()?,
            search: self.search.iter().map(|word| domain(word)).collect::<Result<_>>()?,
            hosts: self.hosts.iter().map(|(name, address)| host(name, address)).collect::<Result<_>>()?,
            rate: self.rate()?,
        })
    }

    fn rate(&self) -> Result<Rate> {
        let bytes = |what: &str, word: &Option<String>| -> Result<Option<u64>> {
            let Some(word) = word else { return Ok(None) };
            let bytes = crate::isolation::bytes(word).doing(|| format!("reading the rate {what}"))?;
            if bytes < LEAST_BYTES {
                return Err(Error::user(format!("{what} = {word:?} is less than one packet a second"))
                    .hint(format!("bytes a second, {LEAST_BYTES} at least, as in 10M")));
            }
            Ok(Some(bytes))
        };
        if self.packets == Some(0) {
            return Err(Error::user("packets = 0 would let nothing out").hint("say --network none for that"));
        }
        Ok(Rate {
            ingress: bytes("ingress", &self.ingress)?,
            egress: bytes("egress", &self.egress)?,
            packets: self.packets,
        })
    }

    /// Refuses words that are none, and more of them than anybody means.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<()> {
        let lists = [&self.networks, &self.publish, &self.allow, &self.aliases, &self.dns, &self.search];
        if lists.iter().any(|list| list.len() > MOST) || self.hosts.len() > MOST {
            return Err(Error::user(format!("[network] has a list of more than {MOST} entries")));
        }
        self.choice()?;
        self.aliases.iter().try_for_each(|word| alias(word).map(drop))?;
        let networking = self.networking()?;
        if networking.published.len() > MOST {
            return Err(Error::user(format!(
                "[network] publishes {} ports; {MOST} are the most",
                networking.published.len()
            )));
        }
        Ok(())
    }
}

fn same_port(one: &str, other: &str) -> bool {
    let inside = |text: &str| {
        let ports = Publish::parse(text).unwrap_or_default();
        ports.iter().map(|port| (port.container, port.protocol)).collect::<Vec<_>>()
    };
    let other = inside(other);
    inside(one).iter().any(|port| other.contains(port))
}

fn each_leads_to_one(published: &[Publish]) -> Result<()> {
    let clashes = |one: &Publish, other: &Publish| {
        let addresses = one.address == other.address || one.address.is_none() || other.address.is_none();
        one.host != 0 && one.host == other.host && one.protocol == other.protocol && addresses
    };
    for (index, port) in published.iter().enumerate() {
        if let Some(other) = published[..index].iter().find(|other| clashes(port, other)) {
            let twice = format!(
                "the port {}/{} of the host is published twice: {other} and {port}",
                port.host,
                port.protocol.word()
            );
            return Err(Error::user(twice).hint("a port leads to one place; choose another for one of them"));
        }
    }
    Ok(())
}

fn server(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| {
        Error::user(format!("{:?} is no address of a resolver", shown(text)))
            .hint("as in 9.9.9.9 or fd00::53")
    })
}

fn domain(text: &str) -> Result<String> {
    // A single dot means that none is tried (resolv.conf(5)).
    if text == "." { Ok(text.to_owned()) } else { word::domain(text.strip_suffix('.').unwrap_or(text)) }
}

fn host(name: &str, address: &str) -> Result<(String, IpAddr)> {
    let bare = match address {
        HOST_GATEWAY => return Ok((word::domain(name)?, GATEWAY)),
        address => address.trim_start_matches('[').trim_end_matches(']'),
    };
    let parsed = bare.parse().map_err(|_| {
        Error::user(format!("{:?} is no address for {:?}", shown(address), shown(name)))
            .hint("as in --add-host db:10.0.0.5 or hosts = { db = \"10.0.0.5\" }")
    })?;
    Ok((word::domain(name)?, parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> NetworkTable {
        toml::from_str(text).expect(text)
    }

    #[test]
    fn words_become_a_network() {
        let said = table(
            "networks = [\"front:alias=web\", \"back\"]\npublish = [\"8080:80\", \"[::1]:53:53/udp\"]\n\
             allow = [\"db:5432\", \"from:group:a\", \"!outside\"]\ndns = [\"9.9.9.9\"]\nsearch = [\"corp.example\"]\n\
             hosts = { db = \"10.0.0.5\" }\ningress = \"10M\"\npackets = 500\n",
        );
        said.check().expect("good");
        let networking = said.networking().expect("network");
        assert_eq!((networking.published.len(), networking.allow.len(), networking.closed), (2, 2, true));
        assert_eq!(networking.rate, Rate { ingress: Some(10 << 20), egress: None, packets: Some(500) });
        assert_eq!(networking.hosts, [("db".to_owned(), IpAddr::from([10, 0, 0, 5]))]);
        assert!(
            matches!(said.choice().expect("choice"), Some(Choice::Attached(wishes)) if wishes.len() == 2)
        );
        let again: NetworkTable = toml::from_str(&toml::to_string(&said).expect("text")).expect("table");
        assert_eq!(again, said);
        assert_eq!(serde_json::to_string(&NetworkTable::default()).expect("json"), "{}");
    }

    #[test]
    fn the_stronger_word_holds_and_permissions_add_up() {
        let weak = table(
            "networks = [\"a\"]\npublish = [\"80:80\", \"443:443\"]\nallow = [\"host:1\"]\nclosed = true\ningress = \"1M\"",
        );
        let strong = table(
            "networks = [\"b\"]\npublish = [\"8080:80\"]\nallow = [\"host:2\", \"host:1\"]\nclosed = false",
        );
        let both = weak.clone().merged(strong);
        assert_eq!(
            (both.networks.as_slice(), both.publish.as_slice()),
            (&["b".to_owned()][..], &["443:443".to_owned(), "8080:80".to_owned()][..])
        );
        assert_eq!((both.allow.len(), both.closed, both.ingress.as_deref()), (2, Some(false), Some("1M")));
        assert_eq!(weak.clone().merged(NetworkTable::default()), weak);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, part) in [
            ("networks = [\"host\", \"a\"]", "no other"),
            ("publish = [\"80:80\", \"80:81\"]", "twice"),
            ("publish = [\"80:80\", \"127.0.0.1:80:81\"]", "twice"),
            ("publish = [\"99999:80\"]", "no port"),
            ("allow = [\"a b\"]", "nobody who may talk"),
            ("dns = [\"resolver\"]", "resolver"),
            ("search = [\"a b\"]", "resolver can know"),
            ("hosts = { db = \"nowhere\" }", "no address"),
            ("aliases = [\"a b\"]", "resolver can know"),
            ("aliases = [\"github.com\"]", "somebody elsewhere"),
            ("ingress = \"10\"", "one packet"),
            ("egress = \"fast\"", "no size"),
            ("packets = 0", "nothing"),
        ] {
            let error = table(text).check().expect_err(text);
            assert!(error.chain().contains(part), "{text}: {}", error.chain());
        }
        table("publish = [\"127.0.0.1:80:80\", \"[::1]:80:80\", \"80:80/udp\", \"80\", \"80\"]")
            .check()
            .expect("no clash");
        let many: Vec<String> = (0..1001).map(|n| format!("n{n}")).collect();
        assert!(NetworkTable { networks: many, ..NetworkTable::default() }.check().is_err());
    }

    #[test]
    fn what_needs_interfaces_is_known() {
        assert_eq!(table("dns = [\"9.9.9.9\"]").needs_own(), None);
        assert_eq!(table("publish = [\"80\"]").needs_own(), Some("published ports"));
        assert_eq!(table("closed = false").needs_own(), None);
    }
}
