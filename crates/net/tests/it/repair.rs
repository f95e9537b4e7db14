//! What others removed is noticed and mended; what ends leaves nothing; what cannot be made is not half made.

use crate::lab::{Container, ask, lab, network, nft, publish, sh, zone};
use spec::ErrorKind;
use spec::network::{Element, Kind, Networking, Permit, Step, Whom, Wiring};

#[test]
fn what_somebody_removed_is_said_and_mended() {
    lab(|lab| {
        let outside = lab.outside();
        lab.serve(Some(&outside), "0.0.0.0", 80, "outside");
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut Networking| networking.published = vec![publish(8080, 80)];
        let web = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        lab.serve(Some(&web.space), "0.0.0.0", 80, "web");
        let works = || outside.ask("192.0.2.1", 8080).is_ok() && web.space.ask("192.0.2.2", 80).is_ok();
        assert!(works());
        let device = network.device();
        let faults = [
            "nft flush ruleset".to_owned(),
            "nft delete chain inet tsubo onward".to_owned(),
            "nft flush table inet tsubo".to_owned(),
            format!("ip link del {device}"),
            format!("ip link set {device} down"),
            "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
            "sysctl -qw net.ipv6.conf.all.forwarding=0".to_owned(),
            format!("ip -6 addr del fd88:1::1/64 dev {device}"),
            format!("ip addr del 10.88.1.1/24 dev {device}"),
            "nft flush set inet tsubo nat4".to_owned(),
            format!("ip addr flush dev {device}"),
        ];
        for fault in faults {
            sh(&fault);
            let said = lab.host.look(&network).expect("look");
            assert!(!lab.host.is_raised(&network).expect("is raised"), "{fault}");
            assert!(!said.is_empty(), "{fault}: nothing said");
            lab.host.mend(&network).expect("mend");
            lab.host.renew(&web.plan).expect("renew");
            assert_eq!(lab.host.look(&network).expect("look"), Vec::<String>::new(), "{fault}");
            assert!(works(), "{fault}");
        }
        assert!(lab.host.is_raised(&network).expect("is raised"));
        lab.host.raise(&network).expect("raise");
    });
}

#[test]
fn addresses_of_others_are_not_taken() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        lab.serve(Some(&one.space), "0.0.0.0", 80, "one");
        lab.serve(Some(&one.space), "::", 81, "one");
        // The same network once more, as of another state directory.
        let mut twin = crate::lab::network(9, Kind::Nat);
        twin.subnets.clone_from(&network.subnets);
        let error = lab.host.raise(&twin).expect_err("the gateway's address is taken");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&network.device()) && !error.hints().is_empty(), "{error:?}");
        lab.host.lower(&twin).expect("lower");
        lab.host.mend(&network).expect("mend");
        // With another gateway only the address itself is the same.
        twin.subnets[0].gateway = "10.88.1.254".parse().expect("gateway");
        twin.subnets[1].gateway = "fd88:1::fe".parse().expect("gateway");
        lab.host.raise(&twin).expect("raise");
        let second = Container::planned(&twin, 5, zone(9, 1), |_| {}, &[]);
        let error = lab.host.attach(&second.plan, second.space.fd()).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
        assert!(error.to_string().contains("10.88.1.5"), "{error:?}");
        let reached = || ask(None, &one.v4, 80).is_ok() && ask(None, &one.v6, 81).is_ok();
        assert!(reached() && !sh("ip link").contains(&second.link()));
        lab.host.renew(&one.plan).expect("its own may be renewed");
        assert!(reached());
        // One that is just going is waited for.
        let going = one.link();
        let remover = std::thread::spawn({
            let here = std::fs::File::open("/proc/thread-self/ns/net").expect("namespace");
            move || {
                std::thread::sleep(std::time::Duration::from_millis(200));
                let path =
                    format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&here));
                sh(&format!("nsenter --net={path} ip link del {going}"));
            }
        });
        lab.host.attach(&second.plan, second.space.fd()).expect("when it has gone");
        remover.join().expect("removed");
        assert!(second.space.pings("10.88.1.254"));
    });
}

/// The same plan as of another container.
fn renamed(plan: spec::network::Plan) -> spec::network::Plan {
    let own = spec::network::link_name(spec::Id::from_bytes([9; 6]), 0);
    let rename = |step| match step {
        Step::Link(spec::network::Link {
            wiring: Wiring::Veth { mac, zone, bridge, .. },
            inside,
            mac: inner,
            mtu,
        }) => {
            let wiring = Wiring::Veth { host: own.clone(), mac, zone, bridge };
            Step::Link(spec::network::Link { wiring, inside, mac: inner, mtu })
        }
        Step::Element(Element::Outside(_)) => Step::Element(Element::Outside(own.clone())),
        step => step,
    };
    plan.into_iter().map(rename).collect()
}

/// Who sends a datagram is answered with a word.
const ECHO: &str = "import socket\ns=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\ns.bind(('::',53))\n\
                    print('ready',flush=True)\nwhile True:\n d,a=s.recvfrom(99)\n s.sendto(b'WORD',a)\n";

#[test]
fn connections_end_with_their_container() {
    lab(|lab| {
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut Networking| {
            let datagrams = spec::network::Protocol::Udp;
            networking.published = vec![spec::network::Publish { protocol: datagrams, ..publish(5353, 53) }];
        };
        let remembered = || sh("cat /proc/self/net/nf_conntrack");
        let count = || remembered().lines().filter(|line| line.contains("port=7777")).count();
        if !std::path::Path::new("/proc/self/net/nf_conntrack").exists() {
            println!("SKIPPED: this kernel does not list its connections (CONFIG_NF_CONNTRACK_PROCFS)");
            return;
        }
        let neighbour = lab.container(&network, 9, zone(1, 1));
        lab.spawn(Some(&outside), ECHO);
        lab.spawn(Some(&neighbour.space), ECHO);
        // One client with one port, as long as the test takes.
        let client = "import socket\ns=socket.socket(socket.AF_INET6 if ':' in 'TO' else socket.AF_INET,socket.SOCK_DGRAM)\n\
                      s.settimeout(1)\ns.bind(('',7777))\ns.sendto(b'x',('TO',PORT))\nprint(s.recvfrom(99)[0].decode())";
        let says = |space: &crate::lab::Space, to: &str, port: u16| {
            let client = client.replace("TO", to).replace("PORT", &port.to_string());
            let output = space.output(&format!("python3 -c \"{client}\""));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let old = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        lab.spawn(Some(&old.space), &ECHO.replace("WORD", "old"));
        assert_eq!(says(&outside, "192.0.2.1", 5353), "old");
        assert_eq!(says(&outside, "2001:db8::1", 5353), "old");
        assert_eq!(says(&old.space, "192.0.2.2", 53), "WORD");
        assert_eq!(says(&old.space, "2001:db8::2", 53), "WORD");
        assert_eq!(says(&outside, "192.0.2.1", 5353), "old");
        assert_eq!(says(&neighbour.space, "192.0.2.2", 53), "WORD");
        assert_eq!(count(), 5, "{}", remembered());
        lab.host.detach(&old.plan).expect("detach");
        lab.host.remove_links(&old.plan).expect("links");
        assert_eq!(count(), 1, "that of the other stays: {}", remembered());
        let new = lab.container_with(&network, 6, zone(1, 1), ports, &[]);
        lab.spawn(Some(&new.space), &ECHO.replace("WORD", "new"));
        assert_eq!(says(&outside, "192.0.2.1", 5353), "new", "by the same port of the same client");
        // One that did not start, as the address is another's, takes nothing from that.
        let never = Container::planned(&network, 6, zone(1, 1), |_| {}, &[]);
        let never = Container { plan: renamed(never.plan), ..never };
        let before = count();
        lab.host.detach(&never.plan).expect("detach");
        assert_eq!(count(), before);
        // One that has no ports, but talked; and one that was spoken to.
        let quiet = lab.container(&network, 7, zone(1, 1));
        assert_eq!(says(&quiet.space, "192.0.2.2", 53), "WORD");
        let before = count();
        lab.host.detach(&quiet.plan).expect("detach");
        assert_eq!(count(), before - 1, "{}", remembered());
        let hears =
            Permit { inward: true, whom: Whom::Net("10.88.1.9/32".parse().expect("net")), port: None };
        let told = lab.container_with(&network, 8, zone(1, 2), |_| {}, &[hears]);
        lab.spawn(Some(&told.space), &ECHO.replace("WORD", "told"));
        assert_eq!(says(&neighbour.space, &told.v4, 53), "told");
        lab.host.detach(&told.plan).expect("detach");
        assert_eq!(count(), before - 1, "{}", remembered());
    });
}

#[test]
fn rules_of_another_version_are_made_anew() {
    lab(|lab| {
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        lab.serve(Some(&one.space), "0.0.0.0", 80, "one");
        outside.sh("ip route add 10.88.0.0/16 via 192.0.2.1");
        for (table, chain) in [("inet tsubo", "onward"), ("bridge tsubo", "here")] {
            if table.starts_with("bridge") {
                lab.host.raise(&crate::lab::network(2, Kind::Pair)).expect("raise");
            }
            let marks = || {
                let all = sh(&format!("nft list table {table}"));
                all.lines()
                    .filter_map(|line| line.trim().strip_prefix("chain v_").map(str::to_owned))
                    .collect::<Vec<_>>()
            };
            let new = marks();
            assert_eq!(new.len(), 1, "{new:?}");
            // As many rules as now, but not the same; made by a text that is not ours.
            let mark = new[0].trim_end_matches(" {");
            sh(&format!("nft delete chain {table} v_{mark}; nft add chain {table} v_00000000000000aa"));
            let rules = sh(&format!("nft -a list chain {table} {chain}"));
            let handles: Vec<_> =
                rules.lines().skip(2).filter_map(|line| line.split("# handle ").nth(1)).collect();
            for handle in &handles {
                sh(&format!("nft replace rule {table} {chain} handle {handle} accept"));
            }
            let first = &crate::lab::network(
                if chain == "here" { 2 } else { 1 },
                if chain == "here" { Kind::Pair } else { Kind::Nat },
            );
            assert!(!lab.host.is_raised(first).expect("look"), "{table}");
            assert!(lab.host.look(first).expect("look").join(" ").contains(mark), "{table}");
            lab.host.raise(first).expect("raise");
            assert_eq!((marks(), lab.host.is_raised(first).expect("look")), (new.clone(), true));
            assert_eq!(sh(&format!("nft list chain {table} {chain}")).matches("\taccept\n").count(), 0);
        }
        assert!(outside.ask(&one.v4, 80).is_err() && one.space.pings("192.0.2.2"), "elements stay");
    });
}

#[test]
fn a_start_says_that_the_hosts_part_is_gone() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        lab.host.raise(&network).expect("raise");
        for fault in ["nft delete table inet tsubo", &format!("ip addr flush dev {}", network.device())] {
            sh(fault);
            let one = Container::planned(&network, 5, zone(1, 1), |_| {}, &[]);
            let error = lab.host.attach(&one.plan, one.space.fd()).expect_err(fault);
            assert_eq!(error.kind(), ErrorKind::NotFound, "{fault}: {error:?}");
            assert!(!sh("ip link").contains(&one.link()), "nothing half made");
            lab.host.mend(&network).expect("mend");
            lab.host.attach(&one.plan, one.space.fd()).expect("again");
            lab.host.remove_links(&one.plan).expect("remove");
        }
    });
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_left() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut Networking| networking.published = vec![publish(8080, 80)];
        let first = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        lab.serve(Some(&first.space), "0.0.0.0", 80, "first");
        let second = Container::planned(&network, 6, zone(1, 1), ports, &[]);
        let error = lab.host.attach(&second.plan, second.space.fd()).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.chain().contains("8080/tcp") && !error.hints().is_empty(), "{error:?}");
        assert!(!sh("ip link; ip route").contains(&second.link()));
        // The end of the one that failed takes nothing from the other.
        lab.host.detach(&second.plan).expect("detach");
        assert!(ask(None, "192.168.0.1", 1).is_err());
        assert!(ask(None, "127.0.0.1", 8080).is_ok());
    });
}

#[test]
fn leftovers_of_the_same_name_are_replaced() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        // The old namespace lives on, as it does for a while when a container was killed.
        let again = Container::planned(&network, 5, zone(1, 1), |_| {}, &[]);
        lab.host.attach(&again.plan, again.space.fd()).expect("attach");
        assert!(again.space.pings("10.88.1.1") && !one.space.pings("10.88.1.1"));
    });
}

#[test]
fn all_is_gone_at_the_end() {
    lab(|lab| {
        let links = || sh("ip -o link | sed 's/^[0-9]*: //; s/[:@].*//' | sort; ip route; ip -6 route");
        let before = links();
        let network = network(1, Kind::Nat);
        lab.host.raise(&network).expect("raise");
        let raised = links();
        for round in 0..3 {
            let change = |networking: &mut Networking| {
                networking.published = vec![publish(8080, 80)];
                networking.rate.packets = Some(1000);
                networking.rate.egress = Some(1 << 20);
            };
            let one = lab.container_with(&network, 5, zone(1, 1), change, &[]);
            assert!(one.space.pings("10.88.1.1"), "round {round}");
            lab.host.detach(&one.plan).expect("detach");
            lab.host.detach(&one.plan).expect("once more");
            lab.host.remove_links(&one.plan).expect("links");
            assert_eq!(links(), raised);
            assert_eq!(lab.host.entries().expect("entries"), Vec::new());
            assert!(!sh("nft list limits table inet tsubo").contains("limit "));
        }
        lab.host.lower(&network).expect("lower");
        assert_eq!(links(), before);
        for set in ["zones", "names4", "names6", "nat4", "nat6"] {
            assert!(!sh(&format!("nft list set inet tsubo {set}")).contains("elements"), "{set}");
        }
        lab.host.lower(&network).expect("once more");
    });
}

#[test]
fn what_belongs_to_nobody_can_be_found_and_removed() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let change = |networking: &mut Networking| {
            networking.published = vec![publish(8080, 80)];
            networking.rate.packets = Some(1000);
        };
        let one = lab.container_with(&network, 5, zone(1, 1), change, &[]);
        one.space.pings("10.88.1.1");
        let links = lab.host.links().expect("links");
        assert_eq!(links.iter().map(|link| link.name.clone()).collect::<Vec<_>>(), [one.link()]);
        let entries = lab.host.entries().expect("entries");
        let to: Vec<_> =
            entries.iter().filter_map(|entry| entry.leads_to()).map(|to| to.to_string()).collect();
        assert!(to.contains(&one.v4) && to.contains(&one.v6), "{to:?}");
        let all =
            entries.iter().all(|entry| entry.leads_to().is_some() || entry.interface() == Some(one.link()));
        assert!(all, "{entries:?}");
        lab.host.remove_entries(&entries).expect("remove");
        lab.host.remove_link(&one.link()).expect("remove");
        assert!(
            lab.host.entries().expect("entries").is_empty() && lab.host.links().expect("links").is_empty()
        );
    });
}

#[test]
fn without_ipv6_all_goes_by_ipv4() {
    lab(|lab| {
        sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut Networking| networking.published = vec![publish(8080, 80)];
        let one = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        assert!(one.space.pings("10.88.1.1"));
        assert!(!one.space.sh("ip -6 addr show dev eth0").contains("fd88"), "none that leads nowhere");
        lab.serve(Some(&one.space), "0.0.0.0", 80, "one");
        assert!(ask(None, "127.0.0.1", 8080).is_ok());
        let said = lab.host.look(&network).expect("look").join("\n");
        assert!(said.contains("IPv6 is off"), "{said}");
        lab.host.raise(&network).expect("again");
    });
}

#[test]
fn one_bad_element_is_nobodys_loss() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        nft("delete element inet tsubo outside { \"vc00100000005\" }"
            .replace("vc00100000005", &one.link())
            .as_str());
        lab.host.detach(&one.plan).expect("what is not there is no failure");
    });
}
