//! Podman's networks as it writes them, and what netavark says of one that was made.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use spec::network::{Network, Publish};
use spec::{Error, Result};

use super::super::subnets::{is_host, nth, offset};
use super::super::{Given, cni};

/// Where podman keeps networks (root's).
const USUAL: &str = "/etc/containers/networks";

/// The network that podman has without a file of it.
const DEFAULT: &str = "podman";

/// Its id is the digest of its name, as podman has it.
const DEFAULT_ID: &str = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9";

/// One network: as it is written, and what of it is of interest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) name: String,
    /// Where it is written.
    pub(super) dir: PathBuf,
    pub(super) text: Map<String, Value>,
    pub(super) subnets: Vec<Subnet>,
}

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Subnet {
    #[serde(rename = "subnet")]
    pub(super) net: IpNet,
    #[serde(default)]
    pub(super) gateway: Option<IpAddr>,
    #[serde(default)]
    lease_range: Option<Range>,
}

/// Only these are given away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    #[serde(default)]
    start_ip: Option<IpAddr>,
    #[serde(default)]
    end_ip: Option<IpAddr>,
}

impl Known {
    /// The network of this name in a directory, or where podman keeps them.
    ///
    /// # Errors
    /// Not found, with those that there are; one that cannot be understood.
    pub(super) fn find(dir: Option<&Path>, name: &str) -> Result<Self> {
        let dir = dir.unwrap_or(Path::new(USUAL));
        let file = dir.join(format!("{name}.json"));
        let text = match (file.exists(), name) {
            (false, DEFAULT) => usual(),
            (false, _) => return Err(unknown(dir, name)),
            (true, _) => {
                let text = cni::text(&file).and_then(|text| {
                    serde_json::from_slice::<Map<String, Value>>(&text).map_err(|error| error.to_string())
                });
                text.map_err(|why| odd(&file, &why))?
            }
        };
        Self::of(text, dir, name).map_err(|why| odd(&file, &why))
    }

    /// What a text says.
    pub(super) fn of(mut text: Map<String, Value>, dir: &Path, name: &str) -> Result<Self, String> {
        let subnets = text.get("subnets").filter(|subnets| !subnets.is_null()).cloned();
        let subnets = subnets.unwrap_or_else(|| json!([]));
        let subnets: Vec<Subnet> = serde_json::from_value(subnets).map_err(|error| error.to_string())?;
        // What netavark wants to be told, and podman may leave out.
        for (key, usual) in [("id", json!(DEFAULT_ID)), ("driver", json!("bridge"))] {
            text.entry(key).or_insert(usual);
        }
        for key in ["dns_enabled", "internal", "ipv6_enabled"] {
            text.entry(key).or_insert(json!(false));
        }
        text.insert("name".into(), name.into());
        Ok(Self { name: name.to_owned(), dir: dir.to_owned(), text, subnets })
    }

    fn word(&self, key: &str) -> &str {
        self.text.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The bridge, where it is one.
    pub(super) fn bridge(&self) -> Option<&str> {
        Some(self.word("network_interface"))
            .filter(|name| self.word("driver") == "bridge" && !name.is_empty())
    }

    /// Refuses what cannot be done on it.
    ///
    /// # Errors
    /// Unsupported, with the reason.
    pub(super) fn must_fit(&self, ports: &[Publish]) -> Result<()> {
        let name = &self.name;
        let ipam = self.text.get("ipam_options").and_then(|ipam| ipam.get("driver")).and_then(Value::as_str);
        if ipam == Some("dhcp") {
            return Err(Error::unsupported(format!("podman's network {name} has its addresses by DHCP: that takes its own service"))
                .hint("make a network of ours on the same interface: tsubo network create --driver macvlan --parent ETH NAME"));
        }
        let internal = self.text.get("internal").and_then(Value::as_bool).unwrap_or(false);
        if !ports.is_empty() && (internal || self.word("driver") != "bridge") {
            let why = if internal {
                "is internal".to_owned()
            } else {
                format!("is of kind {}", self.word("driver"))
            };
            return Err(Error::unsupported(format!("published ports: podman's network {name} {why}"))
                .hint("name a bridge first: --network netavark:podman; or a network of ours"));
        }
        Ok(())
    }

    /// Refuses to be beside a network of ours with the same addresses.
    ///
    /// # Errors
    /// Conflict, which names it.
    pub(super) fn must_be_apart(&self, ours: &[Network]) -> Result<()> {
        let same = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
        for network in ours {
            let shared = |subnet: &&Subnet| network.subnets.iter().any(|own| same(&own.net, &subnet.net));
            if let Some(subnet) = self.subnets.iter().find(shared) {
                return Err(Error::conflict(format!(
                    "podman's network {} has {}, and network {} of ours some of the same addresses",
                    self.name, subnet.net, network.name
                ))
                .hint(format!("remove that one (tsubo network rm {}), or make another of podman's: podman network create", network.name)));
            }
        }
        Ok(())
    }

    /// Refuses an address that no container can have there.
    ///
    /// # Errors
    /// The reason.
    pub(super) fn must_have(&self, address: IpAddr) -> Result<()> {
        let good = |subnet: &Subnet| is_host(subnet.net, address) && subnet.gateway != Some(address);
        if self.subnets.iter().any(good) {
            return Ok(());
        }
        let all: Vec<String> = self.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
        Err(Error::user(format!("{address} cannot be a container's on podman's network {}", self.name)).hint(
            format!(
                "it has {}; choose one of these but the gateway's, or none: a free one is found",
                all.join(" and ")
            ),
        ))
    }

    /// An address with the length of its subnet's prefix.
    pub(super) fn with_length(&self, address: IpAddr) -> Option<IpNet> {
        let subnet = self.subnets.iter().find(|subnet| subnet.net.contains(&address))?;
        IpNet::new(address, subnet.net.prefix_len()).ok()
    }
}

impl Subnet {
    /// The first and last offset of what is given away.
    fn range(&self) -> (u128, u128) {
        let bits = u32::from(self.net.max_prefix_len() - self.net.prefix_len());
        let all = 1_u128.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
        let range = self.lease_range.as_ref();
        let at = |address: Option<IpAddr>| {
            address.filter(|own| self.net.contains(own)).map(|own| offset(self.net, own))
        };
        let first = range.and_then(|range| at(range.start_ip)).unwrap_or(1);
        let last = range.and_then(|range| at(range.end_ip)).unwrap_or(all);
        (first, last.max(first))
    }

    /// A free one: podman begins at the other end; of many that nobody knows one by chance.
    pub(super) fn free(&self, is_taken: &dyn Fn(IpAddr) -> bool) -> Option<IpAddr> {
        /// So many are looked at.
        const MOST: usize = 4096;
        let (first, last) = self.range();
        let fits = |address: &IpAddr| {
            is_host(self.net, *address) && self.gateway != Some(*address) && !is_taken(*address)
        };
        let span = last - first;
        let by_chance = |_| {
            let bytes = crate::home::new_id().ok()?;
            let number = u64::from_str_radix(&bytes.to_string(), 16).ok()?;
            Some(nth(self.net, first + u128::from(number) % span.max(1)))
        };
        // Nobody can be asked who has one of IPv6.
        let many = if self.net.addr().is_ipv6() && span > 1 << 16 { 16 } else { 0 };
        let down = (0..=span).map(|back| nth(self.net, last - back));
        (0..many).filter_map(by_chance).chain(down).take(MOST).find(fits)
    }
}

/// The default one: as podman has it unless its configuration says otherwise.
fn usual() -> Map<String, Value> {
    let usual = json!({"name": DEFAULT, "id": DEFAULT_ID, "driver": "bridge", "network_interface": "podman0",
        "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}], "ipv6_enabled": false, "internal": false,
        "dns_enabled": false, "ipam_options": {"driver": "host-local"}});
    match usual {
        Value::Object(usual) => usual,
        _ => Map::new(),
    }
}

fn unknown(dir: &Path, name: &str) -> Error {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = |file: std::fs::DirEntry| file.file_name().to_str()?.strip_suffix(".json").map(str::to_owned);
    let mut names: Vec<String> = files.filter_map(named).chain([DEFAULT.to_owned()]).collect();
    names.sort();
    names.dedup();
    Error::not_found(format!(
        "podman has no network {name} in {}: there are {}",
        dir.display(),
        names.join(", ")
    ))
    .hint("podman network create makes one")
}

fn odd(file: &Path, why: &str) -> Error {
    Error::user(format!("{} says nothing that can be understood: {why}", file.display()))
}

/// What netavark says of one network.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    dns_server_ips: Option<Vec<IpAddr>>,
    #[serde(default)]
    interfaces: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Address {
    ipnet: IpNet,
    #[serde(default)]
    gateway: Option<IpAddr>,
}

/// What was made.
pub(super) fn given(out: &[u8], network: &str, interface: &str) -> Option<Given> {
    let mut all: Map<String, Value> = serde_json::from_slice(out).ok()?;
    let status: Status = serde_json::from_value(all.remove(network)?).ok()?;
    let subnets = status.interfaces.unwrap_or_default().remove(interface)?.get("subnets").cloned();
    let subnets = subnets.filter(|subnets| !subnets.is_null()).unwrap_or_else(|| json!([]));
    let subnets: Vec<Address> = serde_json::from_value(subnets).ok()?;
    Some(Given {
        interface: interface.to_owned(),
        gateway: subnets.iter().find_map(|subnet| subnet.gateway),
        addresses: subnets.into_iter().map(|subnet| subnet.ipnet).collect(),
        servers: status.dns_server_ips.unwrap_or_default(),
    })
}

/// What it says when it fails.
pub(super) fn failure(out: &[u8]) -> Option<String> {
    let all: Map<String, Value> = serde_json::from_slice(out).ok()?;
    let text = all.get("error")?.as_str()?;
    Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: Value) -> Known {
        let Value::Object(text) = text else { panic!("an object") };
        Known::of(text, Path::new("/x"), "lan").expect("known")
    }

    #[test]
    fn networks_are_found_by_their_files_and_the_usual_one_without() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("lan.json"), r#"{"driver":"bridge","subnets":null}"#).expect("a file");
        std::fs::write(dir.path().join("bad.json"), "[").expect("a file");
        assert!(Known::find(Some(dir.path()), "lan").expect("lan").subnets.is_empty());
        let usual = Known::find(Some(dir.path()), "podman").expect("podman");
        assert_eq!(
            (usual.bridge(), usual.subnets[0].net.to_string()),
            (Some("podman0"), "10.88.0.0/16".into())
        );
        let error = Known::find(Some(dir.path()), "wan").expect_err("wan");
        assert!(error.to_string().contains("there are bad, lan, podman"), "{error}");
        assert!(Known::find(Some(dir.path()), "bad").expect_err("bad").to_string().contains("understood"));
    }

    #[test]
    fn a_free_address_is_taken_from_the_end() {
        let lan = known(json!({"subnets": [{"subnet": "10.89.0.0/29", "gateway": "10.89.0.6"},
            {"subnet": "fd00:1::/64", "gateway": "fd00:1::1"},
            {"subnet": "10.90.0.0/24", "lease_range": {"start_ip": "10.90.0.10", "end_ip": "10.90.0.20"}}]}));
        let free = |index: usize, taken: &[&str]| {
            lan.subnets[index]
                .free(&|address| taken.contains(&address.to_string().as_str()))
                .map(|own| own.to_string())
        };
        assert_eq!(free(0, &[]).as_deref(), Some("10.89.0.5"), "not all of them, not the gateway's");
        assert_eq!(free(0, &["10.89.0.5", "10.89.0.4"]).as_deref(), Some("10.89.0.3"));
        let all = ["10.89.0.1", "10.89.0.2", "10.89.0.3", "10.89.0.4", "10.89.0.5"];
        assert_eq!(free(0, &all), None);
        assert_eq!(free(2, &["10.90.0.20"]).as_deref(), Some("10.90.0.19"));
        let (one, other) = (free(1, &[]).expect("six"), free(1, &[]).expect("six"));
        assert!(one != other && one.starts_with("fd00:1::"), "{one} {other}");
        lan.must_have("10.89.0.3".parse().expect("address")).expect("one of them");
        for bad in ["10.89.0.6", "10.89.0.7", "10.91.0.1"] {
            lan.must_have(bad.parse().expect("address")).expect_err(bad);
        }
    }

    #[test]
    fn what_it_cannot_do_is_refused() {
        let ports = Publish::parse("8080:80").expect("port");
        known(json!({})).must_fit(&ports).expect("a bridge");
        for bad in [
            json!({"internal": true}),
            json!({"driver": "macvlan"}),
            json!({"ipam_options": {"driver": "dhcp"}}),
        ] {
            known(bad.clone()).must_fit(&ports).expect_err(&bad.to_string());
        }
    }

    #[test]
    fn what_netavark_says() {
        let out = br#"{"lan":{"dns_search_domains":["dns.podman"],"dns_server_ips":["10.89.0.1"],"interfaces":{"eth0":
            {"mac_address":"02:00:00:00:00:05","subnets":[{"gateway":"10.89.0.1","ipnet":"10.89.0.5/24"}]}}}}"#;
        let given = given(out, "lan", "eth0").expect("given");
        assert_eq!((given.addresses[0].to_string(), given.servers.len()), ("10.89.0.5/24".to_owned(), 1));
        assert_eq!(failure(br#"{"error":"no\nbridge"}"#).as_deref(), Some("no bridge"));
        assert_eq!(failure(b"panicked"), None);
    }
}
