//! `tsubo network`, `tsubo port`, and the flags about networks, without starting anything.

use serde_json::json;

use crate::support::House;
use crate::support::busybox::installed;
use crate::support::wires::Wires;

/// A house with an image `web`, on a host of its own.
fn house(network: serde_json::Value) -> Option<(House, Wires)> {
    let wires = Wires::new();
    Some((installed(|tar| tar, json!({ "network": network }))?, wires))
}

#[test]
fn networks_are_made_listed_shown_and_removed() {
    let Some((house, _wires)) = house(json!({})) else { return };
    assert_eq!(
        house.ok_elsewhere(["network", "create", "front", "--subnet", "10.200.0.0/24"]).trim(),
        "front"
    );
    house.ok_elsewhere(["network", "create", "back", "--isolated"]);
    let twice = house.fails_elsewhere(125, ["network", "create", "front"]);
    assert!(twice.contains("there is a network front already"), "{twice}");
    let overlap = house.fails_elsewhere(125, ["network", "create", "over", "--subnet", "10.200.0.128/25"]);
    assert!(overlap.contains("network front"), "{overlap}");
    let list = house.json_elsewhere(["network", "ls", "--format", "json"]);
    let names: Vec<_> = list.as_array().expect("rows").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["back", "front"]);
    assert!(house.ok_elsewhere(["network", "ls"]).contains("10.200.0.0/24"));
    let shown = house.json_elsewhere(["network", "inspect", "front"]);
    assert_eq!((&shown["state"], &shown["subnets"][0]["gateway"]), (&json!("idle"), &json!("10.200.0.1")));
    for (bad, part) in [("a b", "not allowed"), ("host", "something else"), ("..", "does not start")] {
        let said = house.fails_elsewhere(125, ["network", "create", bad]);
        assert!(said.contains(part), "{said}");
    }
    let long = house.fails_elsewhere(125, ["network", "create", &"n".repeat(300)]);
    assert!(long.contains("300 bytes"), "{long}");
    let unknown = house.fails_elsewhere(125, ["network", "inspect", "none-such"]);
    assert!(unknown.contains("network ls"), "{unknown}");
    house.ok_elsewhere(["network", "rm", "front"]);
    assert_eq!(house.ok_elsewhere(["network", "prune"]).trim(), "back");
}

#[test]
fn addresses_are_kept_and_a_network_in_use_stays() {
    let Some((house, _wires)) = house(json!({})) else { return };
    house.ok_elsewhere(["network", "create", "front", "--subnet", "10.200.0.0/24", "--no-names"]);
    house.ok_elsewhere([
        "create",
        "--name",
        "one",
        "--network",
        "front",
        "-p",
        "8080:80",
        "-p",
        "53/udp",
        "web",
    ]);
    house.ok_elsewhere(["create", "--name", "two", "--network", "front", "--ip", "10.200.0.9", "web"]);
    let one = house.json_elsewhere(["inspect", "one"]);
    assert_eq!(one["addresses"], json!(["10.200.0.2"]));
    let taken =
        house.fails_elsewhere(125, ["create", "--name", "x", "--network", "front:ip=10.200.0.9", "web"]);
    assert!(taken.contains("container two's"), "{taken}");
    let outside =
        house.fails_elsewhere(125, ["create", "--name", "x", "--network", "front:ip=10.9.0.9", "web"]);
    assert!(outside.contains("not in network front"), "{outside}");
    assert_eq!(house.ok_elsewhere(["port", "one"]), "80/tcp -> 0.0.0.0:8080\n53/udp -> 0.0.0.0:any\n");
    assert_eq!(house.ok_elsewhere(["port", "one", "80"]).trim(), "0.0.0.0:8080");
    house.fails_elsewhere(125, ["port", "one", "81"]);
    assert!(house.ok_elsewhere(["ps", "-a"]).contains("8080->80 any->53/udp"));
    let used = house.fails_elsewhere(125, ["network", "rm", "front"]);
    assert!(used.contains("in use: one, two"), "{used}");
    house.ok_elsewhere(["rename", "two", "zwei"]);
    let members = house.json_elsewhere(["network", "inspect", "front"]);
    assert_eq!(members["containers"][1]["name"], "zwei");
    house.ok_elsewhere(["rm", "one", "zwei"]);
    house.ok_elsewhere(["network", "rm", "front"]);
}

#[test]
fn what_cannot_be_is_refused_with_the_way_out() {
    let Some((house, _wires)) = house(json!({})) else { return };
    for (words, part) in [
        (&["-p", "80:80/sctp"][..], "SCTP"),
        (&["-p", "99999:80"], "no port"),
        (&["--network", "host", "-p", "80:80"], "interfaces of its own"),
        (&["--network", "none-such"], "there is no network"),
        (&["--network", "host", "--network", "tsubo"], "no other"),
        (&["--network", "tsubo:ip=1.2.3"], "no IPv4 address"),
        (&["--network", "tsubo:dhcp"], "DHCP"),
        (&["--allow", "a b"], "who may talk"),
        (&["--network", "tsubo", "--namespace", "net=own"], "both say"),
    ] {
        let said = house.fails_elsewhere(125, ["create", "--name", "x"].iter().chain(words).chain(&["web"]));
        assert!(said.contains(part), "{words:?}: {said}");
    }
    assert!(house.ok_elsewhere(["ps", "-a"]).lines().count() <= 1, "nothing was made");
}

#[test]
fn what_a_package_says_of_its_network_is_shown_and_not_all_of_it_trusted() {
    let Some((house, _wires)) = house(json!({ "publish": ["8080:80"], "allow": ["host:5432"] })) else {
        return;
    };
    let refused = house.fails_elsewhere(125, ["create", "--name", "x", "web"]);
    assert!(refused.contains("host:5432") && refused.contains("--as-packaged"), "{refused}");
    let plan = house.ok_elsewhere(["plan", "--as-packaged", "--network", "tsubo", "web"]);
    assert!(plan.contains("eth0 on network tsubo") && plan.contains("published: 8080:80"), "{plan}");
    let explained = house.ok_elsewhere(["plan", "--explain", "--as-packaged", "web"]);
    assert!(explained.contains("published ports take a network of its own"), "{explained}");
    house.ok_elsewhere(["create", "--name", "x", "--as-packaged", "-p", "9090:80", "web"]);
    assert_eq!(house.ok_elsewhere(["port", "x"]), "80/tcp -> 0.0.0.0:9090\n");
}
