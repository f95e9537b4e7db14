use std::collections::BTreeMap;

use spec::Id;
use spec::network::{Kind, Subnet};

use super::*;

const HOST: &str = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n\
    nameserver fe80::1%eth0\nsearch corp.example\noptions edns0 trust-ad timeout:1\n";

fn network(name: &str, kind: Kind, number: u8, names: bool) -> Network {
    let net = format!("10.88.{number}.0/24").parse().expect("a subnet");
    let six = format!("fd00:{number}::/64").parse().expect("a subnet");
    let gateway = |text: String| text.parse().expect("an address");
    Network {
        name: name.parse().expect("a name"),
        id: Id::from_bytes([number; 6]),
        kind,
        subnets: vec![
            Subnet { net, gateway: gateway(format!("10.88.{number}.1")), range: None },
            Subnet { net: six, gateway: gateway(format!("fd00:{number}::1")), range: None },
        ],
        mtu: None,
        names,
        servers: Vec::new(),
        zones: BTreeMap::new(),
        created: 0,
    }
}

fn on(networks: &[(&str, &[&str])]) -> Networking {
    let attach = |(index, (network, addresses)): (usize, &(&str, &[&str]))| Attachment::Network {
        network: network.parse().expect("a name"),
        interface: format!("eth{index}"),
        addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
        mac: "02:00:00:00:00:01".parse().expect("a MAC address"),
        aliases: Vec::new(),
        dhcp: false,
        mtu: None,
    };
    Networking { attachments: networks.iter().enumerate().map(attach).collect(), ..Networking::default() }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn a_network_with_names_is_asked_itself() {
    let networks = [network("one", Kind::Nat, 1, true), network("two", Kind::Isolated, 2, true)];
    let both = on(&[("one", &["10.88.1.5/24", "fd00:1::5/64"]), ("two", &["fd00:2::5/64"])]);
    let conf = resolv_conf(&both, &networks, &[], HOST);
    assert_eq!(
        conf,
        "nameserver 10.88.1.1\nnameserver fd00:2::1\nsearch corp.example\noptions edns0 ndots:0\n"
    );
    let inner = on(&[("two", &["10.88.2.5/24"])]);
    assert_eq!(resolv_conf(&inner, &networks, &[], HOST), "nameserver 10.88.2.1\noptions edns0 ndots:0\n");
}

#[test]
fn without_names_it_asks_whom_it_was_given_or_whom_the_host_asks() {
    let networks = [network("one", Kind::Nat, 1, false), network("shut", Kind::Isolated, 2, false)];
    let mut plain = on(&[("one", &["10.88.1.5/24"])]);
    let as_host =
        "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch corp.example\noptions edns0 trust-ad timeout:1\n";
    assert_eq!(resolv_conf(&plain, &networks, &[], HOST), as_host);
    plain.servers = vec!["192.0.2.9".parse().expect("an address")];
    plain.search = vec!["a.example".to_owned(), "evil\nnameserver 192.0.2.66".to_owned()];
    assert_eq!(resolv_conf(&plain, &networks, &[], HOST), "nameserver 192.0.2.9\nsearch a.example\n");
    // What leads nowhere is told of nobody.
    assert_eq!(resolv_conf(&on(&[("shut", &["10.88.2.5/24"])]), &networks, &[], HOST), "");
    assert_eq!(resolv_conf(&on(&[]), &networks, &[], "nameserver 127.0.0.1\n"), "");
}

#[test]
fn it_knows_itself_and_who_was_given() {
    let mut networking = on(&[("one", &["10.88.1.5/24", "fd00:1::5/64"])]);
    networking.hosts = vec![
        ("db.example".to_owned(), "192.0.2.7".parse().expect("an address")),
        ("x\n192.0.2.66 bank.example".to_owned(), "192.0.2.7".parse().expect("an address")),
    ];
    let wanted = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.88.1.5\tshop web\n\
        fd00:1::5\tshop web\n192.0.2.7\tdb.example\n";
    assert_eq!(hosts(&networking, &[], &name("web"), "shop"), wanted);
    let unknown = hosts(&on(&[("lan", &[])]), &[], &name("web"), "web");
    assert!(unknown.ends_with("127.0.1.1\tweb\n"), "{unknown}");
}

#[test]
fn what_the_image_has_is_covered() {
    let top = tempfile::tempdir().expect("a directory");
    let (tree, dir) = (top.path().join("tree"), top.path().join("etc"));
    for made in ["etc", "run/resolve"] {
        std::fs::create_dir_all(tree.join(made)).expect("a directory");
    }
    std::os::unix::fs::symlink("/run/resolve/stub.conf", tree.join("etc/resolv.conf")).expect("a link");
    std::fs::write(tree.join("run/resolve/stub.conf"), "").expect("a file");
    std::fs::write(tree.join("etc/hosts"), "").expect("a file");
    std::os::unix::fs::symlink("/../../../../etc/shadow", tree.join("etc/hostname")).expect("a link");
    let at = |others: &[Mount]| -> Vec<String> {
        mounts(&tree, &dir, others).iter().map(|mount| mount.at.to_string()).collect()
    };
    assert_eq!(at(&[]), ["/run/resolve/stub.conf", "/etc/hosts"]);
    let fresh = |path: &str| Mount {
        at: RootPath::strict(path.as_bytes()).expect("a path"),
        what: MountKind::Fresh { mode: 0o755 },
        flags: MountFlags::default(),
    };
    assert_eq!(at(&[fresh("/run")]), ["/run/resolve/stub.conf", "/etc/hosts"]);
    let elsewhere = Mount { what: MountKind::Bind(Bind::of(top.path().join("tree/etc"))), ..fresh("/run") };
    assert_eq!(at(&[elsewhere]), ["/etc/hosts"]);
    assert_eq!(at(&[fresh("/etc/hosts")]), ["/run/resolve/stub.conf"]);
}

#[test]
fn files_are_written_and_replaced() {
    let top = tempfile::tempdir().expect("a directory");
    let dir = directory(top.path());
    let networks = [network("one", Kind::Nat, 1, true)];
    let networking = on(&[("one", &["10.88.1.5/24"])]);
    write(&dir, &networking, &networks, &name("web"), "shop").expect("written");
    write(&dir, &networking, &networks, &name("web"), "other").expect("written");
    assert_eq!(std::fs::read_to_string(dir.join("hostname")).expect("a file"), "other\n");
    let conf = std::fs::read_to_string(dir.join("resolv.conf")).expect("a file");
    assert!(conf.starts_with("nameserver 10.88.1.1\n"), "{conf}");
    assert_eq!(std::fs::read_dir(&dir).expect("a directory").count(), 3);
}

#[test]
fn what_others_have_given_is_known() {
    let given = [Given {
        interface: "eth0".into(),
        addresses: vec!["10.1.0.5/16".parse().expect("net")],
        gateway: None,
        servers: vec!["10.1.0.1".parse().expect("address")],
    }];
    let lan = on(&[("lan", &[])]);
    assert_eq!(resolv_conf(&lan, &[], &given, HOST), "nameserver 10.1.0.1\nsearch corp.example\n");
    let own = Networking { servers: vec!["192.0.2.9".parse().expect("address")], ..lan.clone() };
    assert!(resolv_conf(&own, &[], &given, HOST).starts_with("nameserver 192.0.2.9\n"));
    let one = [network("one", Kind::Nat, 1, true)];
    let ours = on(&[("one", &["10.88.1.5/24"])]);
    assert!(resolv_conf(&ours, &one, &given, HOST).starts_with("nameserver 10.88.1.1\n"));
    let known = hosts(&lan, &given, &name("web"), "web");
    assert!(known.contains("10.1.0.5\tweb\n") && !known.contains("127.0.1.1"), "{known}");
}
