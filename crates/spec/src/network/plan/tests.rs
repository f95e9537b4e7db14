use std::collections::BTreeMap;

use super::*;
use crate::network::{Rate, Subnet, ZONES};

fn network(kind: Kind) -> Network {
    let subnet = |net: &str, gateway: &str| Subnet {
        net: net.parse().expect("net"),
        gateway: gateway.parse().expect("gateway"),
        range: None,
    };
    Network {
        name: "n".parse().expect("name"),
        id: Id::from_bytes([1; 6]),
        kind,
        subnets: vec![subnet("10.88.0.0/24", "10.88.0.1"), subnet("fd88::/64", "fd88::1")],
        mtu: None,
        names: false,
        servers: Vec::new(),
        zones: BTreeMap::new(),
        created: 0,
    }
}

fn on(interface: &str, addresses: &[&str]) -> Attachment {
    Attachment::Network {
        network: "n".parse().expect("name"),
        interface: interface.into(),
        addresses: addresses.iter().map(|text| text.parse().expect("address")).collect(),
        mac: Mac::of([10, 88, 0, 5].into()),
        aliases: Vec::new(),
        dhcp: false,
        mtu: None,
    }
}

/// A plan in words, a line for each step.
fn words(plan: &Plan) -> Vec<String> {
    plan.iter().map(word).collect()
}

fn word(step: &Step) -> String {
    let side = |side: &Side| if *side == Side::Host { "host" } else { "inside" };
    match step {
        Step::Link(Link { wiring: Wiring::Veth { host, zone, bridge, .. }, inside, .. }) => {
            format!("veth {host} {zone:x} {inside} {}", bridge.as_deref().unwrap_or("-"))
        }
        Step::Link(Link { wiring, inside, .. }) => format!("{wiring:?} {inside}"),
        Step::Move { host, inside } => format!("move {host} {inside}"),
        Step::Address { interface, address, segment, .. } => {
            format!("address {interface} {address}{}", if *segment { " segment" } else { "" })
        }
        Step::Route { side: at, interface, to, via, source } => {
            let mut text = format!("{} route {to} {interface}", side(at));
            text.extend(via.map(|via| format!(" via {via}")));
            text.extend(source.map(|source| format!(" from {source}")));
            text
        }
        Step::Neighbour { side: at, interface, address, mac } => {
            format!("{} neighbour {address} {interface} {mac}", side(at))
        }
        Step::Parameter { path, value } => format!("{path}={value}"),
        Step::Shape { interface, bytes } => format!("shape {interface} {bytes}"),
        Step::Element(Element::Published { address, port, to, to_port, .. }) => {
            let address = address.map_or("*".to_owned(), |address| address.to_string());
            format!("published {address} {port} {to} {to_port}")
        }
        Step::Element(Element::Zones(from, to)) => format!("zones {from:x} {to:x}"),
        Step::Element(Element::Names(zone, gateway)) => format!("names {zone:x} {gateway}"),
        Step::Element(Element::Port { interface, address }) => format!("port {interface} {address}"),
        Step::Element(Element::Outside(interface)) => format!("outside {interface}"),
        Step::Element(element) => format!("{element:?}"),
    }
}

fn planned(networking: &Networking, kinds: &[Kind], permits: &[Permit]) -> Vec<String> {
    let networks: Vec<_> = kinds.iter().cloned().map(network).collect();
    let places: Vec<_> = networks.iter().map(|network| Place { network, zone: ZONES + 7 }).collect();
    words(&plan(Id::from_bytes([0xab; 6]), networking, &places, permits))
}

#[test]
fn a_link_of_its_own() {
    let publish = Publish { address: None, host: 80, container: 8080, protocol: Protocol::Tcp };
    let networking = Networking {
        attachments: vec![on("eth0", &["10.88.0.5/24", "fd88::5/64"])],
        published: vec![publish],
        ..Networking::default()
    };
    let expected = [
        "veth vabababababab0 75000007 eth0 -",
        "address eth0 10.88.0.5/24",
        "address eth0 fd88::5/64",
        "host route 10.88.0.5/32 vabababababab0 from 10.88.0.1",
        "host neighbour 10.88.0.5 vabababababab0 02:74:0a:58:00:05",
        "inside neighbour 10.88.0.1 eth0 fe:74:0a:58:00:05",
        "host route fd88::5/128 vabababababab0 from fd88::1",
        "host neighbour fd88::5 vabababababab0 02:74:0a:58:00:05",
        "inside neighbour fd88::1 eth0 fe:74:0a:58:00:05",
        "inside route 0.0.0.0/0 eth0 via 10.88.0.1",
        "inside route ::/0 eth0 via fd88::1",
        "net/ipv4/conf/vabababababab0/route_localnet=1",
        "host route ::1/128 vabababababab0",
        "names 75000007 10.88.0.1",
        "names 75000007 fd88::1",
        "zones 75000007 75000007",
        "outside vabababababab0",
        "published * 80 10.88.0.5 8080",
        "published * 80 fd88::5 8080",
    ];
    assert_eq!(planned(&networking, &[Kind::Nat], &[]), expected);
    let closed = Networking { closed: true, ..networking.clone() };
    for steps in [planned(&closed, &[Kind::Nat], &[]), planned(&networking, &[Kind::Isolated], &[])] {
        let without: Vec<_> = expected.into_iter().filter(|word| !word.starts_with("outside")).collect();
        assert_eq!(steps, without);
    }
}

#[test]
fn the_second_network_is_reached_by_its_gateway() {
    let attachments = vec![on("eth0", &["10.88.0.5/24"]), on("eth1", &["10.88.0.6/24"])];
    let networking = Networking { attachments, ..Networking::default() };
    let steps = planned(&networking, &[Kind::Nat, Kind::Isolated], &[]);
    let routes: Vec<_> = steps.iter().filter(|word| word.starts_with("inside route")).collect();
    assert_eq!(
        routes,
        ["inside route 0.0.0.0/0 eth0 via 10.88.0.1", "inside route 10.88.0.0/24 eth1 via 10.88.0.1"]
    );
    assert!(steps.contains(&"veth vabababababab1 75000007 eth1 -".to_owned()));
}

#[test]
fn segments_lock_their_ports() {
    let networking = Networking { attachments: vec![on("eth0", &["10.88.0.5/24"])], ..Networking::default() };
    let steps = planned(&networking, &[Kind::Bridge { uplink: Some("eth9".into()) }], &[]);
    let expected = [
        "veth vabababababab0 75000007 eth0 ts010101010101",
        "address eth0 10.88.0.5/24 segment",
        "inside route 0.0.0.0/0 eth0 via 10.88.0.1",
        "port vabababababab0 10.88.0.5",
        "port vabababababab0 fe80::74:aff:fe58:5",
    ];
    assert_eq!(steps, expected);
    assert_eq!(planned(&networking, &[Kind::Pair], &[]), [&expected[..2], &expected[3..]].concat());
    let steps = planned(&networking, &[Kind::Macvlan { parent: "eth9".into(), mode: None }], &[]);
    assert!(steps[0].starts_with("Macvlan { parent: \"eth9\""), "{steps:?}");
    assert_eq!(steps[1..], expected[1..3]);
}

#[test]
fn who_asks_for_an_address_may_speak_without_one() {
    let mut asks = on("eth0", &[]);
    let Attachment::Network { dhcp, .. } = &mut asks else { return };
    *dhcp = true;
    let networking = Networking { attachments: vec![asks], ..Networking::default() };
    let steps = planned(&networking, &[Kind::Bridge { uplink: Some("eth9".into()) }], &[]);
    let ports: Vec<&String> = steps.iter().filter(|step| step.starts_with("port")).collect();
    assert_eq!(ports, ["port vabababababab0 fe80::74:aff:fe58:5", "port vabababababab0 0.0.0.0"]);
}

#[test]
fn an_interface_is_taken_whole() {
    let taken = Attachment::Interface {
        host: "eth9".into(),
        interface: "wan".into(),
        addresses: vec!["192.0.2.2/24".parse().expect("address")],
        dhcp: false,
    };
    let networking = Networking { attachments: vec![taken], ..Networking::default() };
    assert_eq!(planned(&networking, &[], &[]), ["move eth9 wan", "address wan 192.0.2.2/24 segment"]);
}

#[test]
fn limits_and_permissions_are_of_each_link() {
    let rate = Rate { ingress: Some(5), egress: Some(6), packets: Some(7) };
    let attachments = vec![on("eth0", &["10.88.0.5/24"])];
    let networking = Networking { attachments, rate, ..Networking::default() };
    let permit = Permit { inward: false, whom: Whom::Host, port: Some((Protocol::Tcp, 22)) };
    let steps = planned(&networking, &[Kind::Nat], &[permit]);
    assert!(steps.contains(&"shape vabababababab0 5".to_owned()));
    for what in ["Packets", "Egress", "Allow"] {
        assert!(steps.iter().any(|word| word.starts_with(what)), "{what}");
    }
}

#[test]
fn a_port_of_one_address_leads_to_the_address_of_its_family() {
    let publish = |address: &str| Publish {
        address: Some(address.parse().expect("address")),
        host: 80,
        container: 80,
        protocol: Protocol::Tcp,
    };
    let networking = Networking {
        attachments: vec![on("eth0", &["10.88.0.5/24"])],
        published: vec![publish("127.0.0.1"), publish("::1")],
        ..Networking::default()
    };
    let steps = planned(&networking, &[Kind::Nat], &[]);
    let published: Vec<_> = steps.iter().filter(|word| word.starts_with("published")).collect();
    assert_eq!(published, ["published 127.0.0.1 80 10.88.0.5 80"]);
}
