//! Containers that share a segment with machines outside, or have an interface for themselves.

use crate::lab::{Container, ask, lab, network, sh, zone};
use spec::ErrorKind;
use spec::network::{Kind, Network, Subnet};

/// A network on the segment of `up0`: 192.0.2.0/24.
fn segment(number: u8, kind: Kind) -> Network {
    let subnet = Subnet {
        net: "192.0.2.0/24".parse().expect("net"),
        gateway: "192.0.2.2".parse().expect("gateway"),
        range: None,
    };
    Network { subnets: vec![subnet], ..network(number, kind) }
}

#[test]
fn macvlan_is_on_the_segment_of_its_parent() {
    lab(|lab| {
        let outside = lab.outside();
        outside.sh("ip addr add 203.0.113.1/32 dev lo");
        let network = segment(1, Kind::Macvlan { parent: "up0".into(), mode: None });
        let one = lab.container(&network, 10, zone(1, 1));
        let two = lab.container(&network, 11, zone(1, 1));
        assert!(outside.pings("192.0.2.10") && one.space.pings("192.0.2.11"));
        assert!(one.space.pings("203.0.113.1"), "by the gateway");
        assert!(outside.sh("ip neigh").contains("02:74:c0:00:02:0a"), "its own MAC address");
        lab.host.detach(&two.plan).expect("detach");
        assert!(lab.host.look(&network).expect("look").is_empty());
        lab.host.lower(&network).expect("lower");
        assert!(sh("ip link").contains("up0"), "the host's interface stays");
    });
}

#[test]
fn ipvlan_is_made_or_refused_in_words() {
    lab(|lab| {
        let outside = lab.outside();
        let network = segment(1, Kind::Ipvlan { parent: "up0".into(), mode: None });
        let one = Container::planned(&network, 10, zone(1, 1), |_| {}, &[]);
        match lab.host.attach(&one.plan, one.space.fd()) {
            Ok(()) => assert!(outside.pings("192.0.2.10")),
            Err(error) => {
                println!("SKIPPED: this kernel has no ipvlan");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
                assert!(error.to_string().contains("ipvlan") && !error.hints().is_empty());
            }
        }
    });
}

#[test]
fn tagged_parents_are_made_or_refused_in_words() {
    lab(|lab| {
        let outside = lab.outside();
        let network = segment(1, Kind::Macvlan { parent: "up0.100".into(), mode: None });
        match lab.host.raise(&network) {
            Ok(()) => {
                outside.sh("ip link add link up1 name up1.100 type vlan id 100; ip link set up1.100 up");
                // Its answers go the same way.
                outside.sh("ip addr flush dev up1; ip addr add 192.0.2.3/24 dev up1.100");
                let one = lab.container(&network, 10, zone(1, 1));
                assert!(one.space.pings("192.0.2.3"));
                drop(one);
                lab.host.lower(&network).expect("lower");
            }
            Err(error) => {
                println!("SKIPPED: this kernel has no VLAN");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
                assert!(error.hints()[0].contains("8021q"));
            }
        }
        for parent in ["nothing", "nothing.7", "up0.5000"] {
            let bad = segment(2, Kind::Macvlan { parent: parent.into(), mode: None });
            assert_eq!(lab.host.raise(&bad).expect_err(parent).kind(), ErrorKind::NotFound);
        }
    });
}

#[test]
fn a_bridge_has_its_uplink_as_a_port_and_ports_are_locked() {
    lab(|lab| {
        let outside = lab.outside();
        let network = segment(1, Kind::Bridge { uplink: Some("up0".into()) });
        let error = lab.host.raise(&network).expect_err("the host has addresses on it");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.hints()[0].contains("macvlan"), "{error:?}");
        assert!(!sh("ip link").contains(&network.device()), "refused before anything is done");
        sh("ip addr flush dev up0");
        let one = lab.container(&network, 10, zone(1, 1));
        let two = lab.container(&network, 11, zone(1, 1));
        assert!(outside.pings("192.0.2.10") && one.space.pings("192.0.2.11"));
        assert!(lab.host.look(&network).expect("look").is_empty());
        // With the address of another, neither.
        one.space.sh("ip addr add 192.0.2.11/24 dev eth0; ip addr add 192.0.2.12/24 dev eth0");
        for false_one in ["192.0.2.11", "192.0.2.12"] {
            let flag = format!("busybox ping -c1 -W1 -I {false_one} 192.0.2.2 >/dev/null");
            assert!(!one.space.ok(&flag), "{false_one}");
        }
        one.space.sh("busybox arping -c1 -U -I eth0 -s 192.0.2.11 192.0.2.11 >/dev/null || true");
        assert!(one.space.ok("busybox ping -c1 -W1 -I 192.0.2.10 192.0.2.2 >/dev/null"), "its own");
        assert!(outside.pings("192.0.2.11"));
        assert!(outside.sh("ip neigh show 192.0.2.11").contains("02:74:c0:00:02:0b"), "nobody believed it");
        // With the MAC address of another, nothing gets through.
        let mac = two
            .space
            .sh("cat /proc/net/arp >/dev/null; ip -o link show eth0 | sed 's/.*ether \\([^ ]*\\).*/\\1/'");
        one.space.sh(&format!("ip link set eth0 address {}", mac.trim()));
        assert!(!one.space.pings("192.0.2.2"), "a false MAC address");
        assert!(outside.pings("192.0.2.11"), "nobody else notices");
        sh("ip link set up0 nomaster");
        assert!(lab.host.look(&network).expect("look").join("").contains("no port"));
        lab.host.raise(&network).expect("mended");
        assert!(outside.pings("192.0.2.11"));
        lab.host.lower(&network).expect("lower");
        assert!(!sh("ip link").contains(&network.device()));
    });
}

#[test]
fn two_of_a_pair_have_nobody_else() {
    lab(|lab| {
        let pair = network(3, Kind::Pair);
        let one = lab.container(&pair, 5, zone(3, 1));
        let two = lab.container(&pair, 6, zone(3, 1));
        lab.serve(Some(&two.space), "0.0.0.0", 80, "two");
        assert!(one.space.ask(&two.v4, 80).is_ok());
        assert!(one.space.pings(&two.v6));
        assert!(ask(None, &two.v4, 80).is_err(), "not even the host");
        assert!(one.space.sh("ip route show default").is_empty());
    });
}

#[test]
fn the_host_is_nobody_on_a_segment() {
    lab(|lab| {
        let outside = lab.outside();
        let pair = network(3, Kind::Pair);
        let one = lab.container(&pair, 5, zone(3, 1));
        let two = lab.container(&pair, 6, zone(3, 1));
        assert!(one.space.pings(&two.v6));
        let device = pair.device();
        assert!(!sh(&format!("ip -6 addr show dev {device}")).contains("inet6"), "no address by itself");
        // Neither by a neighbour that is told by hand, nor by IPv4, for which hosts answer on any interface.
        let mac = sh(&format!("ip -o link show {device} | sed 's/.*ether \\([^ ]*\\).*/\\1/'"));
        lab.serve(None, "0.0.0.0", 80, "host");
        let reaches = || {
            one.space.sh("ip route replace 192.0.2.0/24 dev eth0; ip neigh flush dev eth0");
            let by_question = one.space.ask("192.0.2.1", 80).is_ok();
            for to in ["192.0.2.1", "192.0.2.2"] {
                one.space.sh(&format!("ip neigh replace {to} lladdr {} dev eth0 nud permanent", mac.trim()));
            }
            by_question || one.space.ask("192.0.2.1", 80).is_ok()
        };
        sh(&format!("ip route add {} dev {device}", one.v4));
        outside.sh(&format!(
            "ip route add {} via 192.0.2.1; ip route add 198.51.100.0/24 via 192.0.2.1",
            one.v4
        ));
        sh("sysctl -qw net.ipv4.ip_forward=1");
        assert!(!reaches(), "the host");
        assert!(!one.space.pings("192.0.2.2"), "nor by it anybody else");
        sh("nft flush chain bridge tsubo here");
        assert!(reaches() && one.space.pings("192.0.2.2"), "it is the rule that holds");
        lab.host.mend(&pair).expect("mend");
        assert!(!reaches());
    });
}

#[test]
fn tags_lead_to_no_other_segment() {
    lab(|lab| {
        let outside = lab.outside();
        sh("ip addr flush dev up0");
        let directory = tempfile::tempdir().expect("directory");
        let log = directory.path().join("log");
        let network = segment(1, Kind::Bridge { uplink: Some("up0".into()) });
        let one = lab.container(&network, 10, zone(1, 1));
        // On DHCP, nothing is known of it but its MAC address.
        sh(&format!("nft delete element bridge tsubo locked '{{ {} }}'", one.link()));
        let sniff = format!(
            "import socket\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\ns.bind(('up1',3))\n\
             s.setsockopt(263,8,1)\nprint('ready',flush=True)\nwhile True:\n d,m,f,a=s.recvmsg(2000,99)\n\
             \x20t=[x for x in m if x[:2]==(263,8) and x[2][0]&16]\n\
             \x20if b'frame' in d: open('{}','a').write(d[-1:].decode()+(' tag' if t else ' none')+'\\n')\n",
            log.display()
        );
        lab.spawn(Some(&outside), &sniff);
        let script = "import socket,struct\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(('eth0',0))\n\
             m=s.getsockname()[4]\n\
             def send(kinds,last): s.send(b'\\xff'*6+m+b''.join(kinds)+b'\\x88\\xb5'+b'frame'*12+last)\n\
             tag=lambda kind: struct.pack('!HH',kind,100)\n\
             send([tag(0x8100)],b'1')\nsend([tag(0x88a8)],b'2')\nsend([tag(0x88a8),tag(0x8100)],b'3')\n\
             send([tag(0x9100)],b'4')\nsend([],b'5')\n";
        let file = directory.path().join("script");
        std::fs::write(&file, script).expect("write");
        let run = || {
            one.space.sh(&format!("python3 {}", file.display()));
            let read = || std::fs::read_to_string(&log).unwrap_or_default();
            crate::lab::until("the last arrives", || read().contains('5'));
            let seen = read();
            std::fs::remove_file(&log).expect("remove");
            seen
        };
        let seen = run();
        assert_eq!(seen.lines().count(), 1, "{seen}");
        let rules = sh("nft -a list chain bridge tsubo entry");
        let rule = rules
            .lines()
            .find(|line| line.contains("8021q") || line.contains("0x8100") || line.contains("vlan"));
        let handle = rule.and_then(|rule| rule.split("# ").nth(1)).expect("the rule").to_owned();
        sh(&format!("nft delete rule bridge tsubo entry {handle}"));
        assert_eq!(run().lines().count(), 5, "it is the rule that holds");
    });
}

#[test]
fn an_interface_is_moved_in_and_given_back() {
    lab(|lab| {
        let outside = lab.outside();
        let interface = spec::network::Attachment::Interface {
            host: "up0".into(),
            interface: "wan0".into(),
            addresses: vec!["192.0.2.9/24".parse().expect("address")],
            dhcp: false,
        };
        let networking = spec::network::Networking { attachments: vec![interface], ..Default::default() };
        let plan = spec::network::plan(spec::Id::from_bytes([7; 6]), &networking, &[], &[]);
        let space = crate::lab::Space::new();
        lab.host.attach(&plan, space.fd()).expect("attach");
        assert!(outside.pings("192.0.2.9") && !sh("ip link").contains("up0"));
        let error = lab.host.attach(&plan, crate::lab::Space::new().fd()).expect_err("it is away");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        tsubo_net::give_back(space.fd(), "wan0", "up0").expect("give back");
        assert!(sh("ip link").contains("up0") && !space.sh("ip link").contains("wan0"));
        tsubo_net::give_back(space.fd(), "wan0", "up0").expect("once more is no failure");
    });
}
