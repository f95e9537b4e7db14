//! The flags about a container's network: the words of `[network]`, and Docker's where people know those.

use spec::network::{Allow, Choice, DEFAULT, Mac, NetworkTable, Publish, word};
use spec::{Error, Result};

/// Flags of `run`, `create` and `plan`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkFlags {
    /// Networks, the first of which leads outside (again for more): NAME[:ip=A,ip6=A,mac=M,alias=X,name=eth1,mtu=N,dhcp],
    /// interface:ETH[:ip=A/24|:dhcp], cni:NAME[:ip=A,mac=M], netavark:NAME[:ip=A,alias=X]; or one of host, none, pasta, container:NAME, ns:PATH
    #[arg(long, visible_alias = "net", value_name = "WHERE", value_parser = network)]
    pub network: Vec<String>,

    /// Pass a port of the host on to it: [IP:]HOST:CONTAINER[/udp], ranges too; CONTAINER alone for any free port
    #[arg(short, long, value_name = "PORTS", value_parser = publish)]
    pub publish: Vec<String>,

    /// Its IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS", value_parser = |text: &str| word::address(text, Some(false)).map(|_| text.to_owned()))]
    pub ip: Option<String>,

    /// Its IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS", value_parser = |text: &str| word::address(text, Some(true)).map(|_| text.to_owned()))]
    pub ip6: Option<String>,

    /// Its MAC address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<Mac>,

    /// A name besides its own that its networks know it by
    #[arg(long, value_name = "NAME", value_parser = word::alias)]
    pub network_alias: Vec<String>,

    /// A resolver in place of its networks'
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<std::net::IpAddr>,

    /// A domain that is tried behind a short name
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,

    /// A name with its address; host-gateway for the host's
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = host)]
    pub add_host: Vec<(String, String)>,

    /// Who else it may talk to: host, outside, NAME, group:NAME, 10.0.0.0/8, each with :PORT[/udp]; from: in front
    /// for who may talk to it
    #[arg(long, value_name = "WHOM", value_parser = allow)]
    pub allow: Vec<String>,

    /// It may not talk to the outside, but for what --allow says
    #[arg(long)]
    pub closed: bool,

    /// Bytes a second to it, as in 10M
    #[arg(long, value_name = "SIZE")]
    pub ingress: Option<String>,

    /// Bytes a second from it
    #[arg(long, value_name = "SIZE")]
    pub egress: Option<String>,

    /// Packets a second from it
    #[arg(long, value_name = "N")]
    pub packets: Option<u64>,
}

impl NetworkFlags {
    /// One table of choices.
    ///
    /// # Errors
    /// Words that do not go together.
    pub fn table(&self) -> Result<NetworkTable> {
        let table = NetworkTable {
            networks: self.networks()?,
            publish: self.publish.clone(),
            allow: self.allow.clone(),
            closed: self.closed.then_some(true),
            aliases: self.network_alias.clone(),
            dns: self.dns.iter().map(ToString::to_string).collect(),
            search: self.dns_search.clone(),
            hosts: self.add_host.iter().cloned().collect(),
            ingress: self.ingress.clone(),
            egress: self.egress.clone(),
            packets: self.packets,
        };
        table.check().map(|()| table)
    }

    /// Options of the first network are flags too.
    fn networks(&self) -> Result<Vec<String>> {
        let options = [
            ("ip", self.ip.clone()),
            ("ip6", self.ip6.clone()),
            ("mac", self.mac_address.map(|mac| mac.to_string())),
        ];
        let options: Vec<String> =
            options.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
        let mut networks = self.network.clone();
        if options.is_empty() {
            return Ok(networks);
        }
        if networks.is_empty() {
            networks.push(DEFAULT.to_owned());
        }
        let first = &mut networks[0];
        match first.parse::<Choice>()? {
            Choice::Attached(wishes) if wishes.iter().all(|wish| wish.host.is_none()) => {
                first.push(if first.contains(':') { ',' } else { ':' });
                first.push_str(&options.join(","));
                Ok(networks)
            }
            _ => Err(Error::user(format!(
                "{} is for networks of ours, not for {first:?}",
                options.join(", ")
            ))
            .hint(
                "name one: --network NAME; or say it for an interface: --network interface:ETH:ip=ADDRESS/24",
            )),
        }
    }
}

/// The word as it was, if it is one.
fn network(text: &str) -> Result<String> {
    text.parse::<Choice>().map(|_| text.to_owned())
}

fn publish(text: &str) -> Result<String> {
    Publish::parse(text).map(|_| text.to_owned())
}

fn allow(text: &str) -> Result<String> {
    text.parse::<Allow>().map(|_| text.to_owned())
}

fn host(text: &str) -> Result<(String, String)> {
    let pair = text.split_once(['=', ':']).filter(|(name, address)| !name.is_empty() && !address.is_empty());
    let (name, address) = pair.ok_or_else(|| {
        Error::user(format!("{text:?} is no name with an address"))
            .hint("as in db:10.0.0.5 or host:host-gateway")
    })?;
    Ok((name.to_owned(), address.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn table(words: &[&str]) -> Result<NetworkTable> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            flags: NetworkFlags,
        }
        let words = std::iter::once("x").chain(words.iter().copied());
        Line::try_parse_from(words).map_err(|error| Error::user(error.to_string()))?.flags.table()
    }

    #[test]
    fn flags_become_words_of_the_table() {
        let said =
            table(&["-p", "8080:80", "--ip", "10.88.0.7", "--mac-address", "02:74:00:00:00:01", "--closed"]);
        let said = said.expect("flags");
        assert_eq!(said.networks, ["tsubo:ip=10.88.0.7,mac=02:74:00:00:00:01"]);
        assert_eq!((said.publish.as_slice(), said.closed), (&["8080:80".to_owned()][..], Some(true)));
        let said = table(&[
            "--network",
            "a:alias=x",
            "--network",
            "b",
            "--ip6",
            "fd00::7",
            "--add-host",
            "db=10.0.0.5",
        ]);
        let said = said.expect("flags");
        assert_eq!(said.networks, ["a:alias=x,ip6=fd00::7", "b"]);
        assert_eq!(said.hosts["db"], "10.0.0.5");
        assert!(table(&[]).expect("nothing").is_empty());
        assert_eq!(table(&["--network", "own"]).expect("as before").networks, ["own"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["--network", "host", "--ip", "10.88.0.7"][..],
            &["--network", "a b"],
            &["--network", "host", "--network", "a"],
            &["--network", "a", "--network", "a"],
            &["-p", "80:80/sctp"],
            &["-p", "99999:80"],
            &["-p", "80:1", "-p", "80:2"],
            &["--ip", "fd00::1"],
            &["--ip6", "10.0.0.1"],
            &["--mac-address", "01:00:5e:00:00:01"],
            &["--network-alias", "a b"],
            &["--dns", "resolver"],
            &["--add-host", "db"],
            &["--add-host", "db:nowhere"],
            &["--allow", "a b"],
            &["--ingress", "slow"],
            &["--packets", "0"],
        ] {
            assert!(table(words).is_err(), "{words:?}");
        }
    }
}
