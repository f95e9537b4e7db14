use super::*;

fn network(kind: Kind) -> Network {
    serde_json::from_value(serde_json::json!({
        "name": "lan", "id": "070707070707", "kind": kind, "created": 0,
    }))
    .expect("a network")
}

#[test]
fn a_server_is_where_others_are() {
    let parent = || "eth9".to_owned();
    let fine = [
        Kind::Bridge { uplink: Some(parent()) },
        Kind::Macvlan { parent: parent(), mode: None },
        Kind::Ipvlan { parent: parent(), mode: None },
        Kind::Ipvlan { parent: parent(), mode: Some("l2".into()) },
    ];
    for kind in fine {
        must_have_a_server(&network(kind)).expect("a server");
    }
    for kind in
        [Kind::Nat, Kind::Isolated, Kind::Pair, Kind::Ipvlan { parent: parent(), mode: Some("l3".into()) }]
    {
        let error = must_have_a_server(&network(kind)).expect_err("nobody");
        assert!(!error.hints().is_empty() && error.to_string().contains("lan"), "{error:?}");
    }
}

#[test]
fn a_file_is_written_in_its_place() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 192.0.2.1\nsearch one.example\n").expect("written");
    let inode = || std::fs::metadata(&path).expect("there").ino();
    let before = inode();
    files::rewrite(&path, "nameserver 192.0.2.2\n").expect("rewritten");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), "nameserver 192.0.2.2\n");
    assert_eq!(inode(), before);
    files::rewrite(&dir.path().join("none"), "x").expect_err("it makes none");
}

#[test]
fn what_is_said_is_heard() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let (ours, theirs) = (OwnedFd::from(ours), OwnedFd::from(theirs));
    let given = Given {
        interface: "eth0".into(),
        addresses: vec!["192.0.2.7/24".parse().expect("net")],
        ..Given::default()
    };
    say(&ours, &Report::Given(vec![given.clone()], vec!["lan".into()])).expect("said");
    assert!(matches!(heard(&theirs).expect("heard"), Report::Given(all, _) if all == [given]));
    drop(ours);
    heard::<Report>(&theirs).expect_err("gone");
}

#[test]
fn what_lets_addresses_through_is_that_of_now() {
    use spec::network::Mac;
    let mac: Mac = "02:74:00:00:00:01".parse().expect("a MAC address");
    let link = |inside: &str, host: &str, bridge: Option<&str>| {
        let wiring = Wiring::Veth { host: host.into(), mac, zone: 1, bridge: bridge.map(str::to_owned) };
        Step::Link(Link { inside: inside.into(), mac, mtu: None, wiring })
    };
    let given = |interface: &str, address: &str| Given {
        interface: interface.into(),
        addresses: vec![address.parse().expect("net")],
        ..Given::default()
    };
    let plan = vec![link("eth0", "v0", Some("br")), link("eth1", "v1", None)];
    let mut connected = Connected {
        plan: plan.clone(),
        given: vec![
            given("eth0", "192.0.2.7/24"),
            given("eth1", "198.51.100.7/24"),
            given("up0", "10.0.0.7/8"),
        ],
        ..Connected::default()
    };
    let locks = |connected: &Connected| whole(connected)[plan.len()..].to_vec();
    let expected = |address: &str| vec![Step::Element(lock("v0", &address.parse().expect("net")))];
    assert_eq!(locks(&connected), expected("192.0.2.7/24"));
    let run = tempfile::tempdir().expect("a directory");
    std::fs::write(run.path().join(LATER), r#"[{"interface": "eth0", "addresses": ["192.0.2.8/24"]}]"#)
        .expect("written");
    refresh(&mut connected, run.path());
    assert_eq!(locks(&connected), expected("192.0.2.8/24"));
}

#[test]
fn an_interface_knows_where_the_others_lead() {
    let networking: Networking = serde_json::from_value(serde_json::json!({ "attachments": [
        { "network": { "network": "nat", "interface": "eth0", "addresses": ["10.88.1.2/16"], "mac": "02:74:00:00:00:01" } },
        { "network": { "network": "lan", "interface": "eth1", "addresses": [], "mac": "02:74:00:00:00:02", "dhcp": true } },
    ] }))
    .expect("a networking");
    let others = [Given { addresses: vec!["172.16.0.9/24".parse().expect("net")], ..Given::default() }];
    let nets =
        |own| beside(own, &networking, &[], &others).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(nets(1), ["10.88.0.0/16", "172.16.0.0/24"]);
    assert_eq!(nets(0), ["172.16.0.0/24"]);
}

#[test]
fn names_of_hosts_are_told_and_others_are_not() {
    assert!(
        is_hostname("web-1.lan") && !is_hostname("") && !is_hostname("a b") && !is_hostname(&"x".repeat(64))
    );
}
