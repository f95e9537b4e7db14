//! Networks beside control groups of version 2: with the interfaces and the packet filter of a distribution's
//! kernel, and for an ordinary user.

use serde_json::json;

use super::delegated::{Handed, as_ann};
use super::{in_guest, started};
use crate::support::House;
use crate::support::busybox::{file, installed};
use crate::support::wires::{HOST, Wires, asks, ip};

/// A house on a host of its own.
fn house() -> Option<(House, Wires)> {
    if !in_guest() {
        return None;
    }
    // The world comes first: all that is started is on it.
    let wires = Wires::new();
    let empty = |tar| {
        ["resolv.conf", "hosts", "hostname"]
            .iter()
            .fold(tar, |tar, name| file(tar, &format!("etc/{name}"), b"", 0o644))
    };
    Some((installed(empty, json!({}))?, wires))
}

/// Serves its own name on port 80.
fn serves(house: &House, name: &str, options: &[&str]) {
    let script = format!("echo {name} > /tmp/name; busybox httpd -p 80 -h /tmp; echo up; exec sleep 1000");
    started(house, name, options, &script);
}

/// Asks with what needs no look-up of a service by its name, of which the guest has no list.
fn get(host: &str, port: u16) -> String {
    format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 9 {host} {port} | tail -n 1")
}

fn says(house: &House, name: &str, script: &str) -> String {
    house.ok_elsewhere(["exec", name, "/bin/sh", "-c", script])
}

#[test]
#[ignore = "for ./x guest"]
fn a_published_port_leads_to_a_container_and_so_does_its_address() {
    let Some((house, wires)) = house() else { return };
    house.ok_elsewhere(["network", "create", "front", "--no-names"]);
    serves(&house, "web1", &["--network", "front", "-p", "8080:80"]);
    assert_eq!(asks("127.0.0.1", 8080).as_deref(), Some("web1"));
    for host in HOST {
        assert_eq!(wires.out(&get(host, 8080)), "web1\n", "{host}");
    }
    serves(&house, "web2", &["--network", "front", "--egress", "10M"]);
    let web1 =
        says(&house, "web1", "busybox ip -o -4 address show eth0 | busybox tr / ' ' | busybox tr -s ' '")
            .split(' ')
            .nth(3)
            .expect("address")
            .to_owned();
    assert_eq!(says(&house, "web2", &get(&web1, 80)), "web1\n");
    house.ok_elsewhere(["rm", "-f", "web1", "web2"]);
    assert_eq!(asks("127.0.0.1", 8080), None);
}

#[test]
#[ignore = "for ./x guest"]
fn containers_are_machines_of_a_vlan() {
    let Some((house, wires)) = house() else { return };
    for (tag, kind) in [("100", "macvlan"), ("200", "ipvlan")] {
        let net = format!("198.51.{tag}");
        wires.out(&format!(
            "ip link add link out0 name out0.{tag} type vlan id {tag} && ip address add {net}.1/24 dev out0.{tag} && \
             ip link set out0.{tag} up"
        ));
        let (parent, subnet, gateway) = (format!("up0.{tag}"), format!("{net}.0/24"), format!("{net}.1"));
        house.ok_elsewhere([
            "network",
            "create",
            kind,
            "--driver",
            kind,
            "--parent",
            &parent,
            "--subnet",
            &subnet,
            "--gateway",
            &gateway,
            "--no-ipv6",
        ]);
        serves(&house, &format!("on-{kind}"), &["--network", &format!("{kind}:ip={net}.7")]);
        let said = wires.out(&get(&format!("{net}.7"), 80));
        assert_eq!(said, format!("on-{kind}\n"));
        house.ok_elsewhere(["rm", "-f", &format!("on-{kind}")]);
        house.ok_elsewhere(["network", "rm", kind]);
        assert!(!ip("-o link show").contains(&format!("{parent}@")), "what was made for it is gone");
    }
}

#[test]
#[ignore = "for ./x guest"]
fn an_ordinary_user_publishes_a_port() {
    let Some((house, _wires)) = house() else { return };
    let group = Handed::new();
    let get = get("127.0.0.1", 8080);
    let script = format!(
        "tsubo install web.tsubo >/dev/null\n\
        tsubo run -d --name one --network pasta -p 8080:80 --tmpfs /tmp web /bin/sh -c \
        'echo one > /tmp/name; busybox httpd -f -p 80 -h /tmp' >/dev/null\n\
        for n in $(seq 50); do {get} | grep one && break; sleep 0.2; done\n\
        tsubo rm -f one >/dev/null\n\
        {get} 2>/dev/null | grep one || echo closed"
    );
    let said = as_ann(&house, &group, &script);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["one", "closed"], "{said}");
}
