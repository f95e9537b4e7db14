//! `tsubo network`: networks that containers hang on.

use std::net::IpAddr;

use clap::{Subcommand, ValueEnum};
use lifecycle::Containers;
use lifecycle::networks::{Networks, Wanted, WantedSubnet};
use serde_json::{Value, json};
use spec::network::{DEFAULT, Kind, Network, word};
use spec::{Error, Name, Result};

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo network create front                      the host routes, and speaks for them outside
  tsubo network create back --isolated            the same without any way out
  tsubo network create lan --driver macvlan --parent eth0 --subnet 192.168.1.0/24
  tsubo network create office --driver macvlan --parent eth0.100      VLAN 100, addresses by DHCP
  tsubo network create wire --driver bridge --uplink eth1             with a physical interface
  tsubo run -d --network front -p 8080:80 web     on it; port 8080 of the host leads to it
  tsubo run -d --network front:ip=10.80.0.7,alias=db db.tsubo
  tsubo network inspect front                     who is on it, and whether all of it is there
  tsubo network ls
  tsubo network rm front
  tsubo network prune                             remove those that no container uses
";

/// Networks that containers hang on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

/// What is done about them.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Make a network; what it has on the host comes with its first container
    Create(Box<Create>),
    /// List networks
    Ls {
        #[command(flatten)]
        format: ui::FormatArg,
    },
    /// Show everything that is known of networks: addresses, containers, what is missing
    Inspect {
        /// Names or ids of networks
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,

        #[command(flatten)]
        format: ui::FormatArg,
    },
    /// Remove networks that no container uses
    Rm {
        /// Names or ids of networks
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove all networks that no container uses, but for the usual one
    Prune {},
}

/// A network to be made.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// What it is called
    pub name: Name,

    /// What it is made of
    #[arg(short, long, value_enum, default_value = "nat", value_name = "KIND")]
    pub driver: Driver,

    /// Its addresses, as in 10.9.0.0/24; again for IPv6 [default: free ones]
    #[arg(long, value_name = "CIDR", value_parser = cidr)]
    pub subnet: Vec<ipnet::IpNet>,

    /// The gateway's address [default: the first of the subnet]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<IpAddr>,

    /// Only these of the subnet are given to containers
    #[arg(long, value_name = "CIDR", value_parser = cidr)]
    pub ip_range: Vec<ipnet::IpNet>,

    /// No way out, also not over the host
    #[arg(long, visible_alias = "internal")]
    pub isolated: bool,

    /// The interface of the host that is on the bridge
    #[arg(long, value_name = "ETH", value_parser = word::interface)]
    pub uplink: Option<String>,

    /// The interface below macvlan or ipvlan; eth0.100 is VLAN 100 on eth0, made if need be
    #[arg(long, value_name = "ETH", value_parser = word::interface)]
    pub parent: Option<String>,

    /// How macvlan or ipvlan passes packets on: bridge, private, vepa, passthru; l2, l3, l3s
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,

    /// Bytes of a packet [default: what the way out takes]
    #[arg(long, value_name = "BYTES", value_parser = word::mtu)]
    pub mtu: Option<u32>,

    /// No addresses of IPv6 where they are chosen
    #[arg(long)]
    pub no_ipv6: bool,

    /// No resolver that knows its containers by name
    #[arg(long)]
    pub no_names: bool,

    /// Whom its resolver asks about everybody else [default: whom the host asks]
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
}

/// What networks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// Links of their own to the host, which routes, and speaks for them outside
    Nat,
    /// With --uplink one segment with an interface of the host; without, as nat
    Bridge,
    /// As nat, without any way out
    Isolated,
    /// Interfaces on one of the host's, with MAC addresses of their own
    Macvlan,
    /// The same with the MAC address of that one
    Ipvlan,
    /// Two containers and nobody else
    Pair,
}

/// Runs the verb.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let home = place.home()?;
    let networks = Networks::of(&home);
    match args.what {
        What::Create(wanted) => {
            must_be_root()?;
            let network = networks.create(&wanted.wanted()?)?;
            ui::line(network.name.as_str());
            Ok(0)
        }
        What::Ls { format } => list(&networks, format.is_json()),
        What::Inspect { names, .. } => {
            let found = names.iter().map(|name| describe(&networks, name)).collect::<Result<Vec<_>>>()?;
            match found.as_slice() {
                [one] => ui::json(one)?,
                all => ui::json(&all)?,
            }
            Ok(0)
        }
        What::Rm { names } => super::for_each(&names, |name| {
            ui::line(networks.remove(name)?.as_str());
            Ok(())
        }),
        What::Prune {} => {
            // What killed commands have left must not keep one.
            Containers::of(&home).list()?;
            prune(&networks)
        }
    }
}

/// Links to the host are the host's root's to make.
fn must_be_root() -> Result<()> {
    if lifecycle::rootless::is_root() {
        return Ok(());
    }
    Err(Error::unsupported("without root no container can be on a network of ours")
        .hint("tsubo run --network pasta needs none; or run this with sudo"))
}

impl Create {
    fn wanted(&self) -> Result<Wanted> {
        Ok(Wanted {
            kind: self.kind()?,
            subnets: self.subnets()?,
            six: !self.no_ipv6,
            mtu: self.mtu,
            names: !self.no_names,
            servers: self.dns.clone(),
            ..Wanted::named(self.name.clone())
        })
    }

    fn kind(&self) -> Result<Kind> {
        let below = matches!(self.driver, Driver::Macvlan | Driver::Ipvlan);
        let out = matches!(self.driver, Driver::Macvlan | Driver::Ipvlan | Driver::Pair);
        let wrong = [
            (self.isolated && (out || self.uplink.is_some()), "--isolated", "with nat alone"),
            (self.uplink.is_some() && self.driver != Driver::Bridge, "--uplink", "with --driver bridge"),
            (self.parent.is_some() && !below, "--parent", "with --driver macvlan or ipvlan"),
            (self.mode.is_some() && !below, "--mode", "with --driver macvlan or ipvlan"),
        ];
        if let Some((_, flag, with)) = wrong.iter().find(|(wrong, ..)| *wrong) {
            return Err(Error::user(format!("{flag} means something {with}")));
        }
        let parent = || {
            let missing = Error::user("nothing says which interface of the host is below")
                .hint("say it: --parent eth0, or --parent eth0.100 for a VLAN");
            self.parent.clone().ok_or(missing)
        };
        Ok(match self.driver {
            Driver::Nat | Driver::Bridge if self.isolated => Kind::Isolated,
            Driver::Bridge if self.uplink.is_some() => Kind::Bridge { uplink: self.uplink.clone() },
            Driver::Nat | Driver::Bridge => Kind::Nat,
            Driver::Isolated => Kind::Isolated,
            Driver::Macvlan => Kind::Macvlan {
                parent: parent()?,
                mode: self.mode(&["bridge", "private", "vepa", "passthru"])?,
            },
            Driver::Ipvlan => Kind::Ipvlan { parent: parent()?, mode: self.mode(&["l2", "l3", "l3s"])? },
            Driver::Pair => Kind::Pair,
        })
    }

    fn mode(&self, known: &[&str]) -> Result<Option<String>> {
        match &self.mode {
            Some(mode) if !known.contains(&mode.as_str()) => {
                Err(Error::user(format!("{mode:?} is no mode of this kind of network"))
                    .hint(format!("they are {}", known.join(", "))))
            }
            mode => Ok(mode.clone()),
        }
    }

    /// Gateways and ranges go with the subnet that they are in.
    fn subnets(&self) -> Result<Vec<WantedSubnet>> {
        let own = |net: &ipnet::IpNet| WantedSubnet {
            net: *net,
            gateway: self.gateway.iter().find(|gateway| net.contains(*gateway)).copied(),
            range: self.ip_range.iter().find(|range| net.contains(*range)).copied(),
        };
        let lost = |what: String| {
            Error::user(format!("{what} is in no --subnet"))
                .hint("say the subnet that it is in: --subnet 10.9.0.0/24")
        };
        let inside = |address: &IpAddr| self.subnet.iter().any(|net| net.contains(address));
        if let Some(gateway) = self.gateway.iter().find(|gateway| !inside(gateway)) {
            return Err(lost(format!("the gateway {gateway}")));
        }
        match self.ip_range.iter().find(|range| !self.subnet.iter().any(|net| net.contains(*range))) {
            Some(range) => Err(lost(format!("the range {range}"))),
            None => Ok(self.subnet.iter().map(own).collect()),
        }
    }
}

fn cidr(text: &str) -> Result<ipnet::IpNet> {
    text.parse().map_err(|_| {
        Error::user(format!("{text:?} are no addresses of a network"))
            .hint("as in 10.9.0.0/24 or fd12:3456:789a::/64")
    })
}

fn list(networks: &Networks, as_json: bool) -> Result<u8> {
    let mut rows = Vec::new();
    let mut table = ui::table::new(&["NAME", "ID", "KIND", "SUBNETS", "CONTAINERS", "CREATED"]);
    for network in networks.list()? {
        let members = networks.members(&network.name)?.len();
        let subnets: Vec<String> = network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
        table.add_row([
            network.name.to_string(),
            network.id.to_string(),
            kind(&network.kind),
            if subnets.is_empty() { "from outside".to_owned() } else { subnets.join(" ") },
            members.to_string(),
            ui::age(network.created / 1000),
        ]);
        let mut row = serde_json::to_value(&network).unwrap_or_default();
        row["containers"] = json!(members);
        rows.push(row);
    }
    if as_json {
        ui::json(&rows)?;
    } else {
        ui::table::print(&table);
    }
    Ok(0)
}

/// With the interface of the host that it goes over.
fn kind(kind: &Kind) -> String {
    let over = match kind {
        Kind::Bridge { uplink } => uplink.as_deref(),
        Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } => Some(parent.as_str()),
        Kind::Nat | Kind::Isolated | Kind::Pair => None,
    };
    over.map_or_else(|| kind.word().to_owned(), |over| format!("{} on {over}", kind.word()))
}

fn describe(networks: &Networks, name: &str) -> Result<Value> {
    let network = networks.find(name)?;
    let members = networks.members(&network.name)?;
    let running = members.iter().any(|member| member.running);
    let missing = if running { networks.look(&network)? } else { Vec::new() };
    let mut value = described(&network);
    value["containers"] = json!(members);
    // What no container uses has nothing in the kernel yet.
    value["state"] = json!(if !running {
        "idle"
    } else if missing.is_empty() {
        "well"
    } else {
        "damaged"
    });
    value["findings"] = json!(missing);
    Ok(value)
}

fn described(network: &Network) -> Value {
    let mut value = serde_json::to_value(network).unwrap_or_default();
    value["device"] = json!(network.device());
    value
}

fn prune(networks: &Networks) -> Result<u8> {
    for network in networks.list()? {
        if network.name.as_str() == DEFAULT {
            continue;
        }
        match networks.remove(network.name.as_str()) {
            Ok(name) => ui::line(name.as_str()),
            Err(error) if error.kind() == spec::ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn wanted(words: &[&str]) -> Result<Wanted> {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            create: Create,
        }
        let words = ["x", "front"].into_iter().chain(words.iter().copied());
        Line::try_parse_from(words).map_err(|error| Error::user(error.to_string()))?.create.wanted()
    }

    #[test]
    fn flags_become_a_network() {
        assert_eq!(wanted(&[]).expect("nothing").kind, Kind::Nat);
        assert_eq!(wanted(&["--driver", "bridge"]).expect("bridge").kind, Kind::Nat);
        assert_eq!(wanted(&["--isolated"]).expect("isolated").kind, Kind::Isolated);
        let uplink = Some("eth1".to_owned());
        assert_eq!(
            wanted(&["-d", "bridge", "--uplink", "eth1"]).expect("uplink").kind,
            Kind::Bridge { uplink }
        );
        let both = [
            "--subnet",
            "10.9.0.0/24",
            "--subnet",
            "fd00:9::/64",
            "--gateway",
            "fd00:9::ff",
            "--ip-range",
            "10.9.0.128/25",
        ];
        let both = wanted(&both).expect("both");
        assert_eq!(both.subnets[0].range.expect("range").to_string(), "10.9.0.128/25");
        assert_eq!(
            (both.subnets[0].gateway, both.subnets[1].gateway.expect("gateway").to_string()),
            (None, "fd00:9::ff".to_owned())
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["--driver", "macvlan"][..],
            &["--driver", "overlay"],
            &["--uplink", "eth1"],
            &["--parent", "eth1"],
            &["--mode", "l3"],
            &["--driver", "ipvlan", "--parent", "eth0", "--mode", "vepa"],
            &["--driver", "pair", "--isolated"],
            &["--subnet", "10.9.0.0"],
            &["--gateway", "10.9.0.1"],
            &["--subnet", "10.9.0.0/24", "--gateway", "10.8.0.1"],
            &["--subnet", "10.9.0.0/24", "--ip-range", "10.8.0.0/25"],
            &["--mtu", "20"],
            &["--dns", "resolver"],
        ] {
            assert!(wanted(words).is_err(), "{words:?}");
        }
    }
}
