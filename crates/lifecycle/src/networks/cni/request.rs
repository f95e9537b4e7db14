//! What is asked of plugins, besides what their configuration says: by `CNI_ARGS`, which all of them see, and by
//! `runtimeConfig`, of which each gets what it says it can do.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use spec::network::{Asked, Networking, Publish, Rate};
use spec::{Error, Name, Result};

use super::config::{List, can};

/// Published ports.
const PORTS: &str = "portMappings";

/// How much may go over it.
const BANDWIDTH: &str = "bandwidth";

/// The least that may come at once, in bits: a buffer of the kernel's may be as large as this.
const BURST: u64 = 8 * (64 << 10);

/// The most that the plugin takes.
const MOST_BURST: u64 = 8 * (u32::MAX as u64 - 1);

/// All that can be asked, whoever can do it.
pub(super) fn runtime(
    list: &List,
    name: &Name,
    asked: &Asked,
    networking: &Networking,
    ports: &[Publish],
) -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |key: &str, value: Value| {
        if list.can(key) {
            all.insert(key.to_owned(), value);
        }
    };
    if !ports.is_empty() {
        add(PORTS, ports.iter().map(mapping).collect());
    }
    if let Some(mac) = asked.mac {
        add("mac", json!(mac.to_string()));
    }
    if !asked.addresses.is_empty() {
        add("ips", asked.addresses.iter().map(shown).collect());
    }
    if networking.rate != Rate::default() {
        add(BANDWIDTH, bandwidth(networking.rate));
    }
    if !networking.servers.is_empty() || !networking.search.is_empty() {
        add("dns", json!({"servers": networking.servers, "searches": networking.search}));
    }
    let names: Vec<&str> =
        std::iter::once(name.as_str()).chain(asked.aliases.iter().map(String::as_str)).collect();
    add("aliases", json!({ list.name.as_str(): names }));
    all
}

/// Of all that is asked what this plugin can do.
pub(super) fn of_plugin(plugin: &Map<String, Value>, all: &Map<String, Value>) -> Map<String, Value> {
    all.iter().filter(|(key, _)| can(plugin, key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The words that older plugins understand, and every one of them sees.
pub(super) fn args(list: &List, name: &Name, asked: &Asked) -> String {
    let mut args = format!("IgnoreUnknown=1;K8S_POD_NAME={name}");
    if let Some(address) = asked.addresses.first().filter(|_| !list.can("ips")) {
        args.push_str(&format!(";IP={}", shown(address)));
    }
    if let Some(mac) = asked.mac.filter(|_| !list.can("mac")) {
        args.push_str(&format!(";MAC={mac}"));
    }
    args
}

/// An address as it was said: a whole one has no length.
fn shown(address: &IpNet) -> String {
    match address.prefix_len() == address.max_prefix_len() {
        true => address.addr().to_string(),
        false => address.to_string(),
    }
}

fn mapping(port: &Publish) -> Value {
    let mut mapping =
        json!({"hostPort": port.host, "containerPort": port.container, "protocol": port.protocol.word()});
    if let Some(address) = port.address {
        mapping["hostIP"] = json!(address);
    }
    mapping
}

/// In bits a second.
fn bandwidth(rate: Rate) -> Value {
    let mut all = Map::new();
    for (key, bytes) in [("ingress", rate.ingress), ("egress", rate.egress)] {
        let Some(bits) = bytes.map(|bytes| bytes.saturating_mul(8)) else { continue };
        all.insert(format!("{key}Rate"), bits.into());
        all.insert(format!("{key}Burst"), (bits / 10).clamp(BURST, MOST_BURST).into());
    }
    Value::Object(all)
}

/// Refuses what no plugin of a list can do. `ports`: those that it would have to publish.
///
/// # Errors
/// Unsupported, with the reason.
pub(super) fn must_fit(list: &List, asked: &Asked, networking: &Networking, ports: &[Publish]) -> Result<()> {
    let cannot = |what: &str, capability: &str| {
        Err(Error::unsupported(format!(
            "{what}: no plugin of the CNI configuration {} ({}) can do that",
            list.name,
            list.kinds().collect::<Vec<_>>().join(", ")
        ))
        .hint(format!("add one with \"capabilities\": {{\"{capability}\": true}} to it; or use a network of ours: --network tsubo")))
    };
    if !ports.is_empty() && !list.can(PORTS) {
        return cannot("published ports", PORTS);
    }
    if networking.rate.packets.is_some() {
        return Err(Error::unsupported("packets a second cannot be limited where CNI makes the network")
            .hint("--ingress and --egress can, with the plugin bandwidth; or use a network of ours: --network tsubo"));
    }
    if networking.rate != Rate::default() && !list.can(BANDWIDTH) {
        return cannot("rates", BANDWIDTH);
    }
    if asked.addresses.len() > 1 && !list.can("ips") {
        return cannot("several addresses by hand", "ips");
    }
    Ok(())
}

/// Whether all addresses that were asked for are among those that were given.
pub(super) fn missing(asked: &[IpNet], given: &[IpNet]) -> Option<IpAddr> {
    let has = |address: &IpAddr| given.iter().any(|own| own.addr() == *address);
    asked.iter().map(IpNet::addr).find(|address| !has(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(capabilities: &str) -> List {
        let text = format!(
            r#"{{"cniVersion":"1.0.0","name":"lan","plugins":[{{"type":"bridge"}},{{"type":"portmap","capabilities":{capabilities}}}]}}"#
        );
        List::of(text.as_bytes(), true).expect("a list")
    }

    fn asked() -> Asked {
        Asked {
            addresses: vec!["10.1.0.5/32".parse().expect("net"), "fd00::5/64".parse().expect("net")],
            mac: Some("02:00:00:00:00:05".parse().expect("mac")),
            aliases: vec!["db".into()],
            ..Asked::default()
        }
    }

    fn networking() -> Networking {
        let rate = Rate { ingress: Some(1 << 20), egress: Some(1000), packets: None };
        Networking {
            published: Publish::parse("127.0.0.1:8080:80").expect("ports"),
            rate,
            ..Networking::default()
        }
    }

    #[test]
    fn each_plugin_is_asked_for_what_it_can_do() {
        let name = "web".parse().expect("name");
        let all =
            list(r#"{"portMappings":true,"mac":true,"ips":true,"bandwidth":true,"aliases":true,"dns":true}"#);
        let networking = networking();
        let runtime = runtime(&all, &name, &asked(), &networking, &networking.published);
        assert_eq!(
            Value::Object(runtime.clone()),
            json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}],
                "mac": "02:00:00:00:00:05", "ips": ["10.1.0.5", "fd00::5/64"], "aliases": {"lan": ["web", "db"]},
                "bandwidth": {"ingressRate": 8 << 20, "ingressBurst": (8 << 20) / 10, "egressRate": 8000, "egressBurst": BURST}})
        );
        assert!(of_plugin(&all.plugins[0], &runtime).is_empty());
        assert_eq!(of_plugin(&all.plugins[1], &runtime), runtime);
        assert_eq!(args(&all, &name, &asked()), "IgnoreUnknown=1;K8S_POD_NAME=web");
        let none = list("{}");
        assert_eq!(
            args(&none, &name, &asked()),
            "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.1.0.5;MAC=02:00:00:00:00:05"
        );
        must_fit(&all, &asked(), &networking, &networking.published).expect("all of it");
    }

    #[test]
    fn what_none_can_do_is_refused() {
        let none = list("{}");
        let plain = Networking::default();
        let refused = |asked: &Asked, networking: &Networking| {
            must_fit(&none, asked, networking, &networking.published).expect_err("refused").to_string()
        };
        assert!(refused(&asked(), &plain).contains("several addresses"));
        assert!(refused(&Asked::default(), &networking()).contains("published ports"));
        let rate = |rate| Networking { rate, ..Networking::default() };
        let egress = rate(Rate { egress: Some(1), ..Rate::default() });
        assert!(refused(&Asked::default(), &egress).contains("rates"));
        let packets = rate(Rate { packets: Some(1), ..Rate::default() });
        assert!(refused(&Asked::default(), &packets).contains("packets"));
        must_fit(&none, &Asked::default(), &plain, &[]).expect("nothing");
        let given: Vec<IpNet> = vec!["10.1.0.5/16".parse().expect("net")];
        assert_eq!(missing(&asked().addresses, &given), Some("fd00::5".parse().expect("address")));
        assert_eq!(missing(&asked().addresses[..1], &given), None);
    }
}
