use std::collections::BTreeMap;

use proptest::prelude::*;
use spec::Id;
use spec::network::Subnet;

use super::*;
use crate::table::Lease;

const MX: u16 = 15;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn network(kind: Kind) -> Network {
    let subnet = |net: &str, gateway| Subnet {
        net: net.parse().expect("a subnet"),
        gateway: address(gateway),
        range: None,
    };
    Network {
        name: "Shop".parse().expect("a name"),
        id: Id::from_bytes([1; 6]),
        kind,
        subnets: vec![subnet("10.88.0.0/24", "10.88.0.1"), subnet("fd00:88::/64", "fd00:88::1")],
        mtu: None,
        names: true,
        servers: Vec::new(),
        zones: BTreeMap::new(),
        created: 0,
    }
}

fn table(more: bool) -> Table {
    let mut table = Table::default();
    let lease = |id: &str, name: &str| Lease {
        id: id.to_owned(),
        name: name.to_owned(),
        aliases: vec!["www".to_owned(), "a.b.example".to_owned()],
        more,
        ..Lease::default()
    };
    for of in ["10.88.0.5", "fd00:88::5"] {
        table.set(address(of), Some(lease("0123456789ab", "Web")));
    }
    table.set(address("10.88.0.6"), Some(lease("ba9876543210", "second")));
    table
}

/// What is answered to a container, in words.
fn told(name: &str, kind: u16) -> String {
    from("10.88.0.5", name, kind, Kind::Nat, false)
}

fn from(source: &str, name: &str, kind: u16, of: Kind, more: bool) -> String {
    match Zone::of(&network(of)).decide(name, kind, address(source), &table(more), 0) {
        Verdict::Forward => "forward".to_owned(),
        Verdict::Answer(Answer::Addresses(all)) => {
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Verdict::Answer(Answer::Name(name)) => name,
        Verdict::Answer(answer) => format!("{answer:?}"),
    }
}

#[test]
fn containers_are_known_by_all_their_names() {
    for name in ["web", "0123456789ab", "web.shop", "web.internal", "0123456789ab.shop"] {
        assert_eq!(told(name, A), "10.88.0.5", "{name}");
        assert_eq!(told(name, AAAA), "fd00:88::5", "{name}");
        assert_eq!(told(name, ANY), "10.88.0.5 fd00:88::5", "{name}");
        assert_eq!(told(name, MX), "Empty", "{name}");
    }
    assert_eq!(told("second", AAAA), "Empty");
    assert_eq!(told("www", A), "10.88.0.5 10.88.0.6");
    assert_eq!(told("x.localhost", A), "127.0.0.1");
}

#[test]
fn several_take_turns() {
    let (zone, table) = (Zone::of(&network(Kind::Nat)), table(false));
    let first = |turn| match zone.decide("www", A, address("10.88.0.5"), &table, turn) {
        Verdict::Answer(Answer::Addresses(all)) => all[0].to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!([first(0), first(1), first(2)], ["10.88.0.5", "10.88.0.6", "10.88.0.5"]);
}

#[test]
fn addresses_have_names() {
    assert_eq!(told("5.0.88.10.in-addr.arpa", PTR), "Web.shop");
    let six = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.8.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(told(six, PTR), "Web.shop");
    assert_eq!(told(six, A), "Empty");
    assert_eq!(told("9.0.88.10.in-addr.arpa", PTR), "Missing");
    for other in
        ["9.9.9.9.in-addr.arpa", "x.0.88.10.in-addr.arpa", "5.0.0.88.10.in-addr.arpa", "88.10.in-addr.arpa"]
    {
        assert_eq!(told(other, PTR), "forward", "{other}");
    }
}

#[test]
fn nobody_else_is_asked_about_names_of_ours() {
    for name in ["gone", "gone.shop", "a.gone.shop", "gone.internal", "shop"] {
        assert_eq!(told(name, A), "Missing", "{name}");
    }
    for name in ["example.org", "metadata.google.internal", "webshop.example", ""] {
        assert_eq!(told(name, A), "forward", "{name}");
    }
    assert_eq!(told("org", 43), "forward");
    assert_eq!(told("shop.example", AXFR), "Refused");
}

#[test]
fn an_isolated_network_asks_nobody() {
    let inner = |name| from("10.88.0.5", name, A, Kind::Isolated, false);
    assert_eq!(inner("web"), "10.88.0.5");
    assert_eq!(inner("example.org"), "Missing");
    assert_eq!(inner("1.1.1.1.in-addr.arpa"), "Missing");
}

#[test]
fn others_are_not_served_and_the_host_asks_nobody_through_us() {
    for (source, known, unknown) in [
        ("10.88.0.1", "10.88.0.5", "Refused"),
        ("127.0.0.1", "10.88.0.5", "Refused"),
        ("fd00:88::1", "10.88.0.5", "Refused"),
        ("10.88.1.5", "Refused", "Refused"),
        ("::ffff:10.88.0.6", "10.88.0.5", "forward"),
        ("10.88.0.9", "10.88.0.5", "Refused"),
        ("192.0.2.1", "Refused", "Refused"),
    ] {
        assert_eq!(from(source, "web", A, Kind::Nat, false), known, "{source}");
        assert_eq!(from(source, "example.org", A, Kind::Nat, false), unknown, "{source}");
    }
}

#[test]
fn who_is_on_several_networks_asks_the_next() {
    let more = |name, kind| from("10.88.0.5", name, A, kind, true);
    assert_eq!(more("elsewhere", Kind::Nat), "Refused");
    assert_eq!(more("elsewhere.shop", Kind::Nat), "Missing");
    assert_eq!(more("example.org", Kind::Nat), "forward");
    assert_eq!(more("example.org", Kind::Isolated), "Refused");
}

#[test]
fn a_name_of_somebody_elsewhere_is_nobodys_here() {
    let mut table = table(false);
    for (of, name) in [("10.88.0.7", "github.com"), ("10.88.0.8", "metadata.google")] {
        let aliases = vec!["www.example.org".to_owned()];
        table.set(address(of), Some(Lease { name: name.to_owned(), aliases, ..Lease::default() }));
    }
    let zone = Zone::of(&network(Kind::Nat));
    let told = |name: &str| zone.decide(name, A, address("10.88.0.5"), &table, 0);
    for name in ["github.com", "www.example.org", "metadata.google", "metadata.google.internal"] {
        assert_eq!(told(name), Verdict::Forward, "{name}");
    }
    assert_eq!(told("github.com.shop"), Verdict::Answer(Answer::Addresses(vec![address("10.88.0.7")])));
}

#[test]
fn an_alias_is_that_of_its_group_and_weaker_than_a_name() {
    let mut table = Table::default();
    let mut add = |of: &str, name: &str, alias: &str, group: &str| {
        let aliases = vec![alias.to_owned()];
        let lease = Lease { name: name.into(), aliases, group: group.into(), ..Lease::default() };
        table.set(address(of), Some(lease));
    };
    add("10.88.0.5", "db", "sql", "a");
    add("10.88.0.6", "thief", "db", "b");
    add("10.88.0.7", "second", "sql", "b");
    let zone = Zone::of(&network(Kind::Nat));
    let told = |source: &str, name: &str| match zone.decide(name, A, address(source), &table, 0) {
        Verdict::Answer(Answer::Addresses(all)) => all.iter().map(ToString::to_string).collect(),
        other => vec![format!("{other:?}")],
    };
    assert_eq!([told("10.88.0.5", "db"), told("10.88.0.7", "db")], [["10.88.0.5"], ["10.88.0.5"]]);
    assert_eq!([told("10.88.0.5", "sql"), told("10.88.0.6", "sql")], [["10.88.0.5"], ["10.88.0.7"]]);
    assert_eq!(told("10.88.0.1", "sql"), ["10.88.0.5", "10.88.0.7"], "the host sees all of them");
    table.set(address("10.88.0.5"), None);
    assert_eq!(table.addresses("db", Some("a")), Vec::<IpAddr>::new());
    assert_eq!(table.addresses("db", Some("b")), [address("10.88.0.6")]);
}

#[test]
fn for_who_may_not_talk_to_the_outside_nobody_there_is_asked() {
    let mut table = table(false);
    for (of, more) in [("10.88.0.7", false), ("10.88.0.8", true)] {
        let lease = Lease { name: "closed".into(), closed: true, more, ..Lease::default() };
        table.set(address(of), Some(lease));
    }
    let zone = Zone::of(&network(Kind::Nat));
    let told = |source: &str, name: &str| zone.decide(name, A, address(source), &table, 0);
    assert_eq!(told("10.88.0.7", "tunnel.example"), Verdict::Answer(Answer::Missing));
    assert_eq!(told("10.88.0.8", "tunnel.example"), Verdict::Answer(Answer::Refused));
    assert_eq!(told("10.88.0.7", "second"), Verdict::Answer(Answer::Addresses(vec![address("10.88.0.6")])));
}

proptest! {
    #[test]
    fn any_name_is_decided(name in "[a-z0-9.?-]{0,80}(shop|internal|in-addr[.]arpa|ip6[.]arpa)?", kind: u16, turn: usize) {
        let zone = Zone::of(&network(Kind::Isolated));
        let verdict = zone.decide(&name, kind, address("10.88.0.5"), &table(false), turn);
        prop_assert_ne!(verdict, Verdict::Forward);
    }
}
